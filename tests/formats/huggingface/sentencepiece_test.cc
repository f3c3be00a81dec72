#include "formats/huggingface/sentencepiece.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "formats/core/file.h"
#include "tests/support/fixtures.h"

namespace quern::formats::huggingface {
namespace {

using testing::Bytes;
using testing::ErrorOf;

// Protobuf on the wire, by hand, so that it can be wrong in every way.
std::string Varint(uint64_t value) {
  std::string out;
  for (; value >= 0x80; value >>= 7) out += static_cast<char>(value | 0x80);
  return out + static_cast<char>(value);
}
std::string IntField(uint32_t number, uint64_t value) {
  return Varint(number << 3) + Varint(value);
}
std::string BytesField(uint32_t number, std::string_view value) {
  return Varint(number << 3 | 2) + Varint(value.size()) + std::string(value);
}
std::string FloatField(uint32_t number, float value) {
  return Varint(number << 3 | 5) + std::string(reinterpret_cast<const char*>(&value), 4);
}

std::string PieceField(std::string_view text, PieceType type = PieceType::kNormal,
                       float score = 0) {
  return BytesField(
      1, BytesField(1, text) + FloatField(2, score) + IntField(3, static_cast<uint64_t>(type)));
}
std::string Trainer(std::string_view fields) { return BytesField(2, fields); }
std::string Normalizer(std::string_view fields) { return BytesField(3, fields); }

// Valid by itself; tests append what is wrong (of a repeated message, protobuf merges the fields).
const std::string& Valid() {
  static const std::string* const valid = new std::string(PieceField("<unk>", PieceType::kUnknown) +
                                                          PieceField("<s>", PieceType::kControl) +
                                                          PieceField("</s>", PieceType::kControl) +
                                                          PieceField("\xe2\x96\x81"
                                                                     "a"));
  return *valid;
}

SentencePieceModel Parse(std::string_view bytes) {
  return ParseSentencePieceModel({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()},
                                 "tokenizer.model");
}

TEST(SentencePiece, ReadsPiecesAndSettings) {
  const auto model =
      Parse(Valid() + PieceField("b", PieceType::kUserDefined, -2.5f) +
            Trainer(IntField(3, 2) + IntField(4, 32000) + IntField(43, 4) + IntField(24, 1) +
                    IntField(41, ~uint64_t{0}) + BytesField(46, "[BOS]")) +
            Normalizer(BytesField(1, "identity") + IntField(3, 0) + IntField(4, 0)));
  ASSERT_EQ(model.pieces.size(), 5u);
  EXPECT_EQ(model.pieces[4].text, "b");
  EXPECT_EQ(model.pieces[4].score, -2.5f);
  EXPECT_EQ(model.pieces[4].type, PieceType::kUserDefined);
  EXPECT_EQ(model.kind, SentencePieceKind::kBpe);
  EXPECT_EQ(model.declared_vocab_size, 32000);
  EXPECT_EQ(model.unk_id, 0u);
  EXPECT_EQ(model.bos_id, std::nullopt);
  EXPECT_EQ(model.eos_id, 2u);
  EXPECT_EQ(model.pad_id, 4u);
  EXPECT_EQ(model.bos_piece, "[BOS]");
  EXPECT_EQ(model.eos_piece, "</s>");
  EXPECT_TRUE(model.treat_whitespace_as_suffix);
  EXPECT_EQ(model.normalizer, "identity");
  EXPECT_FALSE(model.add_dummy_prefix);
  EXPECT_FALSE(model.remove_extra_whitespaces);
  EXPECT_TRUE(model.escape_whitespaces);
}

TEST(SentencePiece, HasTheDefaultsOfTheFormat) {
  const auto model = Parse(Valid());
  EXPECT_EQ(model.kind, SentencePieceKind::kUnigram);
  EXPECT_EQ(model.unk_piece, "<unk>");
  EXPECT_EQ(model.unk_surface, " \xe2\x81\x87 ");
  EXPECT_EQ(model.pad_id, std::nullopt);
  EXPECT_TRUE(model.add_dummy_prefix);
  EXPECT_TRUE(model.remove_extra_whitespaces);
}

TEST(SentencePiece, RefusesBadPieces) {
  const auto expect = [](const std::string& extra, ErrorCode code) {
    EXPECT_QUERN_ERROR(Parse(Valid() + extra), code);
  };
  expect(PieceField(""), ErrorCode::kBadValue);
  expect(PieceField("a\xff"), ErrorCode::kBadText);
  expect(PieceField("x", PieceType::kNormal, std::nanf("")), ErrorCode::kNonFinite);
  expect(PieceField("x", PieceType::kNormal, std::numeric_limits<float>::infinity()),
         ErrorCode::kNonFinite);
  expect(PieceField("x", static_cast<PieceType>(0)), ErrorCode::kBadType);
  expect(PieceField("x", static_cast<PieceType>(7)), ErrorCode::kBadType);
  expect(BytesField(1, BytesField(1, "x") + IntField(3, (uint64_t{1} << 32) + 1)),
         ErrorCode::kBadType);
  expect(PieceField("<s>"), ErrorCode::kDuplicate);
  expect(PieceField("<unk2>", PieceType::kUnknown), ErrorCode::kDuplicate);
  for (const char* text : {"x", "<0x0>", "<0xGG>", "<0xab>", "<0x000>", "<0x00 "}) {
    expect(PieceField(text, PieceType::kByte), ErrorCode::kBadValue);
  }
  EXPECT_QUERN_ERROR(Parse(""), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Parse(PieceField("a")), ErrorCode::kMissing);
}

TEST(SentencePiece, RefusesBadSettings) {
  const auto expect = [](const std::string& trainer, ErrorCode code) {
    EXPECT_QUERN_ERROR(Parse(Valid() + Trainer(trainer)), code);
  };
  expect(IntField(3, 0), ErrorCode::kBadType);
  expect(IntField(3, 5), ErrorCode::kBadType);
  for (const uint32_t field : {40u, 41u, 42u, 43u}) {
    expect(IntField(field, 4), ErrorCode::kBadValue);
    expect(IntField(field, uint64_t{1} << 62), ErrorCode::kBadValue);
  }
  expect(BytesField(45, "\xc0\x80"), ErrorCode::kBadText);
  expect(IntField(35, 1), ErrorCode::kBadValue);  // byte fallback without byte pieces
}

TEST(SentencePiece, NeedsAll256BytePiecesForByteFallback) {
  std::string bytes = Valid() + Trainer(IntField(35, 1));
  for (int i = 0; i < 256; ++i) {
    EXPECT_QUERN_ERROR(Parse(bytes), ErrorCode::kBadValue);
    char text[7];
    std::snprintf(text, sizeof(text), "<0x%02X>", i);
    bytes += PieceField(text, PieceType::kByte);
  }
  EXPECT_EQ(Parse(bytes).pieces.size(), 260u);
}

TEST(SentencePiece, RefusesMalformedProtobuf) {
  const std::string cases[] = {
      Valid() + "\x0a",  // no length
      Valid() +
          "\x0a\x7f"
          "abc",                                   // length beyond the end
      Valid() + "\x0a" + Varint(~uint64_t{0}),     // 10-byte length
      Valid() + "\x0a" + std::string(11, '\xff'),  // varint that never ends
      Valid() + "\x23",                            // group, not closed
      Valid() + std::string(100'000, '\x23'),      // groups, nested deep
      Valid() + "\x24",                            // end of a group that never began
      Valid() + "\x0f",                            // wire type 7
      Valid() + std::string("\x00", 1),            // field number 0
      Valid() + BytesField(1,
                           "\x0a\x05"
                           "ab"),  // the damage is one level down
  };
  for (const std::string& bytes : cases) {
    EXPECT_QUERN_ERROR(Parse(bytes), ErrorCode::kBadText);
  }
  EXPECT_QUERN_ERROR(Parse(std::string(kMaxSentencePieceBytes + 1, '\x0a')),
                     ErrorCode::kLimitExceeded);
}

TEST(SentencePiece, IgnoresFieldsThatItDoesNotKnow) {
  const auto model = Parse(Valid() + IntField(100, 7) + BytesField(4, "samples") + "\x2b\x2c");
  EXPECT_EQ(model.pieces.size(), 4u);
}

TEST(SentencePiece, TellsATiktokenVocabularyApart) {
  const Error error = ErrorOf([] { Parse("IQ== 0\nIg== 1\n"); });
  EXPECT_EQ(error.code(), ErrorCode::kBadMagic);
  EXPECT_THAT(error.message(), ::testing::HasSubstr("tiktoken"));
}

// A table of 256 units of which `units` are set, and one replacement.
std::vector<uint8_t> CharsMap(const std::vector<std::pair<size_t, uint32_t>>& units,
                              std::string_view replacements) {
  std::vector<uint32_t> trie(256, 0);
  for (const auto& [at, unit] : units) trie[at] = unit;
  Bytes bytes;
  bytes.Put<uint32_t>(1024);
  for (const uint32_t unit : trie) bytes.Put(unit);
  bytes.Text(replacements);
  return bytes.data();
}

TEST(SentencePieceCharsMap, AcceptsATrieThatStaysInside) {
  const uint32_t leaf = uint32_t{1} << 31;
  const auto table = CharsMap({{0, 1 << 10 | 0x100}, {1, leaf | 1}}, std::string_view("a\0", 2));
  EXPECT_NO_THROW(ValidateCharsMap(table, "f"));
  EXPECT_NO_THROW(ValidateCharsMap({}, "f"));
  const std::string text(table.begin(), table.end());
  EXPECT_EQ(Parse(Valid() + Normalizer(BytesField(2, text))).precompiled_charsmap, text);
}

TEST(SentencePieceCharsMap, RefusesATrieThatLeavesTheTable) {
  const uint32_t leaf = uint32_t{1} << 31;
  const std::string_view end("a\0", 2);
  const auto expect = [](const std::vector<uint8_t>& table, ErrorCode code) {
    EXPECT_QUERN_ERROR(ValidateCharsMap(table, "f"), code);
    const std::string text(table.begin(), table.end());
    EXPECT_QUERN_ERROR(Parse(Valid() + Normalizer(BytesField(2, text))), code);
  };
  expect({1, 2, 3}, ErrorCode::kTruncated);
  expect(CharsMap({{0, 256 << 10}}, end), ErrorCode::kOutOfBounds);
  expect(CharsMap({{7, 1 << 10 | 0x200}}, end), ErrorCode::kOutOfBounds);  // offset << 8
  expect(CharsMap({{7, 0x7ffffe00}}, end), ErrorCode::kOutOfBounds);
  expect(CharsMap({{9, leaf | 2}}, end), ErrorCode::kOutOfBounds);
  expect(CharsMap({{9, 0xffffffff}}, end), ErrorCode::kOutOfBounds);
  expect(CharsMap({{0, 1 << 10 | 0x100}}, end), ErrorCode::kBadValue);  // its leaf is none
  expect(CharsMap({}, ""), ErrorCode::kBadValue);
  expect(CharsMap({}, "ab"), ErrorCode::kBadValue);  // not ended
  auto table = CharsMap({}, end);
  table[0] = 4;
  table[1] = 0;
  expect(table, ErrorCode::kBadValue);
  table[1] = 8;  // 2052 bytes
  expect(table, ErrorCode::kBadValue);
  table[0] = 0;  // 2048 bytes, and 1026 are there
  expect(table, ErrorCode::kTruncated);
}

TEST(SentencePiece, ReadsRealModels) {
  QUERN_SHARED_OR_SKIP(path, "fixtures");
  struct Real {
    const char* file;
    size_t pieces;
    SentencePieceKind kind;
    bool byte_fallback;
    size_t charsmap;
  };
  const Real models[] = {
      {"tokenizers/llama-2-7b/tokenizer.model", 32000, SentencePieceKind::kBpe, true, 0},
      {"tokenizers/mistral-7b/tokenizer.model", 32000, SentencePieceKind::kBpe, true, 0},
      {"tokenizers/mistral-7b/mistral_instruct_tokenizer_240216.model.v2", 32768,
       SentencePieceKind::kBpe, true, 0},
      {"tokenizers/mistral-7b/mistral_instruct_tokenizer_240323.model.v3", 32768,
       SentencePieceKind::kBpe, true, 0},
      {"tokenizers/mistral-7b/mistral_instruct_tokenizer_241114.model.v7", 32768,
       SentencePieceKind::kBpe, true, 0},
      {"tokenizers/sentencepiece-test/en.wiki.bpe.vs100000.model", 100000, SentencePieceKind::kBpe,
       false, 237484},
      {"tokenizers/sentencepiece-test/test_ja_model.model", 8000, SentencePieceKind::kUnigram,
       false, 237484},
      {"tokenizers/sentencepiece-test/test_model.model", 1000, SentencePieceKind::kUnigram, false,
       237484},
      {"pytorch/meta/m.model", 2000, SentencePieceKind::kUnigram, false, 237561},
      {"llama2c/tok512.model", 512, SentencePieceKind::kBpe, true, 0},
  };
  for (const Real& real : models) {
    const auto model = ReadSentencePieceModel(path / real.file);
    EXPECT_EQ(model.pieces.size(), real.pieces) << real.file;
    EXPECT_EQ(model.kind, real.kind) << real.file;
    EXPECT_EQ(model.byte_fallback, real.byte_fallback) << real.file;
    EXPECT_EQ(model.precompiled_charsmap.size(), real.charsmap) << real.file;
    EXPECT_EQ(model.pieces[0].text, "<unk>") << real.file;
    EXPECT_EQ(model.pieces[0].type, PieceType::kUnknown) << real.file;
  }
  EXPECT_QUERN_ERROR(ReadSentencePieceModel(path / "pytorch/meta/tiktoken_small.model"),
                     ErrorCode::kBadMagic);
}

TEST(SentencePiece, SurvivesARealModelCutAnywhere) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/llama2c/tok512.model");
  const std::string whole = ReadTextFile(path, kMaxSentencePieceBytes);
  for (size_t size = 0; size < whole.size(); size += 13) {
    // A cut between two pieces is a shorter message; byte fallback or the end tells.
    try {
      Parse(std::string_view(whole).substr(0, size));
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace quern::formats::huggingface
