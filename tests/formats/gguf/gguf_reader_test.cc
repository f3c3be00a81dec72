#include "formats/gguf/gguf_reader.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <numeric>

#include "formats/gguf/gguf_split.h"
#include "tests/formats/gguf/gguf_testing.h"
#include "tests/support/fixtures.h"

namespace quern::formats::gguf {
namespace {

namespace fs = std::filesystem;
using testing::TempFolder;

constexpr uint32_t kF32 = 0;

std::vector<uint8_t> ReadAll(const ModelSource& source, const TensorInfo& tensor) {
  std::vector<uint8_t> bytes(tensor.bytes);
  source.Read(tensor, 0, bytes);
  return bytes;
}

template <typename T>
size_t SizeOf(const ModelSource& source, std::string_view key) {
  const auto* array = source.metadata().Get<Array>(key);
  return array && std::holds_alternative<std::vector<T>>(array->items) ? array->size() : 0;
}

// What is expected of these files was read with @huggingface/gguf.
TEST(GgufFixtures, OpensATinyLlama) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/gguf/llama-2-tiny-random.gguf");
  const auto source = OpenModel(path);
  EXPECT_EQ(source->format(), "gguf");
  EXPECT_EQ(source->layout(), "gguf");
  EXPECT_EQ(source->metadata().size(), 18u);
  EXPECT_EQ(source->metadata().entries().front().first, "general.architecture");
  EXPECT_EQ(SizeOf<std::string>(*source, "tokenizer.ggml.tokens"), 32000u);
  ASSERT_EQ(source->tensors().size(), 12u);
  const TensorInfo& embedding = source->tensors()[0];
  EXPECT_EQ(embedding.name, "token_embd.weight");
  EXPECT_EQ(embedding.type, TensorType::kF16);
  EXPECT_EQ(embedding.shape, (Shape{32000, 8}));
  EXPECT_EQ(embedding.offset, 724416u);
  EXPECT_EQ(source->tensors()[1].offset, 724416u + 512000);
  EXPECT_EQ(source->FindTensor("blk.0.ffn_up.weight")->shape, (Shape{32, 8}));
}

TEST(GgufFixtures, OpensVocabulariesOfVersions1And2WithoutTensors) {
  QUERN_SHARED_OR_SKIP(v1, "fixtures/gguf/vocab-llama.gguf-v1a.gguf");
  const GgufSource llama(v1);
  EXPECT_EQ(llama.metadata().size(), 13u);
  EXPECT_EQ(llama.tensors().size(), 0u);
  EXPECT_EQ(llama.metadata().GetInteger("llama.embedding_length"), 4096);
  EXPECT_EQ(SizeOf<std::string>(llama, "tokenizer.ggml.tokens"), 32000u);
  EXPECT_EQ(SizeOf<float>(llama, "tokenizer.ggml.scores"), 32000u);
  QUERN_SHARED_OR_SKIP(v2, "fixtures/gguf/vocab-falcon.v2.gguf");
  const GgufSource falcon(v2);
  EXPECT_EQ(falcon.metadata().size(), 17u);
  EXPECT_EQ(SizeOf<std::string>(falcon, "tokenizer.ggml.merges"), 64784u);
  EXPECT_EQ(falcon.metadata().GetInteger("tokenizer.ggml.eos_token_id"), 11);
}

TEST(GgufFixtures, SplitSetEqualsItsMergedForm) {
  QUERN_SHARED_OR_SKIP(folder, "fixtures/gguf");
  const GgufSource merged(folder / "dummy.gguf");
  for (const char* shard : {"dummy-00001-of-00002.gguf", "dummy-00002-of-00002.gguf"}) {
    const GgufSource set(folder / shard);
    EXPECT_EQ(set.files().size(), 2u);
    EXPECT_EQ(set.metadata(), merged.metadata());
    ASSERT_EQ(set.tensors().size(), 10u);
    for (size_t i = 0; i < 10; ++i) {
      EXPECT_EQ(set.tensors()[i].name, merged.tensors()[i].name);
      EXPECT_EQ(set.tensors()[i].shape, merged.tensors()[i].shape);
      EXPECT_EQ(ReadAll(set, set.tensors()[i]), ReadAll(merged, merged.tensors()[i]));
    }
  }
}

TEST(GgufFixtures, RefusesAnExperimentalValueTypeByName) {
  // Written by an early proposal with objects (value type 13) and arrays of arrays, which GGUF
  // never got; llama.cpp and @huggingface/gguf refuse it too.
  QUERN_SHARED_OR_SKIP(path, "fixtures/gguf/test_writer.gguf");
  const auto error = testing::ErrorOf([&] { GgufSource source(path); });
  EXPECT_EQ(error.code(), ErrorCode::kBadType);
  EXPECT_EQ(error.where().subject, "dict1");
}

TEST(GgufSource, IsFoundByContent) {
  const TempFolder folder;
  const auto path = folder.Write("model.bin", GgufBytes().Head(0, 0).Pad());
  EXPECT_EQ(OpenModel(path)->format(), "gguf");
  EXPECT_QUERN_ERROR(OpenModel(folder.Write("x.gguf", "FUGG\3\0\0\0")), ErrorCode::kBadMagic);
  EXPECT_QUERN_ERROR(OpenModel(folder.Write("empty.gguf", "")), ErrorCode::kBadMagic);
  EXPECT_QUERN_ERROR(OpenModel(folder.Write("page.gguf", "<!DOCTYPE html>")), ErrorCode::kBadMagic);
  EXPECT_QUERN_ERROR(GgufSource(folder.path() / "absent.gguf"), ErrorCode::kMissing);
}

TEST(GgufSource, ChecksTheTokenizer) {
  const TempFolder folder;
  const auto path = folder.Write(
      "m.gguf", GgufBytes()
                    .Head(0, 2)
                    .Key("tokenizer.ggml.tokens", Array{std::vector<std::string>{"a", "b"}})
                    .Key("tokenizer.ggml.scores", Array{std::vector<int8_t>{1, 2}}));
  EXPECT_QUERN_ERROR(GgufSource source(path), ErrorCode::kBadType);
}

// The numbers of a block, first to last, as runs of {bytes of a number, how many}: from the
// declarations in ggml-common.h and, for wider stores into byte arrays, ggml-quants.c.
struct Run {
  size_t bytes, count;
};
const std::map<TensorType, std::vector<Run>> kBlockRuns = {
    {TensorType::kQ4_0, {{2, 1}, {1, 16}}},
    {TensorType::kQ4_1, {{2, 2}, {1, 16}}},
    {TensorType::kQ5_0, {{2, 1}, {4, 1}, {1, 16}}},
    {TensorType::kQ5_1, {{2, 2}, {4, 1}, {1, 16}}},
    {TensorType::kQ8_0, {{2, 1}, {1, 32}}},
    {TensorType::kQ8_1, {{2, 2}, {1, 32}}},
    {TensorType::kQ2_K, {{1, 16 + 64}, {2, 2}}},
    {TensorType::kQ3_K, {{1, 32 + 64 + 12}, {2, 1}}},
    {TensorType::kQ4_K, {{2, 2}, {1, 12 + 128}}},
    {TensorType::kQ5_K, {{2, 2}, {1, 12 + 32 + 128}}},
    {TensorType::kQ6_K, {{1, 128 + 64 + 16}, {2, 1}}},
    {TensorType::kQ8_K, {{4, 1}, {1, 256}, {2, 16}}},
    {TensorType::kIQ1_S, {{2, 1}, {1, 32}, {2, 8}}},
    {TensorType::kIQ1_M, {{1, 32 + 16}, {2, 4}}},
    {TensorType::kIQ2_XXS, {{2, 1}, {4, 16}}},
    {TensorType::kIQ2_XS, {{2, 1}, {2, 32}, {1, 8}}},
    {TensorType::kIQ2_S, {{2, 1}, {1, 64 + 8 + 8}}},
    {TensorType::kIQ3_XXS, {{2, 1}, {1, 64}, {4, 8}}},
    {TensorType::kIQ3_S, {{2, 1}, {1, 64 + 8 + 32 + 4}}},
    {TensorType::kIQ4_NL, {{2, 1}, {1, 16}}},
    {TensorType::kIQ4_XS, {{2, 1}, {2, 1}, {1, 4 + 128}}},
    {TensorType::kTQ1_0, {{1, 48 + 4}, {2, 1}}},
    {TensorType::kTQ2_0, {{1, 64}, {2, 1}}},
    {TensorType::kMXFP4, {{1, 17}}},
    {TensorType::kNVFP4, {{1, 4 + 32}}},
    {TensorType::kQ1_0, {{2, 1}, {1, 16}}},
    {TensorType::kQ2_0, {{2, 1}, {1, 16}}},
};

std::vector<uint8_t> ToBigEndian(TensorType type, std::vector<uint8_t> data) {
  const auto known = kBlockRuns.find(type);
  const std::vector<Run> plain = {{Info(type).block_bytes, 1}};
  const auto& runs = known == kBlockRuns.end() ? plain : known->second;
  auto at = data.begin();
  while (at != data.end()) {
    for (const auto& run : runs) {
      for (size_t i = 0; i < run.count; ++i, at += run.bytes) std::reverse(at, at + run.bytes);
    }
  }
  return data;
}

class GgufBigEndian : public ::testing::TestWithParam<TensorType> {};

TEST_P(GgufBigEndian, ReadsAsTheLittleEndianFile) {
  const auto& type = Info(GetParam());
  ASSERT_TRUE(type.type_class != TypeClass::kQuantized || kBlockRuns.contains(type.type));
  std::vector<uint8_t> data(type.block_bytes * 5);
  std::iota(data.begin(), data.end(), uint8_t{1});
  const auto write = [&](std::endian endian, const std::vector<uint8_t>& stored) {
    return GgufBytes(3, endian)
        .Head(1, 1)
        .Key("k", 0x01020304u)
        .Tensor("t", {type.block_elements * 5}, static_cast<uint32_t>(type.gguf_id), 0)
        .Pad()
        .Raw({reinterpret_cast<const char*>(stored.data()), stored.size()});
  };
  const TempFolder folder;
  const GgufSource little(folder.Write("l.gguf", write(std::endian::little, data)));
  const GgufSource big(
      folder.Write("b.gguf", write(std::endian::big, ToBigEndian(type.type, data))));
  EXPECT_EQ(little.metadata(), big.metadata());
  const TensorInfo& tensor = big.tensors()[0];
  EXPECT_EQ(ReadAll(little, little.tensors()[0]), data);
  EXPECT_EQ(ReadAll(big, tensor), data);
  // Any byte range, whole blocks or not.
  for (size_t begin = 0; begin < data.size(); begin += 1 + begin / 7) {
    for (size_t end = begin; end <= data.size(); end += 1 + (end - begin) / 3) {
      std::vector<uint8_t> part(end - begin);
      big.Read(tensor, begin, part);
      ASSERT_TRUE(std::equal(part.begin(), part.end(), data.begin() + static_cast<long>(begin)));
    }
  }
}

std::vector<TensorType> StorableTypes() {
  std::vector<TensorType> types;
  for (const auto& info : TensorTypes()) {
    if (info.gguf_id >= 0) types.push_back(info.type);
  }
  return types;
}

INSTANTIATE_TEST_SUITE_P(AllTypes, GgufBigEndian, ::testing::ValuesIn(StorableTypes()),
                         [](const auto& type) { return std::string(Name(type.param)); });

// One part of a set: tensors are one float each.
struct Part {
  uint32_t no, count, tensors;
  std::vector<std::string> names;
  std::vector<Metadata::Entry> more = {};
};

GgufBytes PartBytes(const Part& part) {
  GgufBytes bytes;
  bytes.Head(part.names.size(), 3 + part.more.size());
  for (const auto& [key, value] : part.more) bytes.Key(key, value);
  bytes.Key(kSplitNoKey, static_cast<uint16_t>(part.no));
  bytes.Key(kSplitCountKey, static_cast<uint16_t>(part.count));
  bytes.Key(kSplitTensorsKey, static_cast<int32_t>(part.tensors));
  uint64_t offset = 0;
  for (const auto& name : part.names) {
    bytes.Tensor(name, {1}, kF32, offset);
    offset += 32;
  }
  bytes.Pad();
  for (const auto& name : part.names) {
    bytes.Put(static_cast<float>(name.back())).Pad();
  }
  return bytes;
}

class GgufSplitSet : public ::testing::Test {
 protected:
  const Part first_ = {0, 3, 4, {"a", "b"}, {{"general.name", std::string("m")}}};
  const Part second_ = {1, 3, 4, {"c"}};
  const Part third_ = {2, 3, 4, {"d"}};

