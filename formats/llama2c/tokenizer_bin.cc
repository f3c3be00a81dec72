#include "formats/llama2c/tokenizer_bin.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

#include "formats/core/byte_reader.h"
#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::formats::llama2c {
namespace {

using huggingface::Piece;
using huggingface::PieceType;

constexpr size_t kUnknown = 0, kBegin = 1, kEnd = 2;
constexpr size_t kFirstByte = 3, kBytes = 256;

std::string WithMarks(std::string_view text) {
  std::string marked;
  for (const char c : text) {
    if (c == ' ') {
      marked += "\u2581";
    } else {
      marked += c;
    }
  }
  return marked;
}

bool IsBytePiece(std::string_view text, size_t id) {
  return id >= kFirstByte && id < kFirstByte + kBytes &&
         text == fmt::format("<0x{:02X}>", id - kFirstByte);
}

Piece MakePiece(std::string text, float score, size_t id) {
  if (id == kUnknown) return {std::move(text), score, PieceType::kUnknown};
  if (id == kBegin || id == kEnd) {
    std::string_view inner = text;
    if (inner.starts_with('\n')) inner.remove_prefix(1);
    if (inner.ends_with('\n')) inner.remove_suffix(1);
    return {std::string(inner), score, PieceType::kControl};
  }
  const bool byte = IsBytePiece(text, id);
  return {byte ? std::move(text) : WithMarks(text), score,
          byte ? PieceType::kByte : PieceType::kNormal};
}

}  // namespace

std::vector<Piece> ParseTokenizerBin(std::span<const uint8_t> bytes, std::string_view file) {
  ByteReader reader(bytes, std::string(file));
  const auto longest = reader.Read<uint32_t>("longest piece");
  std::vector<Piece> pieces;
  while (reader.remaining() > 0) {
    const auto score = reader.Read<float>("score");
    if (!std::isfinite(score)) {
      throw reader.Fail(ErrorCode::kNonFinite, "score", "is no number; the file is damaged");
    }
    const auto length = reader.Read<int32_t>("length");
    // <s> and </s> get their line breaks after the longest piece was measured.
    constexpr uint32_t kLineBreaks = 2;
    if (length < 0 || static_cast<uint64_t>(length) > uint64_t{longest} + kLineBreaks) {
      throw reader.Fail(ErrorCode::kBadValue, "length",
                        fmt::format("{} bytes, and no piece should have more than {}; the file is "
                                    "damaged or no llama2.c tokenizer",
                                    length, longest));
    }
    std::string text = reader.ReadString(static_cast<uint64_t>(length), "piece");
    if (!IsValidUtf8(text)) {
      throw reader.Fail(ErrorCode::kBadText, "piece", "is no valid UTF-8; the file is damaged");
    }
    pieces.push_back(MakePiece(std::move(text), score, pieces.size()));
  }
  if (pieces.size() <= kEnd) {
    throw reader.Fail(
        ErrorCode::kBadValue, "pieces",
        fmt::format("only {}, without <unk>, <s> and </s>; the file is damaged", pieces.size()));
  }
  return pieces;
}

std::vector<Piece> ReadTokenizerBin(const std::filesystem::path& path) {
  const std::string text = ReadTextFile(path, kMaxTokenizerBinBytes);
  return ParseTokenizerBin({reinterpret_cast<const uint8_t*>(text.data()), text.size()},
                           path.string());
}

}  // namespace quern::formats::llama2c
