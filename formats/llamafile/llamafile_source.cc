#include "formats/llamafile/llamafile_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <memory>

#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/gguf/gguf_split.h"
#include "formats/zip/zip_archive.h"
#include "formats/zip/zip_directory.h"

namespace quern::formats::llamafile {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kGguf = ".gguf";
constexpr uint64_t kMaxArgumentsBytes = 1 << 20;

using Members = std::vector<const zip::Member*>;

class LlamafileSource : public gguf::GgufSource {
 public:
  explicit LlamafileSource(const fs::path& path) : GgufSource(path, FindWeights(path)) {}
  std::string_view format() const override { return "llamafile"; }
};

// The model that the arguments name; empty where they name none.
std::string NamedModel(const zip::Archive& archive) {
  const zip::Member* member = archive.Find(kArgumentsName);
  if (member == nullptr) return {};
  const std::string text = archive.ReadSmall(*member, kMaxArgumentsBytes);
  bool next = false;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view(text).substr(begin, end - begin);
    if (next) return std::string(line.starts_with("/zip/") ? line.substr(5) : line);
    next = line == "-m" || line == "--model";
    begin = end + 1;
  }
  return {};
}

// The members of each model: a file, or the parts of a set under the prefix of their names.
std::map<std::string, Members> ModelsIn(const zip::Archive& archive) {
  std::map<std::string, Members> models;
  for (const zip::Member& member : archive.members()) {
    if (!member.name.ends_with(kGguf)) continue;
    const auto shard = gguf::ParseShardName(member.name);
    models[shard ? shard->prefix : member.name].push_back(&member);
  }
  return models;
}

const Members& Choose(const std::map<std::string, Members>& models, const std::string& named,
                      const std::string& file) {
  std::vector<std::string> names;
  const Members* chosen = nullptr;
  for (const auto& [name, members] : models) {
    if (std::any_of(members.begin(), members.end(),
                    [&](const zip::Member* member) { return member->name == named; })) {
      return members;
    }
    if (name.find("mmproj") != name.npos) continue;
    names.push_back(Printable(name));
    chosen = &members;
  }
  if (names.size() == 1) return *chosen;
  if (names.empty()) {
    throw Error(ErrorCode::kMissing, {file, {}, "*.gguf"},
                "this executable carries no GGUF; name the model file itself");
  }
  throw Error(ErrorCode::kUsage, {file, {}, {}},
              fmt::format("this llamafile holds several models and its .args names none: {}; "
                          "extract the one you want",
                          fmt::join(names, ", ")));
}

bool Matches(const Probe& probe) {
  return !probe.is_folder && LooksExecutable(probe.head) && EndsInZip(File::Open(probe.path));
}

}  // namespace

bool LooksExecutable(std::string_view head) {
  constexpr std::string_view kMagics[] = {
      "\x7f"
      "ELF",
      "MZ",
      "#!",
      "jartsr='",
      "APEDBG='",
      "\xcf\xfa\xed\xfe"};
  return std::any_of(std::begin(kMagics), std::end(kMagics),
                     [&](std::string_view magic) { return head.starts_with(magic); });
}

bool EndsInZip(const File& file) {
  try {
    zip::FindDirectory(file);
    return true;
  } catch (const Error& error) {
    if (error.code() == ErrorCode::kTruncated) return false;  // no end record
    throw;
  }
}

std::vector<gguf::Part> FindWeights(const fs::path& path) {
  const File file = File::Open(path);
  const zip::Archive archive(file, zip::Gaps::kAllowed);
  const auto models = ModelsIn(archive);
  std::vector<gguf::Part> parts;
  for (const zip::Member* member : Choose(models, NamedModel(archive), file.path())) {
    if (member->deflated) {
      throw Error(ErrorCode::kUnsupported, {file.path(), member->data_offset, member->name},
                  "the weights are compressed, so that llamafile could not run them either; "
                  "extract them with unzip");
    }
    parts.push_back({path, member->data_offset, member->size});
  }
  return parts;
}

constinit const FormatInfo kFormat = {
    "llamafile", "an executable with a GGUF stored in its zip archive", Matches,
    [](const fs::path& path, const OpenOptions&) -> std::unique_ptr<ModelSource> {
      return std::make_unique<LlamafileSource>(path);
    }};

}  // namespace quern::formats::llamafile
