#include "formats/huggingface/folder_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "formats/reader.h"
#include "tests/support/fixtures.h"

namespace quern::formats::huggingface {
namespace {

namespace fs = std::filesystem;
using testing::Bytes;
using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::TempFolder;

constexpr const char* kIndex = "model.safetensors.index.json";

// A safetensors file with one F32 scalar per name, valued `first`, `first` + 1, ...
fs::path WriteShard(const TempFolder& folder, std::string_view file,
                    const std::vector<std::string>& names, float first = 0) {
  std::string header = "{";
  for (size_t i = 0; i < names.size(); ++i) {
    header += (i == 0 ? "\"" : ",\"") + names[i] +
              "\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[" + std::to_string(4 * i) +
              "," + std::to_string(4 * i + 4) + "]}";
  }
  header += "}";
  Bytes bytes;
  bytes.Put<uint64_t>(header.size()).Text(header);
  for (size_t i = 0; i < names.size(); ++i) bytes.Put<float>(first + static_cast<float>(i));
  return folder.Write(file, std::span<const uint8_t>(bytes));
}

std::string IndexOf(const std::vector<std::pair<std::string, std::string>>& entries) {
  Json index;
  index["weight_map"] = Json::object();
  for (const auto& [tensor, shard] : entries) index["weight_map"][tensor] = shard;
  return index.dump();
}

std::vector<std::string> Names(const ModelSource& source) {
  std::vector<std::string> names;
  for (const auto& tensor : source.tensors()) names.push_back(tensor.name);
  return names;
}

float ValueOf(const ModelSource& source, std::string_view name) {
  float value = -1;
  source.Read(*source.FindTensor(name), 0, {reinterpret_cast<uint8_t*>(&value), 4});
  return value;
}

TEST(FolderSource, ListsShardsByFileNameAndTensorsByNameWithin) {
  const TempFolder folder;
  WriteShard(folder, "model-00002-of-00002.safetensors", {"c", "a"}, 10);
  WriteShard(folder, "model-00001-of-00002.safetensors", {"d", "b"}, 20);
  folder.Write(kIndex, IndexOf({{"a", "model-00002-of-00002.safetensors"},
                                {"b", "model-00001-of-00002.safetensors"},
                                {"c", "model-00002-of-00002.safetensors"},
                                {"d", "model-00001-of-00002.safetensors"}}));
  const auto source = OpenModel(folder.path());
  EXPECT_EQ(source->format(), "huggingface");
  EXPECT_THAT(Names(*source), ElementsAre("b", "d", "a", "c"));
  EXPECT_EQ(source->files().size(), 2u);
  EXPECT_EQ(ValueOf(*source, "a"), 11);
  EXPECT_EQ(ValueOf(*source, "d"), 20);
  EXPECT_TRUE(source->config().is_null());
}

TEST(FolderSource, PrefersIndexThenSingleThenShardsThenAnyWeights) {
  const TempFolder folder;
  const auto open = [&] { return Names(*OpenModel(folder.path())); };
  WriteShard(folder, "adapter_model.safetensors", {"adapter"});
  WriteShard(folder, "._model.safetensors", {"resource fork"});
  EXPECT_THAT(open(), ElementsAre("adapter"));
  WriteShard(folder, "model_00001.safetensors", {"part"});
  WriteShard(folder, "model.v1.safetensors", {"old"});
  EXPECT_THAT(open(), ElementsAre("old", "part"));
  WriteShard(folder, "model.safetensors", {"single"});
  EXPECT_THAT(open(), ElementsAre("single"));
  WriteShard(folder, "x.safetensors", {"indexed"});
  folder.Write(kIndex, IndexOf({{"indexed", "x.safetensors"}}));
  EXPECT_THAT(open(), ElementsAre("indexed"));
}

TEST(FolderSource, NamesAllMissingShardsAtOnce) {
  const TempFolder folder;
  WriteShard(folder, "s1.safetensors", {"a"});
  std::vector<std::pair<std::string, std::string>> entries = {{"a", "s1.safetensors"}};
  for (int i = 2; i <= 9; ++i) {
    entries.emplace_back("t" + std::to_string(i), "s" + std::to_string(i) + ".safetensors");
  }
  folder.Write(kIndex, IndexOf(entries));
  const Error error = ErrorOf([&] { FolderSource source(folder.path()); });
  EXPECT_EQ(error.code(), ErrorCode::kMissing);
  EXPECT_THAT(error.message(), HasSubstr("8 of the 9"));
  EXPECT_THAT(error.message(), HasSubstr("s2.safetensors, s3.safetensors"));
  EXPECT_THAT(error.message(), HasSubstr("and 3 more"));
  EXPECT_THAT(error.message(), HasSubstr("download them again"));
}

TEST(FolderSource, RefusesShardsThatDisagreeWithTheIndex) {
  const TempFolder folder;
  WriteShard(folder, "1.safetensors", {"a", "b"});
  WriteShard(folder, "2.safetensors", {"c"});
  const auto expect = [&](const std::vector<std::pair<std::string, std::string>>& entries,
                          ErrorCode code) {
    folder.Write(kIndex, IndexOf(entries));
    EXPECT_QUERN_ERROR(FolderSource source(folder.path()), code);
  };
  expect({{"a", "1.safetensors"}, {"c", "2.safetensors"}}, ErrorCode::kUnexpected);
  expect({{"a", "1.safetensors"}, {"b", "2.safetensors"}, {"c", "2.safetensors"}},
         ErrorCode::kMismatch);
  expect({{"a", "1.safetensors"},
          {"b", "1.safetensors"},
          {"c", "2.safetensors"},
          {"d", "2.safetensors"}},
         ErrorCode::kMissing);
  WriteShard(folder, "2.safetensors", {"b", "c"});
  expect({{"a", "1.safetensors"}, {"b", "1.safetensors"}, {"c", "2.safetensors"}},
         ErrorCode::kDuplicate);
}

TEST(FolderSource, RefusesATensorInTwoFilesWithoutAnIndex) {
  const TempFolder folder;
  WriteShard(folder, "model-1.safetensors", {"a"});
  WriteShard(folder, "model-2.safetensors", {"a"});
  const Error error = ErrorOf([&] { FolderSource source(folder.path()); });
  EXPECT_EQ(error.code(), ErrorCode::kDuplicate);
  EXPECT_THAT(error.where().file, HasSubstr("model-2"));
  EXPECT_THAT(error.message(), HasSubstr("model-1"));
}

TEST(FolderSource, FollowsTheLinksOfAHubCacheAndNamesADanglingOne) {
  const TempFolder cache;
  WriteShard(cache, "blobs/abc", {"a"}, 5);
  cache.Write("blobs/def", "{}");
  fs::create_directories(cache.path() / "snapshots/1");
  const fs::path snapshot = cache.path() / "snapshots/1";
  fs::create_symlink("../../blobs/abc", snapshot / "model.safetensors");
  fs::create_symlink("../../blobs/def", snapshot / "config.json");
  EXPECT_EQ(ValueOf(FolderSource(snapshot), "a"), 5);
  fs::remove(cache.path() / "blobs/abc");
  EXPECT_QUERN_ERROR(FolderSource source(snapshot), ErrorCode::kMissing);
}

TEST(FolderSource, RefusesAShardThatIsAFolder) {
  const TempFolder folder;
  folder.Write(kIndex, IndexOf({{"a", "sub"}}));
  fs::create_directory_symlink(".", folder.path() / "sub");
  EXPECT_QUERN_ERROR(FolderSource source(folder.path()), ErrorCode::kIo);
}

TEST(FolderSource, OpensForTheVocabularyWithoutWeights) {
  const TempFolder folder;
  folder.Write("tokenizer.json", "{}");
  folder.Write("chat_templates/tool_use.jinja", "{{ messages }}");
  folder.Write("notes.txt", "");
  const auto source = OpenModel(folder.path());
  EXPECT_TRUE(source->tensors().empty());
  EXPECT_EQ(source->side_files().size(), 2u);
  EXPECT_TRUE(source->side_files().contains("chat_templates/tool_use.jinja"));

  folder.Write(kIndex, IndexOf({{"a", "gone.safetensors"}}));
  EXPECT_QUERN_ERROR(OpenModel(folder.path()), ErrorCode::kMissing);
  EXPECT_TRUE(FolderSource(folder.path(), {.weights = false}).tensors().empty());
}

TEST(FolderSource, LeavesForeignFoldersAlone) {
  const TempFolder folder;
  folder.Write("notes.txt", "");
  EXPECT_QUERN_ERROR(OpenModel(folder.path()), ErrorCode::kBadMagic);
}

TEST(FolderSource, RefusesABrokenConfig) {
  const TempFolder folder;
  folder.Write("config.json", "[1]");
  EXPECT_QUERN_ERROR(OpenModel(folder.path()), ErrorCode::kBadType);
  folder.Write("config.json", "{");
  EXPECT_QUERN_ERROR(OpenModel(folder.path()), ErrorCode::kBadText);
}

TEST(FolderIndex, RefusesPathsThatLeaveTheFolder) {
  for (const char* shard : {"../x.safetensors", "/etc/passwd", "a/../../x", ".."}) {
    EXPECT_QUERN_ERROR(ParseIndex(IndexOf({{"a", shard}}), "i"), ErrorCode::kUnsafe) << shard;
  }
  EXPECT_EQ(ParseIndex(IndexOf({{"a", "sub/x.safetensors"}}), "i").at("a"), "sub/x.safetensors");
}

TEST(FolderIndex, RefusesWhatIsNoIndex) {
  EXPECT_QUERN_ERROR(ParseIndex("{}", "i"), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(ParseIndex("[]", "i"), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(ParseIndex(R"({"weight_map":[]})", "i"), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(ParseIndex(R"({"weight_map":{"a":1}})", "i"), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(ParseIndex(R"({"weight_map":{"a":""}})", "i"), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(ParseIndex(R"({"weight_map":{"a":"x\u0000y"}})", "i"), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(ParseIndex(R"({"weight_map":{"a":"x","a":"y"}})", "i"), ErrorCode::kDuplicate);
  EXPECT_QUERN_ERROR(ParseIndex("{} {}", "i"), ErrorCode::kBadText);
}

TEST(FolderSource, ReadsARealShardedModelLikeItsSingleFileTwin) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/hf");
  const auto sharded = OpenModel(path / "hf2q-sharded-tiny");
  const auto single = OpenModel(path / "hf2q-tiny-single");
  ASSERT_EQ(sharded->tensors().size(), single->tensors().size());
  for (const auto& tensor : single->tensors()) {
    const TensorInfo* other = sharded->FindTensor(tensor.name);
    ASSERT_NE(other, nullptr) << tensor.name;
    EXPECT_EQ(other->shape, tensor.shape);
    std::vector<uint8_t> a(tensor.bytes), b(other->bytes);
    single->Read(tensor, 0, a);
    sharded->Read(*other, 0, b);
    EXPECT_EQ(a, b) << tensor.name;
  }
}

TEST(FolderSource, ReportsTheMissingShardsOfARealPartialDownload) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/hf/llama-3.2-3b-partial-shards");
  const Error error = ErrorOf([&, folder = path] { OpenModel(folder); });
  EXPECT_EQ(error.code(), ErrorCode::kMissing);
  EXPECT_THAT(error.message(), HasSubstr("243 of the 254"));
}

TEST(FolderSource, ExplainsARealBrokenIndex) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/tokenizers/bloom");
  const Error error = ErrorOf([&, folder = path] { OpenModel(folder); });
  EXPECT_EQ(error.code(), ErrorCode::kBadText);
  EXPECT_THAT(error.where().file, HasSubstr("index.json"));
  EXPECT_EQ(error.where().offset, 60303u);
}

TEST(FolderSource, TakesTheModelAndNotItsVariants) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/hf/gpt2-tiny-0.8M");
  const auto source = OpenModel(path);
  EXPECT_EQ(source->tensors().size(), 16u);
  EXPECT_EQ(source->files().size(), 1u);
  EXPECT_EQ(source->config()["model_type"], "gpt2");
}

}  // namespace
}  // namespace quern::formats::huggingface
