#include "converters/tokenizer/native_vocabulary.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

constexpr int32_t kControl = 3;

TEST(Llama3Vocabulary, HasTheSpecialTokensOfItsRelease) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/pytorch/meta/tiktoken_small.model");
  EXPECT_TRUE(IsTiktokenFile(path));
  const auto old = ReadLlama3Vocabulary(path, 2256, false);
  ASSERT_EQ(old.tokens.texts.size(), 2256u);
  EXPECT_EQ(old.tokens.texts[2000], "<|begin_of_text|>");
  EXPECT_EQ(old.tokens.texts[2005], "<|reserved_special_token_3|>");
  EXPECT_EQ(old.tokens.texts[2008], "<|reserved_special_token_4|>");
  EXPECT_EQ(old.tokens.texts[2009], "<|eot_id|>");
  EXPECT_EQ(old.tokens.texts[2255], "<|reserved_special_token_250|>");
  EXPECT_EQ(old.tokens.types[2255], kControl);
  EXPECT_EQ(old.begin, 2000u);
  EXPECT_EQ(old.end, 2001u);
  EXPECT_FALSE(old.pad);
  const auto newer = ReadLlama3Vocabulary(path, 0, true);
  ASSERT_EQ(newer.tokens.texts.size(), 2256u);
  EXPECT_EQ(newer.tokens.texts[2004], "<|finetune_right_pad_id|>");
  EXPECT_EQ(newer.tokens.texts[2010], "<|python_tag|>");
  EXPECT_EQ(newer.tokens.texts[2255], "<|reserved_special_token_247|>");
  EXPECT_EQ(newer.pad, 2004u);
}

TEST(Llama3Vocabulary, WritesBytesAsCharactersAndSplitsAsMerges) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/pytorch/meta/tiktoken_small.model");
  const auto vocabulary = ReadLlama3Vocabulary(path, 2000, false);
  EXPECT_FALSE(vocabulary.begin);
  EXPECT_EQ(vocabulary.tokens.texts[0], "\u0100");  // byte 0
  EXPECT_EQ(vocabulary.tokens.texts[' '], "\u0120");
  EXPECT_GE(vocabulary.merges.size(), 2000u - 256u);
}

TEST(Llama3Vocabulary, RejectsAnEmbeddingOfAnotherSize) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/pytorch/meta/tiktoken_small.model");
  EXPECT_QUERN_ERROR(ReadLlama3Vocabulary(path, 2128, false), ErrorCode::kMismatch);
}

}  // namespace
}  // namespace quern::converters
