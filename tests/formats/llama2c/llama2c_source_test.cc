#include "formats/llama2c/llama2c_source.h"

#include <gtest/gtest.h>

#include <array>
#include <bit>
#include <limits>

#include "formats/core/file.h"
#include "formats/llama2c/tokenizer_bin.h"
#include "formats/reader.h"
#include "tests/support/fixtures.h"

namespace quern::formats::llama2c {
namespace {

using quern::testing::Bytes;
using quern::testing::TempFolder;

// dim 8, hidden 12, 2 layers, 2 heads, 1 for k and v, vocabulary 5, context 4.
constexpr std::array<int32_t, 7> kNumbers = {8, 12, 2, 2, 1, 5, 4};
constexpr uint64_t kLayerFloats = 8 + 64 + 32 + 32 + 64 + 8 + 3 * 96;
constexpr uint64_t kFloats = 5 * 8 + 2 * kLayerFloats + 8;
constexpr uint64_t kRotary = 2 * 4 * 2;

// Floats that count from 0.
Bytes& Count(Bytes& bytes, uint64_t floats) {
  for (uint64_t i = 0; i < floats; ++i) bytes.Put(static_cast<float>(i));
  return bytes;
}

Bytes Legacy(std::array<int32_t, 7> numbers = kNumbers) {
  Bytes bytes;
  for (const int32_t number : numbers) bytes.Put(number);
  Count(bytes, kFloats + kRotary + (numbers[5] < 0 ? 40 : 0));
  return bytes;
}

Bytes Version1(int32_t version = 1, uint8_t shared = 1, std::array<int32_t, 7> numbers = kNumbers) {
  Bytes bytes;
  bytes.Put(uint32_t{0x616b3432}).Put(version);
  for (const int32_t number : numbers) bytes.Put(number);
  bytes.Put(shared).Zeros(256 - 37);
  Count(bytes, kFloats + (shared == 0 ? 40 : 0));
  return bytes;
}

float FirstOf(const ModelSource& source, std::string_view name) {
  std::array<uint8_t, 4> raw{};
  source.Read(*source.FindTensor(name), 0, raw);
  return std::bit_cast<float>(raw);
}

std::unique_ptr<ModelSource> Open(const Bytes& bytes) {
  const TempFolder folder;
  return OpenModel(folder.Write("model.bin", std::span<const uint8_t>(bytes)));
}

TEST(Llama2c, ReadsTheLegacyLayout) {
  const auto source = Open(Legacy());
  EXPECT_EQ(source->format(), "llama2c");
  EXPECT_EQ(source->config().at("max_seq_len"), 4);
  EXPECT_EQ(FirstOf(*source, "tok_embeddings.weight"), 0);
  EXPECT_EQ(FirstOf(*source, "layers.1.attention_norm.weight"), 48);
  EXPECT_EQ(FirstOf(*source, "layers.1.attention.wq.weight"), 56 + 64);
  EXPECT_EQ(source->FindTensor("layers.0.attention.wk.weight")->shape, (Shape{4, 8}));
  EXPECT_EQ(FirstOf(*source, "norm.weight"), kFloats - 8);
  EXPECT_EQ(FirstOf(*source, "freq_cis_real"), kFloats);
  EXPECT_EQ(source->FindTensor("output.weight"), nullptr);
}

TEST(Llama2c, ReadsAnOutputOfItsOwn) {
  auto numbers = kNumbers;
  numbers[5] = -5;
  const auto source = Open(Legacy(numbers));
  EXPECT_EQ(FirstOf(*source, "output.weight"), kFloats + kRotary);
  EXPECT_EQ(source->config().at("vocab_size"), 5);
}

TEST(Llama2c, ReadsVersion1) {
  const auto source = Open(Version1());
  EXPECT_EQ(FirstOf(*source, "layers.0.attention_norm.weight"), 0);
  EXPECT_EQ(FirstOf(*source, "norm.weight"), 32);
  EXPECT_EQ(FirstOf(*source, "tok_embeddings.weight"), 40);
  EXPECT_EQ(source->FindTensor("output.weight"), nullptr);
  EXPECT_EQ(FirstOf(*Open(Version1(1, 0)), "output.weight"), kFloats);
}

TEST(Llama2c, RejectsEveryTruncation) {
  const Bytes whole = Version1();
  const std::span<const uint8_t> bytes = whole;
  const TempFolder folder;
  for (size_t size = 28; size < bytes.size(); size += size < 300 ? 1 : 97) {
    EXPECT_QUERN_ERROR(OpenModel(folder.Write("model.bin", bytes.first(size))),
                       ErrorCode::kTruncated);
  }
}

TEST(Llama2c, RejectsBytesAfterTheEnd) {
  Bytes bytes = Version1();
  EXPECT_QUERN_ERROR(Open(bytes.Zeros(4)), ErrorCode::kUnusedBytes);
  Bytes legacy = Legacy();
  EXPECT_QUERN_ERROR(Open(legacy.Zeros(4)), ErrorCode::kBadMagic);
}

TEST(Llama2c, RejectsOtherVersions) {
  EXPECT_QUERN_ERROR(Open(Version1(0)), ErrorCode::kBadVersion);
  EXPECT_QUERN_ERROR(Open(Version1(-1)), ErrorCode::kBadVersion);
  EXPECT_QUERN_ERROR(Open(Version1(2)), ErrorCode::kUnsupported);
  EXPECT_QUERN_ERROR(Open(Version1(1, 2)), ErrorCode::kBadValue);
}

TEST(Llama2c, RejectsNumbersOutOfRange) {
  for (size_t i = 0; i < kNumbers.size(); ++i) {
    for (const int32_t value :
         {0, -1, std::numeric_limits<int32_t>::max(), std::numeric_limits<int32_t>::min()}) {
      auto numbers = kNumbers;
      numbers[i] = value;
      EXPECT_QUERN_ERROR(Open(Version1(1, 1, numbers)), ErrorCode::kBadValue);
      const bool own_output = i == 5 && value == -1;
      if (own_output) continue;
      EXPECT_QUERN_ERROR(Open(Legacy(numbers)), ErrorCode::kBadMagic);
    }
  }
  EXPECT_QUERN_ERROR(Open(Version1(1, 1, {8, 12, 2, 3, 1, 5, 4})), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Open(Version1(1, 1, {1 << 24, 1 << 24, 4096, 2, 1, 1 << 24, 4})),
                     ErrorCode::kTruncated);
}

TEST(Llama2c, FindsTheTokenizerBeside) {
  const TempFolder folder;
  const Bytes bytes = Legacy();
  const auto path = folder.Write("model.bin", std::span<const uint8_t>(bytes));
  EXPECT_TRUE(OpenModel(path)->side_files().empty());
  const auto name = [&](const char* side) {
    return OpenModel(path)->side_files().at(side).filename();
  };
  folder.Write("tok512.bin", "");
  EXPECT_EQ(name("tokenizer.bin"), "tok512.bin");
  folder.Write("tokenizer.bin", "");
  EXPECT_EQ(name("tokenizer.bin"), "tokenizer.bin");
  folder.Write("tok512.model", "");
  EXPECT_EQ(name("tokenizer.model"), "tok512.model");
  folder.Write("tokenizer.model", "");
  EXPECT_EQ(name("tokenizer.model"), "tokenizer.model");
  folder.Write("model.model", "");
  EXPECT_EQ(name("tokenizer.model"), "model.model");
}

Bytes Tokenizer(float score = -1.5f, int32_t length = 3, std::string_view text = "a b") {
  Bytes bytes;
  bytes.Put(uint32_t{5});
  for (const std::string_view piece : {"<unk>", "\n<s>\n", "\n</s>\n", "<0x00>"}) {
    bytes.Put(0.0f).Put(static_cast<int32_t>(piece.size())).Text(piece);
  }
  bytes.Put(score).Put(length).Text(text);
  return bytes;
}

TEST(TokenizerBin, RestoresThePiecesOfTheModel) {
  QUERN_SHARED_OR_SKIP(folder, "fixtures/llama2c");
  const auto model = huggingface::ReadSentencePieceModel(folder / "tok512.model");
  const auto pieces = ReadTokenizerBin(folder / "tok512.bin");
  ASSERT_EQ(pieces.size(), model.pieces.size());
  for (size_t i = 0; i < pieces.size(); ++i) {
    EXPECT_EQ(pieces[i].text, model.pieces[i].text);
    EXPECT_EQ(pieces[i].score, model.pieces[i].score);
    EXPECT_EQ(pieces[i].type, model.pieces[i].type);
  }
}

TEST(TokenizerBin, RejectsDamage) {
  const auto parse = [](const Bytes& bytes) { ParseTokenizerBin(bytes, "t"); };
  EXPECT_NO_THROW(parse(Tokenizer()));
  EXPECT_QUERN_ERROR(parse(Tokenizer(-1, -1)), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(parse(Tokenizer(-1, 8)), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(parse(Tokenizer(-1, 1 << 30)), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(parse(Tokenizer(-1, 4)), ErrorCode::kTruncated);
  EXPECT_QUERN_ERROR(parse(Tokenizer(-1, 1, "\xff")), ErrorCode::kBadText);
  EXPECT_QUERN_ERROR(parse(Tokenizer(std::numeric_limits<float>::infinity())),
                     ErrorCode::kNonFinite);
  Bytes header;
  EXPECT_QUERN_ERROR(parse(header), ErrorCode::kTruncated);
  EXPECT_QUERN_ERROR(parse(header.Put(uint32_t{5})), ErrorCode::kBadValue);
}

}  // namespace
}  // namespace quern::formats::llama2c
