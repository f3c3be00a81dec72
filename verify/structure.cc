#include "verify/structure.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <set>

#include "converters/architecture.h"
#include "formats/core/byte_reader.h"
#include "formats/safetensors/safetensors_reader.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 9> kWeightExtensions = {
    ".gguf", ".safetensors", ".bin", ".pth", ".pt", ".ckpt", ".npz", ".ggml", ".llamafile"};

std::string Head(const fs::path& path) {
  const File file = File::Open(path);
  std::string head(std::min<uint64_t>(file.size(), 512), '\0');
  file.ReadAt(0, {reinterpret_cast<uint8_t*>(head.data()), head.size()});
  return head;
}

bool IsHtml(std::string_view head) {
  std::string text(head.substr(std::min(head.find_first_not_of(" \t\r\n"), head.size()), 16));
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text.starts_with("<!doctype") || text.starts_with("<html");
}

// Whether tensors lie in the files as Read() gives them: contiguous and little-endian.
bool IsStoredPlain(const ModelSource& source) {
  const auto& files = source.files();
  if (source.format() == "gguf") {
    return std::none_of(files.begin(), files.end(), [](const File& file) {
      ByteReader reader(file);
      reader.Skip(4, "magic");
      // The version of a big-endian file, read as little-endian, is no small number.
      return reader.Read<uint32_t>("version") > 0xffff;
    });
  }
  if (source.format() == "safetensors") return true;
  return source.format() == "huggingface" &&
         std::all_of(files.begin(), files.end(), [](const File& file) {
           return fs::path(file.path()).extension() == ".safetensors";
         });
}

void AddFiles(std::shared_ptr<const ModelSource> source, CheckList& list) {
  std::vector<FileCheck*> checks;
  for (const File& file : source->files()) checks.push_back(&list.Add(file.path()));
  if (!IsStoredPlain(*source)) {
    list.AddSource(std::move(source));
    return;
  }
  // A file may be opened twice: by itself and as a part of its set.
  std::vector<bool> is_new;
  for (const FileCheck* check : checks) is_new.push_back(check->tensors.empty());
  for (const TensorInfo& tensor : source->tensors()) {
    if (!is_new[tensor.file]) continue;
    checks[tensor.file]->tensors.push_back({tensor.offset, tensor.bytes, tensor.type, tensor.name});
  }
}

// llama.cpp does not load a model of any architecture without these,
constexpr std::array<std::string_view, 3> kNeededKeys = {"block_count", "context_length",
                                                         "embedding_length"};
// nor without these where the architecture has them.
constexpr std::array<std::string_view, 2> kEpsilonKeys = {"attention.layer_norm_rms_epsilon",
                                                          "attention.layer_norm_epsilon"};

bool AlwaysHas(const converters::Architecture& architecture, std::string_view key) {
  return std::any_of(architecture.keys.begin(), architecture.keys.end(), [&](const auto& rule) {
    return rule.key == key && !rule.rule.optional && rule.rule.when.empty();
  });
}

// None for an architecture that this build does not know. Several files may describe one.
std::set<std::string> NeededKeys(std::string_view name) {
  std::vector<const converters::Architecture*> variants;
  for (const converters::Architecture& architecture : converters::BuiltInArchitectures()) {
    if (architecture.name == name && !architecture.accepts.empty()) {
      variants.push_back(&architecture);
    }
  }
  std::set<std::string> needed;
  if (variants.empty()) return needed;
  for (const auto key : kNeededKeys) needed.insert(fmt::format("{}.{}", name, key));
  for (const auto key : kEpsilonKeys) {
    const bool always = std::all_of(variants.begin(), variants.end(),
                                    [&](const auto* variant) { return AlwaysHas(*variant, key); });
    if (always) needed.insert(fmt::format("{}.{}", name, key));
  }
  return needed;
}

// N of "blk.N.attn_q.weight".
std::optional<uint64_t> BlockOf(std::string_view name) {
  constexpr std::string_view kPrefix = "blk.";
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  uint64_t block = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), block);
  if (error != std::errc() || end == name.data() + name.size() || *end != '.') return std::nullopt;
  return block;
}

