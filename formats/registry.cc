#include <fmt/format.h>

#include <algorithm>

#include "formats/address.h"
#include "formats/core/error.h"
#include "formats/ggml/ggml_reader.h"
#include "formats/gguf/gguf_folder.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/huggingface/folder_reader.h"
#include "formats/lfs/lfs_pointer.h"
#include "formats/litgpt/litgpt_source.h"
#include "formats/llama2c/llama2c_source.h"
#include "formats/llamafile/llamafile_source.h"
#include "formats/meta/meta_source.h"
#include "formats/numpy/numpy_source.h"
#include "formats/ollama/stored_model.h"
#include "formats/reader.h"
#include "formats/safetensors/safetensors_reader.h"
#include "formats/torch/torch_source.h"

namespace quern::formats {
namespace {

namespace fs = std::filesystem;

Probe MakeProbe(const fs::path& path) {
  Probe probe{.path = path};
  std::error_code error;
  const auto status = fs::status(path, error);
  if (!fs::exists(status)) {
    throw Error(ErrorCode::kMissing, {path.string(), {}, {}}, "there is no such file or folder");
  }
  probe.is_folder = fs::is_directory(status);
  if (probe.is_folder) return probe;
  const File file = File::Open(lfs::Resolve(path));
  probe.size = file.size();
  probe.head.resize(std::min(probe.size, kProbeBytes));
  file.ReadAt(0, {reinterpret_cast<uint8_t*>(probe.head.data()), probe.head.size()});
  return probe;
}

// What an unreadable file looks like, for people who downloaded something else than they meant.
std::string_view Diagnose(const Probe& probe) {
  const std::string_view head = probe.head;
  const auto text = head.substr(std::min(head.find_first_not_of(" \t\r\n"), head.size()));
  if (probe.is_folder)
    return "no format recognizes this folder; it has no config.json, index or weights that quern "
           "reads";
  if (head.empty()) return "the file is empty; download it again";
  if (head.starts_with("version https://git-lfs")) {
    return "this is a git-LFS pointer, not the file itself; run `git lfs pull`";
  }
  if (text.starts_with("<!DOCTYPE") || text.starts_with("<!doctype") || text.starts_with("<html")) {
    return "this is an HTML page, not a model; the download went to a web page";
  }
  if (head.starts_with("7z\xbc\xaf")) return "this is a 7z archive; unpack it first";
  return "no format recognizes this file; `quern formats` lists what can be read";
}

}  // namespace

// The explicit list: a static library would drop self-registering objects.
std::span<const FormatInfo> Formats() {
  static const FormatInfo kFormats[] = {
      gguf::kFormat,
      llamafile::kFormat,
      ollama::kFormat,
      ggml::kFormat,
      numpy::kFormat,  // before torch: both are zips, and this one is sure
      torch::kFormat,
      safetensors::kFormat,
      llama2c::kFormat,
      gguf::kFolderFormat,
      // Folders that have files of their own before what takes any config or tokenizer.
      meta::kFormat,
      litgpt::kFormat,
      huggingface::kFormat,
  };
  return kFormats;
}

namespace {

std::unique_ptr<ModelSource> OpenPath(const fs::path& path, const OpenOptions& options) {
  const Probe probe = MakeProbe(path);
  for (const FormatInfo& format : Formats()) {
    if (format.matches(probe)) return format.open(path, options);
  }
  throw Error(ErrorCode::kBadMagic, {path.string(), {}, {}}, Diagnose(probe));
}

}  // namespace

std::unique_ptr<ModelSource> OpenModel(const fs::path& path, const OpenOptions& options) {
  auto source = IsAddress(path) ? OpenAddress(path, options) : OpenPath(path, options);
  const bool chosen = !options.root.empty() && options.root != kWholeFile;
  if (chosen && !source->metadata().Has("pytorch.root")) {
    throw Error(ErrorCode::kUsage, {path.string(), {}, "--root"},
                fmt::format("a place inside a PyTorch checkpoint, and this is a model of the "
                            "format \"{}\"; leave the option out",
                            source->format()));
  }
  return source;
}

}  // namespace quern::formats
