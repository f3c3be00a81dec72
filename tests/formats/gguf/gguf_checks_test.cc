#include "formats/gguf/gguf_checks.h"

#include <gtest/gtest.h>

#include "tests/support/fixtures.h"

namespace quern::formats::gguf {
namespace {

Metadata Tokenizer() {
  Metadata metadata;
  metadata.Set("tokenizer.ggml.model", std::string("llama"));
  metadata.Set("tokenizer.ggml.tokens", Array{std::vector<std::string>{"a", "b", "c"}});
  metadata.Set("tokenizer.ggml.scores", Array{std::vector<float>{0, 1, 2}});
  metadata.Set("tokenizer.ggml.token_type", Array{std::vector<int32_t>{1, 1, 1}});
  metadata.Set("tokenizer.ggml.merges", Array{std::vector<std::string>{"a b"}});
  metadata.Set("tokenizer.ggml.bos_token_id", 0u);
  metadata.Set("tokenizer.ggml.eos_token_id", 2u);
  return metadata;
}

void ExpectError(const std::string& key, Value value, ErrorCode code) {
  Metadata metadata = Tokenizer();
  metadata.Set(key, std::move(value));
  const auto error = testing::ErrorOf([&] { CheckTokenizer(metadata, "m.gguf"); });
  EXPECT_EQ(ErrorCodeName(error.code()), ErrorCodeName(code)) << key;
  EXPECT_EQ(error.where().file, "m.gguf");
  EXPECT_EQ(error.where().subject, key);
}

void ExpectAccepted(const std::string& key, Value value) {
  Metadata metadata = Tokenizer();
  metadata.Set(key, std::move(value));
  EXPECT_NO_THROW(CheckTokenizer(metadata, "m.gguf")) << key;
}

TEST(CheckTokenizer, AcceptsWholeNoneAndPartial) {
  EXPECT_NO_THROW(CheckTokenizer(Tokenizer(), ""));
  EXPECT_NO_THROW(CheckTokenizer({}, ""));
  Metadata bare = Tokenizer();
  bare.Remove("tokenizer.ggml.scores");
  bare.Remove("tokenizer.ggml.token_type");
  EXPECT_NO_THROW(CheckTokenizer(bare, ""));
  ExpectAccepted("tokenizer.ggml.token_type", Array{std::vector<uint32_t>{1, 1, 1}});
}

TEST(CheckTokenizer, RefusesArraysOfOtherTypes) {
  // A consumer reads them as 4 bytes per item without looking.
  for (const char* key : {"scores", "token_type", "merges", "tokens"}) {
    ExpectError(std::string("tokenizer.ggml.") + key, Array{std::vector<int8_t>{1, 1, 1}},
                ErrorCode::kBadType);
    ExpectError(std::string("tokenizer.ggml.") + key, 1u, ErrorCode::kBadType);
  }
}

TEST(CheckTokenizer, RefusesUnequalLengths) {
  ExpectError("tokenizer.ggml.scores", Array{std::vector<float>{0, 1}}, ErrorCode::kMismatch);
  ExpectError("tokenizer.ggml.token_type", Array{std::vector<int32_t>(4)}, ErrorCode::kMismatch);
  Metadata metadata = Tokenizer();
  metadata.Remove("tokenizer.ggml.tokens");
  EXPECT_QUERN_ERROR(CheckTokenizer(metadata, ""), ErrorCode::kMissing);
}

TEST(CheckTokenizer, RefusesIdsOutsideTheVocabulary) {
  ExpectError("tokenizer.ggml.eos_token_id", 3u, ErrorCode::kBadValue);
  ExpectError("tokenizer.ggml.eos_token_id", ~0u, ErrorCode::kBadValue);
  ExpectError("tokenizer.ggml.bos_token_id", int32_t{-1}, ErrorCode::kBadValue);
  ExpectError("tokenizer.ggml.fim_pre_token_id", ~uint64_t{0}, ErrorCode::kBadValue);
  ExpectError("tokenizer.ggml.eos_token_id", std::string("eos"), ErrorCode::kBadType);
  ExpectError("tokenizer.ggml.eos_token_id", 1.0f, ErrorCode::kBadType);
}

TEST(CheckTokenizer, PaddingMayBeNone) {
  ExpectAccepted("tokenizer.ggml.padding_token_id", ~0u);
  ExpectAccepted("tokenizer.ggml.padding_token_id", int32_t{-1});
  ExpectError("tokenizer.ggml.padding_token_id", 3u, ErrorCode::kBadValue);
}

}  // namespace
}  // namespace quern::formats::gguf
