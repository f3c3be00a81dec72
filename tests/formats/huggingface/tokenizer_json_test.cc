#include "formats/huggingface/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fixtures.h"

namespace quern::formats::huggingface {
namespace {

using testing::ErrorOf;
using Merge = std::pair<std::string, std::string>;

TokenizerJson Parse(std::string_view text) { return ParseTokenizerJson(text, "tokenizer.json"); }

// A BPE tokenizer with the tokens a, b, ab and these merges and added tokens.
std::string Bpe(std::string_view merges, std::string_view added = "[]") {
  return R"({"added_tokens":)" + std::string(added) +
         R"(,"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":5},"merges":)" + std::string(merges) +
         "}}";
}
std::string WithVocab(std::string_view vocab) {
  return R"({"model":{"type":"BPE","merges":[],"vocab":)" + std::string(vocab) + "}}";
}

TEST(TokenizerJson, ReadsBpeWithBothFormsOfMerges) {
  for (const char* merges : {R"(["a b"])", R"([["a","b"]])", R"(["#version: 0.2","a b"])"}) {
    const auto tokenizer = Parse(Bpe(merges));
    EXPECT_EQ(tokenizer.model.kind, TokenizerModelKind::kBpe);
    EXPECT_THAT(tokenizer.model.merges, ::testing::ElementsAre(Merge("a", "b")));
    ASSERT_EQ(tokenizer.model.vocab.size(), 3u);
    EXPECT_EQ(tokenizer.model.vocab[2].id, 5u);  // ids may have gaps
    EXPECT_EQ(tokenizer.model.vocab[2].text, "ab");
    EXPECT_EQ(tokenizer.id_end(), 6u);
  }
}

TEST(TokenizerJson, KeepsSpacesInsidePairMerges) {
  const auto tokenizer = Parse(R"({"model":{"vocab":{" ":0,"a":1," a":2},"merges":[[" ","a"]]}})");
  EXPECT_EQ(tokenizer.model.merges.at(0), Merge(" ", "a"));
}

TEST(TokenizerJson, ReadsFlagsAndKeepsStepsAsJson) {
  const auto tokenizer = Parse(R"({
    "model":{"type":"BPE","vocab":{"<unk>":0,"x":1},"merges":[],"unk_token":"<unk>",
             "byte_fallback":true,"fuse_unk":true,"ignore_merges":true,
             "continuing_subword_prefix":"##","end_of_word_suffix":"</w>","dropout":null},
    "added_tokens":[
      {"id":7,"content":"<|end|>","special":true,"lstrip":true,"rstrip":false,
       "single_word":true,"normalized":false},
      {"id":0,"content":"<unk>"}],
    "normalizer":null,"pre_tokenizer":{"type":"ByteLevel"},"decoder":{"type":"Fuse"}})");
  EXPECT_EQ(tokenizer.model.unk_id, 0u);
  EXPECT_TRUE(tokenizer.model.byte_fallback && tokenizer.model.fuse_unk);
  EXPECT_TRUE(tokenizer.model.ignore_merges);
  EXPECT_EQ(tokenizer.model.continuing_subword_prefix, "##");
  EXPECT_EQ(tokenizer.model.end_of_word_suffix, "</w>");
  ASSERT_EQ(tokenizer.added_tokens.size(), 2u);
  EXPECT_EQ(tokenizer.added_tokens[0].content, "<unk>");  // by id
  EXPECT_TRUE(tokenizer.added_tokens[0].normalized);      // as the library defaults it
  const AddedToken& end = tokenizer.added_tokens[1];
  EXPECT_TRUE(end.special && end.lstrip && end.single_word);
  EXPECT_FALSE(end.rstrip || end.normalized);
  EXPECT_TRUE(tokenizer.normalizer.is_null());
  EXPECT_EQ(tokenizer.pre_tokenizer["type"], "ByteLevel");
  EXPECT_EQ(tokenizer.id_end(), 8u);
}

TEST(TokenizerJson, ReadsUnigramWordPieceAndWordLevel) {
  const auto unigram =
      Parse(R"({"model":{"type":"Unigram","unk_id":1,"vocab":[["a",-1.5],["<unk>",0]]}})");
  EXPECT_EQ(unigram.model.kind, TokenizerModelKind::kUnigram);
  EXPECT_EQ(unigram.model.vocab[0].score, -1.5);
  EXPECT_EQ(unigram.model.unk_token, "<unk>");
  const auto pieces = Parse(
      R"({"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##",
                   "max_input_chars_per_word":100,"vocab":{"[UNK]":0,"##a":1}}})");
  EXPECT_EQ(pieces.model.kind, TokenizerModelKind::kWordPiece);
  EXPECT_EQ(pieces.model.continuing_subword_prefix, "##");
  const auto words = Parse(R"({"model":{"vocab":{"a":0},"unk_token":"?"}})");
  EXPECT_EQ(words.model.kind, TokenizerModelKind::kWordLevel);
  EXPECT_EQ(words.model.unk_id, std::nullopt);
}

TEST(TokenizerJson, ChecksMergesAgainstTheVocabulary) {
  for (const char* merges : {R"(["a c"])", R"(["c b"])", R"(["b a"])", R"([["ab","b"]])"}) {
    const Error error = ErrorOf([&] { Parse(Bpe(merges)); });
    EXPECT_EQ(error.code(), ErrorCode::kBadValue) << merges;
    EXPECT_EQ(error.where().subject, "merge 0");
  }
  for (const char* merges : {R"(["ab"])", R"(["a b ab"])", R"([""])"}) {
    EXPECT_QUERN_ERROR(Parse(Bpe(merges)), ErrorCode::kBadValue) << merges;
  }
  for (const char* merges : {R"([["a"]])", R"([["a","b","c"]])", R"([[1,2]])", "[1]", "{}"}) {
    EXPECT_QUERN_ERROR(Parse(Bpe(merges)), ErrorCode::kBadType) << merges;
  }
}

