#include "converters/architecture.h"

#include <fmt/format.h>

#include <algorithm>

#include "converters/nearest.h"
#include "formats/core/error.h"
#include "formats/core/file.h"

namespace quern::converters {
namespace {

constexpr uint64_t kMaxArchitectureFileBytes = uint64_t{1} << 20;

bool Accepts(const Architecture& architecture, std::string_view hf_name) {
  const auto& names = architecture.accepts;
  return std::find(names.begin(), names.end(), hf_name) != names.end();
}

// Nearest first: `files` in their order, then those of this build.
std::vector<Architecture> KnownArchitectures(std::span<const std::filesystem::path> files) {
  const auto built_in = BuiltInArchitectures();
  std::vector<Architecture> known;
  for (const auto& file : files) {
    const std::string text = ReadTextFile(file, kMaxArchitectureFileBytes);
    std::vector<Architecture> bases(built_in.begin(), built_in.end());
    bases.insert(bases.end(), known.begin(), known.end());
    known.push_back(ParseArchitecture(text, file.string(), bases));
  }
  known.insert(known.end(), built_in.begin(), built_in.end());
  return known;
}

[[noreturn]] void FailUnknown(std::string_view hf_name, std::span<const Architecture> known) {
  std::vector<std::string> names;
  for (const auto& architecture : known) {
    names.insert(names.end(), architecture.accepts.begin(), architecture.accepts.end());
  }
  const auto nearest = NearestNames(hf_name, names, 3);
  throw Error(
      ErrorCode::kUnsupported, {{}, {}, Printable(hf_name)},
      fmt::format("this architecture is not known{}{}; `quern architectures` lists all, "
                  "and docs/architectures.md says how to describe one more in a file for "
                  "--architecture FILE",
                  nearest.empty() ? "" : ", the nearest names are ", fmt::join(nearest, ", ")));
}

}  // namespace

std::string FullKey(const Architecture& architecture, std::string_view key) {
  if (key.starts_with("general.") || key.starts_with("tokenizer.")) return std::string(key);
  return architecture.name + "." + std::string(key);
}

std::span<const Architecture> BuiltInArchitectures() {
  static const std::vector<Architecture> kParsed = [] {
    // A file may extend any other, whatever their names: rounds, until nothing is left to do.
    std::vector<Architecture> parsed;
    std::vector<ArchitectureFile> files(ArchitectureFiles().begin(), ArchitectureFiles().end());
    while (!files.empty()) {
      const size_t before = files.size();
      std::exception_ptr failure;
      std::erase_if(files, [&](const ArchitectureFile& file) {
        try {
          parsed.push_back(ParseArchitecture(file.text, std::string(file.name), parsed));
          return true;
        } catch (const Error& error) {
          if (error.code() != ErrorCode::kMissing) throw;
          failure = std::current_exception();
          return false;
        }
      });
      if (files.size() == before) std::rethrow_exception(failure);
    }
    std::stable_sort(parsed.begin(), parsed.end(),
                     [](const Architecture& a, const Architecture& b) { return a.name < b.name; });
    return parsed;
  }();
  return kParsed;
}

std::vector<Architecture> FindArchitectures(std::string_view hf_name,
                                            std::span<const std::filesystem::path> files) {
  const std::vector<Architecture> known = KnownArchitectures(files);
  std::vector<Architecture> accepting;
  for (const auto& architecture : known) {
    if (Accepts(architecture, hf_name)) accepting.push_back(architecture);
  }
  if (accepting.empty()) FailUnknown(hf_name, known);
  return accepting;
}

Architecture FindExport(std::string_view name, std::span<const std::filesystem::path> files) {
  for (const auto& architecture : KnownArchitectures(files)) {
    if (architecture.name == name && !architecture.exports.empty()) return architecture;
  }
  throw Error(ErrorCode::kUnsupported, {{}, {}, Printable(name)},
              "how this architecture is written for Hugging Face is not known; describe it in the "
              "\"exports\" of a file for --architecture FILE (docs/architectures.md)");
}

GraphRules FindGraph(std::string_view name, std::span<const std::filesystem::path> files) {
  for (const auto& architecture : KnownArchitectures(files)) {
    if (architecture.name == name && architecture.graph) return *architecture.graph;
  }
  throw Error(ErrorCode::kUnsupported, {{}, {}, Printable(name)},
              "the reference inference does not know what this architecture computes; describe it "
              "in the \"graph\" of a file for --architecture FILE (docs/architectures.md)");
}

std::span<const ArchitectureInfo> Architectures() {
  static const std::vector<ArchitectureInfo> kInfos = [] {
    std::vector<ArchitectureInfo> infos;
    for (const auto& architecture : BuiltInArchitectures()) {
      if (!architecture.accepts.empty()) {
        infos.push_back({architecture.name, architecture.accepts});
      }
    }
    return infos;
  }();
  return kInfos;
}

}  // namespace quern::converters
