// Headers of the files that GGML programs wrote before GGUF (until August 2023).
//
//  magic (u32, little-endian)  bytes    [version u32]        who
//  0x67676d6c "ggml"           "lmgg"   none                 LLaMA, whisper.cpp, many examples
//  0x67676d66 "ggmf"           "fmgg"   1 / 100, 101         LLaMA / rwkv.cpp
//  0x67676a74 "ggjt"           "tjgg"   1, 2, 3              LLaMA
//
//  LLaMA:   u32 n_vocab n_embd n_mult n_head n_layer n_rot ftype, n_vocab x token
//  whisper: u32 n_vocab n_audio_ctx n_audio_state n_audio_head n_audio_layer n_text_ctx
//  n_text_state
//           n_text_head n_text_layer n_mels ftype, u32 n_mel n_fft, n_mel * n_fft x f32 (filters),
//           u32 count, count x token
//  RWKV:    u32 n_vocab n_embd n_layer ftype
//  token:   u32 length, bytes; LLaMA since ggmf: f32 score
//  tensor, until the end of the file (LLaMA and whisper | RWKV):
//           u32 n_dims, name_length, type | n_dims, key_length, type
//           u32 dims[n_dims] (innermost first), name, [ggjt: zeros up to a multiple of 32], data
//
// Sources: ggml-org/llama.cpp at 2023-08 (llama.cpp, convert-llama-ggml-to-gguf.py), whisper.cpp,
// RWKV/rwkv.cpp docs/FILE_FORMAT.md. Block layouts changed twice without a new type id, so a type
// is read only from containers in which it means what it means today. Non-goals: the old layouts,
// and the other programs that used the unversioned magic (GPT-2, GPT-J, MPT, ...).
#ifndef QUERN_FORMATS_GGML_GGML_HEADER_H_
#define QUERN_FORMATS_GGML_GGML_HEADER_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/byte_reader.h"
#include "formats/core/json.h"
#include "formats/core/model.h"

namespace quern::formats::ggml {

inline constexpr uint64_t kMaxVocabulary = 1 << 20;
inline constexpr uint64_t kMaxTokenBytes = 4096;
inline constexpr uint64_t kMaxNameBytes = 4096;
inline constexpr uint64_t kMaxTensors = 1 << 16;
inline constexpr uint32_t kMaxDimensions = 4;
inline constexpr uint64_t kAlignment = 32;  // of data in GGJT files

enum class Model : uint8_t { kLlama, kWhisper, kRwkv };

struct Token {
  std::string text;  // raw bytes
  float score = 0;
};

struct Header {
  Model model = Model::kLlama;
  std::string_view container;  // "GGML", "GGMF" or "GGJT"
  uint32_t version = 0;        // 0: the container has none
  // The header's numbers by the names above, and "model_type": "llama", "whisper" or "rwkv".
  Json hyperparameters;
  std::vector<Token> tokens;
  bool has_scores = false;
  std::vector<TensorInfo> tensors;  // in the file's order; names may repeat
};

bool LooksLikeGgml(std::string_view head);

// Parses a whole file; data is skipped, not read. Throws kBadMagic, kBadVersion, kBadValue (no
// model that is known), kBadType, kBadShape, kBadText (a name that is not UTF-8), kLimitExceeded,
// kTruncated, and kUnsupported for block layouts of the past, LoRA adapters and other programs'
// models.
Header ParseHeader(ByteReader& reader);

}  // namespace quern::formats::ggml

#endif  // QUERN_FORMATS_GGML_GGML_HEADER_H_