TEST(TokenizerJson, StripsThePrefixOfTheSecondPart) {
  const auto tokenizer = Parse(
      R"({"model":{"continuing_subword_prefix":"##","vocab":{"a":0,"##b":1,"ab":2},
                   "merges":["a ##b"]}})");
  EXPECT_EQ(tokenizer.model.merges.at(0), Merge("a", "##b"));
}

TEST(TokenizerJson, RefusesBadVocabularies) {
  EXPECT_QUERN_ERROR(Parse(WithVocab(R"({"a":0,"b":0})")), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Parse(WithVocab(R"({"a":0,"a":1})")), ErrorCode::kDuplicate);
  EXPECT_QUERN_ERROR(Parse(WithVocab(R"({"a":-1})")), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Parse(WithVocab(R"({"a":4194304})")), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Parse(WithVocab(R"({"a":18446744073709551615})")), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Parse(WithVocab(R"({"a":1.5})")), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Parse(WithVocab(R"({"a":"0"})")), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Parse(WithVocab("[]")), ErrorCode::kBadType);
  const auto unigram = [](std::string_view vocab, std::string_view unk = "0") {
    return R"({"model":{"type":"Unigram","vocab":)" + std::string(vocab) + R"(,"unk_id":)" +
           std::string(unk) + "}}";
  };
  EXPECT_QUERN_ERROR(Parse(unigram(R"([["a",0],["a",1]])")), ErrorCode::kDuplicate);
  EXPECT_QUERN_ERROR(Parse(unigram(R"([["a",0]])", "1")), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Parse(unigram(R"([["a"]])")), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Parse(unigram(R"([["a","b"]])")), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Parse(unigram(R"({"a":0})")), ErrorCode::kBadType);
}

TEST(TokenizerJson, RefusesAddedTokensThatRedefine) {
  const auto added = [](std::string_view list) { return Bpe("[]", list); };
  EXPECT_NO_THROW(Parse(added(R"([{"id":0,"content":"a"},{"id":9,"content":"z"}])")));
  EXPECT_QUERN_ERROR(Parse(added(R"([{"id":0,"content":"z"}])")), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Parse(added(R"([{"id":9,"content":"a"}])")), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Parse(added(R"([{"id":9,"content":"y"},{"id":9,"content":"z"}])")),
                     ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Parse(added(R"([{"id":8,"content":"z"},{"id":9,"content":"z"}])")),
                     ErrorCode::kDuplicate);
  EXPECT_QUERN_ERROR(Parse(added(R"([{"id":5000000,"content":"z"}])")), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(Parse(added(R"([{"content":"z"}])")), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Parse(added(R"([{"id":9}])")), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Parse(added(R"([{"id":9,"content":1}])")), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Parse(added(R"([{"id":9,"content":"z","special":1}])")), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Parse(added("[1]")), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Parse(added("{}")), ErrorCode::kBadType);
}

TEST(TokenizerJson, RefusesWhatIsNoTokenizer) {
  EXPECT_QUERN_ERROR(Parse("[]"), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Parse("{}"), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Parse(R"({"model":1})"), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Parse(R"({"model":{"type":"BPE"}})"), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Parse(R"({"model":{"type":"BPE","vocab":{}}})"), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Parse(R"({"model":{"type":1,"vocab":{}}})"), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Parse(R"({"model":{"type":"GPT","vocab":{}}})"), ErrorCode::kUnsupported);
  EXPECT_QUERN_ERROR(Parse(R"({"model":{"vocab":{}},"decoder":[]})"), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Parse("{\"model\":{"), ErrorCode::kBadText);
}

TEST(TokenizerJson, ReadsRealFiles) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/tokenizers");
  struct Real {
    const char* folder;
    TokenizerModelKind kind;
    size_t vocab, merges, added;
    uint32_t id_end;
  };
  const auto bpe = TokenizerModelKind::kBpe;
  const Real files[] = {
      {"llama-2-7b", bpe, 32000, 61249, 3, 32000},
      {"mistral-7b", bpe, 32000, 58980, 3, 32000},
      {"phi-1.5-2", bpe, 50257, 50000, 39, 50295},
      {"pythia-410m", bpe, 50254, 50009, 26, 50278},
      {"roberta", bpe, 50265, 50000, 5, 50265},
      {"smollm2", bpe, 49152, 48900, 18, 49153},
      {"t5-small", TokenizerModelKind::kUnigram, 32100, 0, 103, 32100},
      {"quant-configs/wizard-vicuna-30b-gptq", bpe, 32000, 61249, 4, 32001},
  };
  for (const Real& real : files) {
    const auto tokenizer = ReadTokenizerJson(path / real.folder / "tokenizer.json");
    EXPECT_EQ(tokenizer.model.kind, real.kind) << real.folder;
    EXPECT_EQ(tokenizer.model.vocab.size(), real.vocab) << real.folder;
    EXPECT_EQ(tokenizer.model.merges.size(), real.merges) << real.folder;
    EXPECT_EQ(tokenizer.added_tokens.size(), real.added) << real.folder;
    EXPECT_EQ(tokenizer.id_end(), real.id_end) << real.folder;
  }
}

}  // namespace
}  // namespace quern::formats::huggingface
