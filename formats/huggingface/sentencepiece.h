// tokenizer.model: a SentencePiece vocabulary, a protobuf message (sentencepiece_model.proto).
//
// Contract: what is returned is usable without further checks: pieces are unique, non-empty, valid
// UTF-8 with finite scores and known types, ids are in range, and the normalization table can be
// walked without leaving it. Parsed with our own message definition: libsentencepiece trusts that
// table (CVE-2026-1260). Non-goals: tokenizing.
#ifndef QUERN_FORMATS_HUGGINGFACE_SENTENCEPIECE_H_
#define QUERN_FORMATS_HUGGINGFACE_SENTENCEPIECE_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern::formats::huggingface {

// The largest in use (262,144 pieces) has less than 5 MB.
inline constexpr uint64_t kMaxSentencePieceBytes = uint64_t{32} << 20;

// Values as stored in the file.
enum class PieceType : uint8_t {
  kNormal = 1,
  kUnknown,
  kControl,
  kUserDefined,
  kUnused,
  kByte,  // text is "<0xHH>"
};

enum class SentencePieceKind : uint8_t { kUnigram = 1, kBpe, kWord, kChar };

struct Piece {
  std::string text;
  float score = 0;
  PieceType type = PieceType::kNormal;
};

struct SentencePieceModel {
  std::vector<Piece> pieces;  // by id

  SentencePieceKind kind = SentencePieceKind::kUnigram;
  int64_t declared_vocab_size = 0;  // what training aimed at; pieces.size() is the truth
  bool byte_fallback = false;
  bool treat_whitespace_as_suffix = false;
  std::optional<uint32_t> unk_id, bos_id, eos_id, pad_id;
  std::string unk_piece, bos_piece, eos_piece, pad_piece;
  std::string unk_surface;

  std::string normalizer;            // "nmt_nfkc", "identity", ...
  std::string precompiled_charsmap;  // as stored; empty: none
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
  bool escape_whitespaces = true;
};

// Parses the bytes of a model file; `file` is its name in errors. Errors: kLimitExceeded (size),
// kBadMagic (a tiktoken vocabulary, which has the same file name), kBadText (no protobuf message,
// cut short, invalid UTF-8), kMissing (no pieces, no unknown piece), kDuplicate (a piece, or the
// unknown piece, twice), kNonFinite (score), kBadType (piece or model type), kBadValue (empty
// piece, byte pieces that are malformed or incomplete, ids out of range), and ValidateCharsMap's.
SentencePieceModel ParseSentencePieceModel(std::span<const uint8_t> bytes, std::string_view file);

SentencePieceModel ReadSentencePieceModel(const std::filesystem::path& path);

// The bytes of a model file that ParseSentencePieceModel() reads back as `model`.
std::string SerializeSentencePieceModel(const SentencePieceModel& model);

// Checks a precompiled_charsmap so that its double-array trie can be walked with any text:
//   u32 little-endian: bytes of the trie, a multiple of 1024
//   the trie, units of u32:
//     leaf (bit 31): bits 0-30 index into the replacements
//     node: bits 0-7 label, bit 8 has a leaf, bits 10-30 offset, shifted left by 8 if bit 9;
//           its child for byte b is unit (own index ^ offset ^ b), its leaf is the child for 0
//   replacements, each ended by a zero byte
// Throws kTruncated, kOutOfBounds, kBadValue. An empty table is valid.
void ValidateCharsMap(std::span<const uint8_t> table, std::string_view file);

}  // namespace quern::formats::huggingface

#endif  // QUERN_FORMATS_HUGGINGFACE_SENTENCEPIECE_H_