  fs::path Write(uint32_t number, const Part& part) const {
    return folder_.Write(MakeShardName({"m", number, 3}), PartBytes(part));
  }
  // The error of opening the set by each of its parts must be the same.
  void ExpectError(const Part& first, const Part& second, const Part& third, ErrorCode code) const {
    const auto path = Write(1, first);
    Write(2, second);
    Write(3, third);
    EXPECT_QUERN_ERROR(GgufSource source(path), code);
  }

  TempFolder folder_;
};

TEST_F(GgufSplitSet, OpensWholeFromAnyPart) {
  const fs::path paths[] = {Write(1, first_), Write(2, second_), Write(3, third_)};
  for (const auto& path : paths) {
    const GgufSource set(path);
    EXPECT_EQ(set.path(), path);
    EXPECT_EQ(set.metadata().size(), 1u);
    ASSERT_EQ(set.tensors().size(), 4u);
    for (size_t i = 0; i < 4; ++i) {
      const TensorInfo& tensor = set.tensors()[i];
      EXPECT_EQ(tensor.name, std::string(1, static_cast<char>('a' + i)));
      const auto bytes = ReadAll(set, tensor);
      float value;
      std::memcpy(&value, bytes.data(), 4);
      EXPECT_EQ(value, static_cast<float>('a' + i));
    }
  }
}

TEST_F(GgufSplitSet, NamesAMissingPart) {
  const auto path = Write(1, first_);
  Write(3, third_);
  const auto error = testing::ErrorOf([&] { GgufSource source(path); });
  EXPECT_EQ(error.code(), ErrorCode::kMissing);
  EXPECT_TRUE(error.where().file.ends_with("m-00002-of-00003.gguf"));
}

TEST_F(GgufSplitSet, RefusesWrongCountsAndMixedSets) {
  using enum ErrorCode;
  ExpectError(first_, {1, 4, 4, {"c"}}, third_, kMismatch);        // part of a set of 4
  ExpectError(first_, {1, 3, 5, {"c"}}, third_, kMismatch);        // of a set with 5 tensors
  ExpectError(first_, {1, 3, 4, {"c", "x"}}, third_, kMismatch);   // one tensor too many
  ExpectError(first_, second_, {2, 3, 4, {}}, kMismatch);          // one too few
  ExpectError(first_, {1, 3, 4, {"a"}}, third_, kDuplicate);       // a tensor in two parts
  ExpectError(first_, {0, 3, 4, {"c"}}, third_, kDuplicate);       // part 1 twice
  ExpectError(first_, second_, second_, kDuplicate);               // part 2 twice
  ExpectError(first_, third_, second_, kMismatch);                 // swapped
  ExpectError(first_, {1, 0, 4, {"c"}}, third_, kMismatch);        // a whole model
  ExpectError({7, 3, 4, {"a", "b"}}, second_, third_, kBadValue);  // no such part
  ExpectError(first_, {1, 3, 4, {"c"}, {{"general.name", std::string("other")}}}, third_,
              kMismatch);
}

TEST_F(GgufSplitSet, RefusesANameThatDisagrees) {
  EXPECT_QUERN_ERROR(GgufSource(folder_.Write("m.gguf", PartBytes(first_))), ErrorCode::kMismatch);
  EXPECT_QUERN_ERROR(GgufSource(folder_.Write("m-00001-of-00004.gguf", PartBytes(first_))),
                     ErrorCode::kMismatch);
}

TEST_F(GgufSplitSet, NamesAMergedFileThatKeptItsSplitKeys) {
  const Part merged = {0, 3, 4, {"a", "b", "c", "d"}};
  const auto path = folder_.Write("merged.gguf", PartBytes(merged));
  const auto error = testing::ErrorOf([&] { GgufSource source(path); });
  EXPECT_EQ(error.code(), ErrorCode::kMismatch);
  EXPECT_NE(error.message().find("merged"), std::string::npos);
}

TEST_F(GgufSplitSet, RefusesPartsJoinedWithCat) {
  GgufBytes joined = PartBytes(first_);
  const GgufBytes tail = PartBytes(second_);
  const std::span<const uint8_t> bytes = tail;
  joined.Raw({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  EXPECT_QUERN_ERROR(GgufSource(folder_.Write("m.gguf", joined)), ErrorCode::kUnusedBytes);
}

TEST_F(GgufSplitSet, AcceptsWhatGgufSplitMerges) {
  const Part merged = {0, 0, 4, {"a", "b", "c", "d"}, {{"general.name", std::string("m")}}};
  const GgufSource source(folder_.Write("merged.gguf", PartBytes(merged)));
  EXPECT_EQ(source.tensors().size(), 4u);
  EXPECT_EQ(source.metadata().size(), 1u);
}

TEST_F(GgufSplitSet, NeedsAllThreeKeys) {
  const auto path = folder_.Write("m-00001-of-00003.gguf",
                                  GgufBytes().Head(0, 1).Key(kSplitCountKey, uint16_t{3}));
  EXPECT_QUERN_ERROR(GgufSource source(path), ErrorCode::kMissing);
}

TEST(GgufShardName, RoundTrips) {
  for (const ShardName& name : {ShardName{"m", 1, 2}, ShardName{"a-00001-of-00002", 12345, 99999},
                                ShardName{"x.gguf", 7, 123456}, ShardName{"Ä b", 3, 3}}) {
    EXPECT_EQ(ParseShardName(MakeShardName(name)), name);
  }
  EXPECT_EQ(MakeShardName({"m", 1, 3}), "m-00001-of-00003.gguf");
}

TEST(GgufShardName, RefusesOtherNames) {
  for (const char* name :
       {"", "m.gguf", "m-00001-of-00003.safetensors", "m-1-of-3.gguf", "m-00000-of-00003.gguf",
        "m-00004-of-00003.gguf", "-00001-of-00003.gguf", "m00001-of-00003.gguf",
        "m-000001-of-00003.gguf", "m-00001-of-.gguf", "m--of-00003.gguf",
        "m-99999999999-of-99999999999.gguf", "m-00001-of-00003.gguf.partial"}) {
    EXPECT_FALSE(ParseShardName(name)) << name;
  }
}

}  // namespace
}  // namespace quern::formats::gguf
