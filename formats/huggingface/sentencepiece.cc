#include "formats/huggingface/sentencepiece.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <cstring>
#include <unordered_set>
#include <utility>

#include "formats/core/byte_reader.h"
#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/core/utf8.h"
#include "formats/huggingface/sentencepiece_model.pb.h"

namespace quern::formats::huggingface {
namespace {

Error Fail(ErrorCode code, std::string_view file, std::string subject, std::string_view message) {
  return Error(code, {std::string(file), {}, std::move(subject)},
               fmt::format("{}; the tokenizer is damaged, download it again", message));
}

// Llama 3 and others ship a text file "BASE64 RANK\n..." under the name tokenizer.model.
bool LooksLikeTiktoken(std::string_view text) {
  const std::string_view line = text.substr(0, std::min(text.find('\n'), size_t{400}));
  const size_t space = line.find(' ');
  if (space == 0 || space == line.npos || space + 1 == line.size()) return false;
  return line.find_first_not_of(
             "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") == space &&
         line.find_first_not_of("0123456789\r", space + 1) == line.npos;
}

// The value of a byte piece, "<0x00>" to "<0xFF>".
std::optional<uint8_t> ByteOf(std::string_view text) {
  if (text.size() != 6 || !text.starts_with("<0x") || text[5] != '>') return std::nullopt;
  unsigned value = 0;
  for (const char c : text.substr(3, 2)) {
    const std::string_view digits = "0123456789ABCDEF";
    const size_t digit = digits.find(c);
    if (digit == digits.npos) return std::nullopt;
    value = value * 16 + static_cast<unsigned>(digit);
  }
  return static_cast<uint8_t>(value);
}

Piece ParsePiece(const proto::SentencePiece& stored, size_t id, std::string_view file) {
  const std::string subject = fmt::format("piece {}", id);
  if (stored.piece().empty()) throw Fail(ErrorCode::kBadValue, file, subject, "is empty");
  if (!IsValidUtf8(stored.piece())) {
    throw Fail(ErrorCode::kBadText, file, subject, "is no valid UTF-8");
  }
  if (!std::isfinite(stored.score())) {
    throw Fail(ErrorCode::kNonFinite, file, subject, "the score is not finite");
  }
  if (stored.type() < static_cast<int64_t>(PieceType::kNormal) ||
      stored.type() > static_cast<int64_t>(PieceType::kByte)) {
    throw Fail(ErrorCode::kBadType, file, subject, fmt::format("has type {}", stored.type()));
  }
  return {stored.piece(), stored.score(), static_cast<PieceType>(stored.type())};
}

// What makes the pieces a vocabulary; the same demands as libsentencepiece's own loader makes.
void CheckPieces(const SentencePieceModel& model, std::string_view file) {
  if (model.pieces.empty()) throw Fail(ErrorCode::kMissing, file, "pieces", "there are none");
  std::unordered_set<std::string_view> seen;
  seen.reserve(model.pieces.size());
  std::array<bool, 256> bytes{};
  size_t byte_pieces = 0;
  size_t unknown = 0;
  for (size_t id = 0; id < model.pieces.size(); ++id) {
    const Piece& piece = model.pieces[id];
    const auto subject = [&] { return fmt::format("piece {}", id); };
    if (!seen.insert(piece.text).second) {
      throw Fail(ErrorCode::kDuplicate, file, subject(),
                 fmt::format("\"{}\" is there twice", Printable(piece.text)));
    }
    if (piece.type == PieceType::kUnknown && ++unknown > 1) {
      throw Fail(ErrorCode::kDuplicate, file, subject(), "a second unknown piece");
    }
    if (piece.type != PieceType::kByte) continue;
    const auto byte = ByteOf(piece.text);
    if (!byte) {
      throw Fail(
          ErrorCode::kBadValue, file, subject(),
          fmt::format("\"{}\" has type byte and is not <0x00> to <0xFF>", Printable(piece.text)));
    }
    if (!std::exchange(bytes[*byte], true)) ++byte_pieces;
  }
  if (unknown == 0) throw Fail(ErrorCode::kMissing, file, "pieces", "none is the unknown piece");
  if (model.byte_fallback && byte_pieces != bytes.size()) {
    throw Fail(ErrorCode::kBadValue, file, "byte_fallback",
               fmt::format("{} of 256 byte pieces are there", byte_pieces));
  }
}

std::optional<uint32_t> ParseId(int64_t id, size_t pieces, const char* name,
                                std::string_view file) {
  if (id < 0) return std::nullopt;  // -1: the model has no such piece
  if (static_cast<uint64_t>(id) >= pieces) {
    throw Fail(ErrorCode::kBadValue, file, name,
               fmt::format("is {} and there are {} pieces", id, pieces));
  }
  return static_cast<uint32_t>(id);
}

void ParseTrainer(const proto::TrainerSpec& stored, SentencePieceModel& model,
                  std::string_view file) {
  if (stored.model_type() < static_cast<int64_t>(SentencePieceKind::kUnigram) ||
      stored.model_type() > static_cast<int64_t>(SentencePieceKind::kChar)) {
    throw Fail(ErrorCode::kBadType, file, "model_type",
               fmt::format("is {}, which does not exist", stored.model_type()));
  }
  model.kind = static_cast<SentencePieceKind>(stored.model_type());
  model.declared_vocab_size = stored.vocab_size();
  model.byte_fallback = stored.byte_fallback();
  model.treat_whitespace_as_suffix = stored.treat_whitespace_as_suffix();
  const size_t pieces = model.pieces.size();
  model.unk_id = ParseId(stored.unk_id(), pieces, "unk_id", file);
  model.bos_id = ParseId(stored.bos_id(), pieces, "bos_id", file);
  model.eos_id = ParseId(stored.eos_id(), pieces, "eos_id", file);
  model.pad_id = ParseId(stored.pad_id(), pieces, "pad_id", file);
  const std::pair<const std::string&, std::string&> texts[] = {
      {stored.unk_piece(), model.unk_piece},     {stored.bos_piece(), model.bos_piece},
      {stored.eos_piece(), model.eos_piece},     {stored.pad_piece(), model.pad_piece},
      {stored.unk_surface(), model.unk_surface},
  };
  for (const auto& [from, to] : texts) {
    if (!IsValidUtf8(from)) {
      throw Fail(ErrorCode::kBadText, file, "trainer_spec", "a piece is no valid UTF-8");
    }
    to = from;
  }
}

void ParseNormalizer(const proto::NormalizerSpec& stored, SentencePieceModel& model,
                     std::string_view file) {
  const std::string& table = stored.precompiled_charsmap();
  ValidateCharsMap({reinterpret_cast<const uint8_t*>(table.data()), table.size()}, file);
  model.precompiled_charsmap = table;
  model.normalizer = ReplaceInvalidUtf8(stored.name());
  model.add_dummy_prefix = stored.add_dummy_prefix();
  model.remove_extra_whitespaces = stored.remove_extra_whitespaces();
  model.escape_whitespaces = stored.escape_whitespaces();
}

}  // namespace

SentencePieceModel ParseSentencePieceModel(std::span<const uint8_t> bytes, std::string_view file) {
  if (bytes.size() > kMaxSentencePieceBytes) {
    throw Error(ErrorCode::kLimitExceeded, {std::string(file), {}, {}},
                fmt::format("{} bytes; a SentencePiece model may have {}", bytes.size(),
                            kMaxSentencePieceBytes));
  }
  if (LooksLikeTiktoken({reinterpret_cast<const char*>(bytes.data()), bytes.size()})) {
    throw Error(ErrorCode::kBadMagic, {std::string(file), {}, {}},
                "this is a tiktoken vocabulary, not a SentencePiece model; use the tokenizer.json "
                "of the same model");
  }
  proto::Model stored;
  if (!stored.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    throw Fail(ErrorCode::kBadText, file, {}, "not a SentencePiece model, or cut short");
  }
  SentencePieceModel model;
  model.pieces.reserve(static_cast<size_t>(stored.pieces_size()));
  for (const auto& piece : stored.pieces()) {
    model.pieces.push_back(ParsePiece(piece, model.pieces.size(), file));
  }
  model.byte_fallback = stored.trainer_spec().byte_fallback();
  CheckPieces(model, file);
  ParseTrainer(stored.trainer_spec(), model, file);
  ParseNormalizer(stored.normalizer_spec(), model, file);
  return model;
}

SentencePieceModel ReadSentencePieceModel(const std::filesystem::path& path) {
  const std::string text = ReadTextFile(path, kMaxSentencePieceBytes);
  return ParseSentencePieceModel({reinterpret_cast<const uint8_t*>(text.data()), text.size()},
                                 path.string());
}

void ValidateCharsMap(std::span<const uint8_t> table, std::string_view file) {
  if (table.empty()) return;
  const auto fail = [&](ErrorCode code, std::string_view message) {
    return Fail(code, file, "precompiled_charsmap", message);
  };
  ByteReader reader(table, std::string(file));
  const auto trie_bytes = reader.Read<uint32_t>("precompiled_charsmap");
  if (trie_bytes == 0 || trie_bytes % 1024 != 0) {
    throw fail(ErrorCode::kBadValue, fmt::format("a trie of {} bytes cannot be", trie_bytes));
  }
  const auto units = reader.ReadArray<uint32_t>(trie_bytes / 4, "precompiled_charsmap");
  const auto replacements = reader.remaining();
  if (replacements == 0 || table.back() != 0) {
    throw fail(ErrorCode::kBadValue, "the replacements do not end with a zero byte");
  }
  constexpr uint32_t kLeaf = uint32_t{1} << 31;
  for (size_t i = 0; i < units.size(); ++i) {
    const uint32_t unit = units[i];
    if (unit & kLeaf) {
      if ((unit & ~kLeaf) >= replacements) {
        throw fail(ErrorCode::kOutOfBounds,
                   fmt::format("leaf {} of the trie points behind the replacements", i));
      }
      continue;
    }
    // All 256 children of a node lie in one aligned run of 256 units, as the trie's own does.
    const uint64_t leaf = i ^ (uint64_t{unit >> 10} << ((unit & 0x200) >> 6));
    if (leaf >= units.size()) {
      throw fail(ErrorCode::kOutOfBounds, fmt::format("node {} points behind the trie", i));
    }
    if ((unit & 0x100) && !(units[leaf] & kLeaf)) {
      throw fail(ErrorCode::kBadValue, fmt::format("node {} of the trie lacks its leaf", i));
    }
  }
}

}  // namespace quern::formats::huggingface
