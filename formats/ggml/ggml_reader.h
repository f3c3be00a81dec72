// GGML files of before GGUF as models: LLaMA's, and whisper's and RWKV's to look at.
//
// layout() is "ggml"; config() holds the header's numbers and "model_type". Metadata:
//   ggml.container  "GGML", "GGMF" or "GGJT"
//   ggml.version    u32, where the container has one
//   ggml.tokens     the vocabulary's raw bytes, and
//   ggml.scores     f32, where the file has them
// Bytes and limits: ggml_header.h. Side files are not looked for: the old files stood alone.
#ifndef QUERN_FORMATS_GGML_GGML_READER_H_
#define QUERN_FORMATS_GGML_GGML_READER_H_

#include <filesystem>
#include <string_view>

#include "formats/core/model.h"
#include "formats/reader.h"

namespace quern::formats::ggml {

class GgmlSource : public ModelSource {
 public:
  // Throws what File::Open() and ParseHeader() throw, and kDuplicate for a tensor named twice.
  explicit GgmlSource(const std::filesystem::path& path);

  std::string_view format() const override { return "ggml"; }
};

extern const FormatInfo kFormat;

}  // namespace quern::formats::ggml

#endif  // QUERN_FORMATS_GGML_GGML_READER_H_
