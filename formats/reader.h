// The door of the room: open any model that quern can read.
//
// One format is one class that implements ModelSource, with a FormatInfo that registry.cc lists.
// Formats are probed by content, never by extension alone.
#ifndef QUERN_FORMATS_READER_H_
#define QUERN_FORMATS_READER_H_

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "formats/core/model.h"

namespace quern::formats {

// What a format may look at to recognize its own.
struct Probe {
  std::filesystem::path path;
  bool is_folder = false;
  uint64_t size = 0;  // of a file
  std::string head;   // its first bytes, at most kProbeBytes
};
inline constexpr uint64_t kProbeBytes = 4096;

// What a caller may ask of a format beyond the path.
struct OpenOptions {
  // Where the model is inside a file that holds more (a checkpoint with optimizer states): "" lets
  // the format choose, kWholeFile lists everything under its full name, else a dotted path; names
  // are relative to it. A path is refused (kUsage) where a file holds one model only.
  std::string root;
  // Keep objects of unknown classes in a pickle as inert placeholders instead of refusing the file.
  bool allow_opaque = false;
  // The Ollama store that "ollama:NAME" is looked up in; empty: the usual places.
  std::filesystem::path store;
};
inline constexpr std::string_view kWholeFile = ".";

struct FormatInfo {
  std::string_view name;         // "gguf"
  std::string_view description;  // one line for `quern formats`
  bool (*matches)(const Probe& probe);
  std::unique_ptr<ModelSource> (*open)(const std::filesystem::path& path,
                                       const OpenOptions& options);
};

// Every format of this build, in the order in which they are probed.
std::span<const FormatInfo> Formats();

// Opens a file or folder with the first format that recognizes it, or the model that an address
// stands for (formats/address.h) where there is no such path. Throws kMissing, kIo, and
// kBadMagic where no format does (saying what the file seems to be: an HTML page, a git-LFS
// pointer, ...), kUsage (a root in a format without one), and what the format's validation finds.
std::unique_ptr<ModelSource> OpenModel(const std::filesystem::path& path,
                                       const OpenOptions& options = {});

}  // namespace quern::formats

#endif  // QUERN_FORMATS_READER_H_