void CheckBlocks(const ModelSource& source, uint64_t count, CheckList& list) {
  std::set<uint64_t> blocks;
  for (const TensorInfo& tensor : source.tensors()) {
    if (const auto block = BlockOf(tensor.name)) blocks.insert(*block);
  }
  if (blocks.empty()) return;  // a vocabulary, or part of a model
  for (uint64_t block = 0; block < std::min<uint64_t>(count, blocks.size() + 1); ++block) {
    if (blocks.contains(block)) continue;
    list.Report(source.path(), kMissingFile,
                fmt::format("there is no tensor of block {} of {}; fetch or convert the model "
                            "again",
                            block, count));
    return;
  }
}

void Report(const Error& error, const fs::path& path, CheckList& list) {
  if (error.code() == ErrorCode::kUnsupported) {
    list.Note(fmt::format("not checked: {}", error.what()));
  } else {
    list.Report(error, path);
  }
}

// Checks what `open` gives. Whether it could be opened.
template <typename Open>
bool CheckOpened(const fs::path& path, CheckList& list, const Open& open) {
  try {
    std::shared_ptr<const ModelSource> source = open();
    if (source->format() == "gguf") CheckGgufKeys(*source, list);
    AddFiles(std::move(source), list);
    return true;
  } catch (const Error& error) {
    Report(error, path, list);
  }
  return false;
}

// A single source of a folder is a file that it holds.
fs::path NamedFile(const ModelSource& source) {
  return source.files().empty() ? source.path() : fs::path(source.files().front().path());
}

}  // namespace

bool IsWeightFileName(const fs::path& path) {
  const std::string extension = path.extension().string();
  return std::find(kWeightExtensions.begin(), kWeightExtensions.end(), extension) !=
         kWeightExtensions.end();
}

bool ReportNotWeights(const fs::path& path, bool allow_pointer, CheckList& list) {
  const std::string head = Head(path);
  if (head.empty()) {
    list.Report(path, kEmpty, "the file is empty; fetch it again");
    return true;
  }
  if (IsHtml(head)) {
    list.Report(path, kHtmlPage, "this is an HTML page in place of weights; fetch the file itself");
    return true;
  }
  if (!head.starts_with("version https://git-lfs")) return false;
  if (!allow_pointer) {
    list.Report(path, kLfsPointer,
                "this is a git-LFS pointer in place of weights; run `git lfs pull`");
  }
  return true;
}

void CheckGgufKeys(const ModelSource& source, CheckList& list) {
  constexpr std::string_view kArchitecture = "general.architecture";
  const Metadata& metadata = source.metadata();
  const fs::path path = NamedFile(source);
  const auto missing = [&](std::string_view key) {
    list.Report(path, kMissingFile,
                fmt::format("{}: llama.cpp needs this key; convert the model again", key));
  };
  // Adapters, projectors, vocabularies and importance matrices have keys of their own.
  if (metadata.GetString("general.type").value_or("model") != "model") return;
  const auto architecture = metadata.GetString(kArchitecture);
  if (!architecture) return missing(kArchitecture);
  if (source.tensors().empty() || *architecture == "clip") return;
  for (const std::string& key : NeededKeys(*architecture)) {
    if (!metadata.Has(key)) missing(key);
  }
  const auto blocks = metadata.GetInteger(fmt::format("{}.block_count", *architecture));
  if (blocks && *blocks > 0) CheckBlocks(source, static_cast<uint64_t>(*blocks), list);
}

bool CheckSafetensors(const fs::path& path, CheckList& list) {
  try {
    AddFiles(std::make_shared<formats::safetensors::SafetensorsSource>(path), list);
    return true;
  } catch (const Error& error) {
    Report(error, path, list);
  }
  return false;
}

bool CheckModel(const fs::path& path, const formats::OpenOptions& options, CheckList& list) {
  return CheckOpened(path, list, [&] { return formats::OpenModel(path, options); });
}

bool CheckGgufSet(const fs::path& named, const std::vector<formats::gguf::Part>& parts,
                  CheckList& list) {
  return CheckOpened(named, list,
                     [&] { return std::make_unique<formats::gguf::GgufSource>(named, parts); });
}

bool CheckNamelessModel(const fs::path& path, const formats::OpenOptions& options,
                        CheckList& list) {
  try {
    if (Head(path).starts_with("GGUF") && IsGgufShard(path)) return true;
  } catch (const Error& error) {
    Report(error, path, list);
    return false;
  }
  return CheckModel(path, options, list);
}

bool IsGgufShard(const fs::path& path) {
  const File file = File::Open(path);
  ByteReader reader(file);
  const auto header = formats::gguf::ParseHeader(reader);
  return formats::gguf::ReadSplitKeys(header.metadata, path.string()).has_value();
}

}  // namespace quern::verify
