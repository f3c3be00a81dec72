#include "formats/ggml/ggml_reader.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "formats/core/byte_reader.h"
#include "formats/ggml/ggml_header.h"
#include "formats/lfs/lfs_pointer.h"

namespace quern::formats::ggml {
namespace {

bool Matches(const Probe& probe) { return LooksLikeGgml(probe.head); }

std::unique_ptr<ModelSource> Open(const std::filesystem::path& path, const OpenOptions&) {
  return std::make_unique<GgmlSource>(path);
}

}  // namespace

GgmlSource::GgmlSource(const std::filesystem::path& path) : ModelSource(path) {
  layout_ = "ggml";
  files_.push_back(lfs::OpenFile(path));
  ByteReader reader(files_.front());
  Header header = ParseHeader(reader);
  for (auto& tensor : header.tensors) AddTensor(std::move(tensor));
  config_ = std::move(header.hyperparameters);
  metadata_.Set("ggml.container", std::string(header.container));
  if (header.version != 0) metadata_.Set("ggml.version", header.version);
  if (header.tokens.empty()) return;
  std::vector<std::string> texts;
  std::vector<float> scores;
  for (auto& token : header.tokens) {
    texts.push_back(std::move(token.text));
    scores.push_back(token.score);
  }
  metadata_.Set("ggml.tokens", Array{std::move(texts)});
  if (header.has_scores) metadata_.Set("ggml.scores", Array{std::move(scores)});
}

constinit const FormatInfo kFormat = {
    .name = "ggml",
    .description =
        "GGML files of before GGUF: LLaMA (GGML, GGMF, GGJT), whisper and RWKV to inspect",
    .matches = Matches,
    .open = Open,
};

}  // namespace quern::formats::ggml
