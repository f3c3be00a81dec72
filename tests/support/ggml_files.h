// GGML files of before GGUF, built in code; right, or wrong in any field.
#ifndef QUERN_TESTS_SUPPORT_GGML_FILES_H_
#define QUERN_TESTS_SUPPORT_GGML_FILES_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace quern::testing {

struct GgmlTensor {
  std::string name;
  std::vector<uint32_t> dims;  // innermost first, as stored
  uint32_t type = 0;
  std::string data;
  std::optional<uint32_t> name_bytes, n_dims;  // claims in place of the real numbers
};

struct GgmlFile {
  std::string magic = "tjgg";
  std::optional<uint32_t> version = 3;
  std::vector<uint32_t> numbers;         // hyperparameters
  std::string filters;                   // whisper's mel filters with their counts, and token count
  std::vector<std::string> tokens;       // scores are -index
  std::optional<uint32_t> token_length;  // claim of the first token
  bool scores = true;
  std::vector<GgmlTensor> tensors;

  std::string Build() const;
};

struct GgmlLlamaShape {
  uint32_t vocabulary = 300, embedding = 64, heads = 4, kv_heads = 2, layers = 2, feed_forward = 96;
};

// A whole small LLaMA with every tensor that Meta's checkpoints have. Matrices are of `type` (0
// F32, 1 F16, 8 Q8_0, ...), `row_bytes(columns)` long each; the bytes are a fixed pattern, or
// finite numbers for F32.
GgmlFile GgmlLlama(const std::string& magic, std::optional<uint32_t> version, uint32_t type = 0,
                   const GgmlLlamaShape& shape = {});

// whisper's header with two filters of three values and four tokens; one tensor.
GgmlFile GgmlWhisper();
// rwkv.cpp, version 100 or 101, with one F32 matrix.
GgmlFile GgmlRwkv(uint32_t version = 101);

}  // namespace quern::testing

#endif  // QUERN_TESTS_SUPPORT_GGML_FILES_H_
