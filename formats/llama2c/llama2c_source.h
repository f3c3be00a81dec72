// llama2.c checkpoints: a Llama as one .bin file of F32 arrays, with tokenizer.bin or .model
// beside.
//
// Two layouts (karpathy/llama2.c: export.py; all little-endian, int32 and float32):
//   legacy     offset  0: dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len;
//              vocab_size negative: output.weight follows at the end, else it is tok_embeddings
//              arrays: tok_embeddings, attention_norm, wq, wk, wv, wo, ffn_norm, w1, w2, w3, norm,
//              freq_cis_real, freq_cis_imag [seq_len, head size / 2], [output]
//   version 1  offset  0: u32 0x616b3432, i32 1, the same seven, u8 shared classifier; 256 bytes
//              arrays: attention_norm, ffn_norm, norm, tok_embeddings, wq, wk, wv, wo, w1, w2, w3,
//              [output]
// An array that layers have is stored for all of them, one after the other. Tensors get the names
// that they have in Meta's checkpoints, layers.N.attention.wq.weight; config() is the header under
// the names of params.json, with the two constants of run.c (norm_eps, rope_theta). The legacy
// layout has no magic: a file is one if its size is exactly what its header says.
//
// Tokenizer, as side file tokenizer.model or tokenizer.bin: for NAME.bin the first that is there of
// NAME.model, tokenizer.model, the only tok*.model; then tokenizer.bin, the only tok*.bin.
//
// Non-goals: version 2 (Q8_0 with its own group size), which is refused.
#ifndef QUERN_FORMATS_LLAMA2C_LLAMA2C_SOURCE_H_
#define QUERN_FORMATS_LLAMA2C_LLAMA2C_SOURCE_H_

#include <cstdint>
#include <filesystem>
#include <string_view>

#include "formats/reader.h"

namespace quern::formats::llama2c {

// No dimension of a real model is larger.
inline constexpr int32_t kMaxDimension = 1 << 24;
inline constexpr int32_t kMaxLayers = 1 << 12;

class Llama2cSource : public ModelSource {
 public:
  // Throws kTruncated, kUnusedBytes (the file's size is not what the header says), kBadVersion,
  // kBadValue (a header value out of range), kUnsupported (version 2).
  explicit Llama2cSource(const std::filesystem::path& path);

  std::string_view format() const override { return "llama2c"; }

 private:
  void FindTokenizer();
};

extern const FormatInfo kFormat;

}  // namespace quern::formats::llama2c

#endif  // QUERN_FORMATS_LLAMA2C_LLAMA2C_SOURCE_H_
