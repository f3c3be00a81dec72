// tokenizer.bin of llama2.c: pieces and scores of a SentencePiece model, without their types.
//
//   u32 longest piece in bytes, then per piece: f32 score, i32 length, bytes
// Made from tokenizer.model by llama2.c's tokenizer.py, which writes a space for U+2581 and puts
// line breaks around <s> (id 1) and </s> (id 2); both are undone here. There is no count: the
// pieces end with the file.
#ifndef QUERN_FORMATS_LLAMA2C_TOKENIZER_BIN_H_
#define QUERN_FORMATS_LLAMA2C_TOKENIZER_BIN_H_

#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

#include "formats/huggingface/sentencepiece.h"

namespace quern::formats::llama2c {

inline constexpr uint64_t kMaxTokenizerBinBytes = uint64_t{32} << 20;

// Pieces by id, with the types that such a model has: 0 unknown, 1 and 2 control, <0xHH> bytes.
// Throws kTruncated, kBadValue (a length beyond what the header says, fewer than three pieces),
// kBadText (invalid UTF-8), kNonFinite (score), kLimitExceeded.
std::vector<huggingface::Piece> ParseTokenizerBin(std::span<const uint8_t> bytes,
                                                  std::string_view file);

std::vector<huggingface::Piece> ReadTokenizerBin(const std::filesystem::path& path);

}  // namespace quern::formats::llama2c

#endif  // QUERN_FORMATS_LLAMA2C_TOKENIZER_BIN_H_
