// Folders with lists of checksums, and the structure of models.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/gguf/gguf_split.h"
#include "formats/gguf/gguf_writer.h"
#include "tests/support/fixtures.h"
#include "tests/support/ollama_store.h"
#include "tests/verify/verify_testing.h"
#include "verify/duplicates.h"
#include "verify/structure.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;
using quern::testing::SmallGguf;
using quern::testing::TempFolder;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

class ChecksumLists : public ::testing::Test {
 protected:
  ChecksumLists() {
    folder_.Write("model.gguf", SmallGguf());
    folder_.Write("notes.txt", "notes");
    fs::create_directories(folder_.path() / "sub");
    folder_.Write("sub/other.bin", "other");
    List("SHA256SUMS", DigestKind::kSha256, {"model.gguf", "notes.txt", "sub/other.bin"});
  }

  void List(const std::string& list, DigestKind kind, const std::vector<std::string>& names) {
    std::string text;
    for (const std::string& name : names) {
      text += DigestOf(kind, ReadAll(folder_.path() / name)) + "  " + name + "\n";
    }
    folder_.Write(list, text);
  }

  TempFolder folder_;
};

TEST_F(ChecksumLists, PassAFolderAndTheListItself) {
  const CheckList list = Checked(folder_.path());
  EXPECT_THAT(ProblemsOf(list), IsEmpty());
  EXPECT_EQ(list.checked(), 4u);  // three files and the list
  EXPECT_THAT(Problems(folder_.path() / "SHA256SUMS"), IsEmpty());
}

TEST_F(ChecksumLists, FindEveryKindOfDamage) {
  FlipBit(folder_.path() / "notes.txt");
  fs::remove(folder_.path() / "sub/other.bin");
  EXPECT_THAT(Problems(folder_.path()),
              UnorderedElementsAre("checksum notes.txt", "missing other.bin"));
  Zero(folder_.path() / "model.gguf");
  EXPECT_THAT(Problems(folder_.path()), Contains("checksum model.gguf"));
}

TEST_F(ChecksumLists, FindABrokenList) {
  Replace(folder_.path() / "SHA256SUMS", "  notes", "notes");
  EXPECT_THAT(Problems(folder_.path()), ElementsAre("bad_text SHA256SUMS"));
}

TEST_F(ChecksumLists, FollowNoNameOutOfTheFolder) {
  for (const std::string name : {"../secret", "/etc/passwd", "sub/../../secret"}) {
    folder_.Write("SHA256SUMS", std::string(64, '0') + "  " + name + "\n");
    EXPECT_THAT(Problems(folder_.path()), ElementsAre("unsafe SHA256SUMS")) << name;
  }
}

TEST_F(ChecksumLists, KnowMetasChecklistByMd5) {
  folder_.Write("consolidated.00.pth", "weights");
  List("checklist.chk", DigestKind::kMd5, {"consolidated.00.pth"});
  EXPECT_THAT(Problems(folder_.path() / "checklist.chk"), IsEmpty());
  FlipBit(folder_.path() / "consolidated.00.pth");
  EXPECT_THAT(Problems(folder_.path() / "checklist.chk"),
              ElementsAre("checksum consolidated.00.pth"));
}

TEST_F(ChecksumLists, CountForAFileThatIsNamedAlone) {
  EXPECT_THAT(Problems(folder_.path() / "model.gguf"), IsEmpty());
  FlipBit(folder_.path() / "model.gguf", 5);
  EXPECT_THAT(Problems(folder_.path() / "model.gguf"), ElementsAre("checksum model.gguf"));
}

TEST_F(ChecksumLists, WithoutANameBelongToTheFileThatTheyAreNamedAfter) {
  fs::remove(folder_.path() / "SHA256SUMS");
  folder_.Write("model.gguf.sha256",
                DigestOf(DigestKind::kSha256, ReadAll(folder_.path() / "model.gguf")) + "\n");
  EXPECT_THAT(Problems(folder_.path()), IsEmpty());
  FlipBit(folder_.path() / "model.gguf", 5);
  EXPECT_THAT(Problems(folder_.path()), ElementsAre("checksum model.gguf"));
  EXPECT_THAT(Problems(folder_.path() / "model.gguf"), ElementsAre("checksum model.gguf"));
}

// A llama of `blocks` blocks, cut into two files.
struct Tensor {
  std::string name;
  std::vector<float> values;
};

std::string Gguf(Metadata metadata, const std::vector<Tensor>& tensors) {
  std::vector<formats::gguf::TensorSpec> specs;
  for (const Tensor& tensor : tensors) {
    specs.push_back({tensor.name, {tensor.values.size()}, TensorType::kF32});
  }
  const auto layout = formats::gguf::LayOut(metadata, specs);
  std::string file(layout.file_bytes, '\0');
  std::copy(layout.header.begin(), layout.header.end(), file.begin());
  for (size_t i = 0; i < tensors.size(); ++i) {
    std::memcpy(file.data() + layout.offsets[i], tensors[i].values.data(), layout.bytes[i]);
  }
  return file;
}

Metadata LlamaKeys(uint32_t blocks) {
  Metadata metadata;
  metadata.Set("general.architecture", std::string("llama"));
  metadata.Set("llama.context_length", uint32_t{64});
  metadata.Set("llama.embedding_length", uint32_t{8});
  metadata.Set("llama.block_count", blocks);
  metadata.Set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  return metadata;
}

std::vector<Tensor> LlamaTensors(uint32_t blocks) {
  std::vector<Tensor> tensors;
  for (uint32_t i = 0; i < blocks; ++i) {
    tensors.push_back({fmt::format("blk.{}.attn_norm.weight", i), std::vector<float>(8, 1.0f)});
  }
  return tensors;
}

class SplitSet : public ::testing::Test {
 protected:
  SplitSet() {
    for (uint32_t no = 0; no < 3; ++no) {
      Metadata metadata = no == 0 ? LlamaKeys(3) : Metadata();
      formats::gguf::SetSplitKeys({no, 3, 3}, formats::gguf::SplitKeyOrder::kConverter, metadata);
      const std::vector<Tensor> tensors = LlamaTensors(3);
      folder_.Write(Name(no), Gguf(metadata, {tensors[no]}));
    }
  }
  static std::string Name(uint32_t no) { return fmt::format("m-{:05}-of-00003.gguf", no + 1); }

  TempFolder folder_;
};

TEST_F(SplitSet, PassesWhole) {
  EXPECT_THAT(Problems(folder_.path()), IsEmpty());
  EXPECT_THAT(Problems(folder_.path() / Name(1)), IsEmpty());
}

TEST_F(SplitSet, LacksAShard) {
  fs::remove(folder_.path() / Name(1));
  EXPECT_THAT(Problems(folder_.path()), ElementsAre("missing " + Name(1)));
}

TEST_F(SplitSet, HasATruncatedShard) {
  fs::resize_file(folder_.path() / Name(2), fs::file_size(folder_.path() / Name(2)) - 32);
  EXPECT_THAT(Problems(folder_.path()), ElementsAre("truncated " + Name(2)));
}

TEST_F(SplitSet, HasSeveralBrokenShards) {
  fs::resize_file(folder_.path() / Name(0), 20);
  fs::resize_file(folder_.path() / Name(2), 40);
  EXPECT_THAT(Problems(folder_.path()),
              ElementsAre("truncated " + Name(0), "truncated " + Name(2)));
}

TEST_F(SplitSet, HasOneShardTwice) {
  fs::copy_file(folder_.path() / Name(0), folder_.path() / Name(1),
                fs::copy_options::overwrite_existing);
  EXPECT_THAT(Problems(folder_.path()), ElementsAre("duplicate " + Name(1)));
}

TEST(ModelChecks, FindNanInFloatsAndInScales) {
  const TempFolder folder;
  std::vector<Tensor> tensors = LlamaTensors(2);
  tensors[1].values[5] = NAN;
  const fs::path path = folder.Write("nan.gguf", Gguf(LlamaKeys(2), tensors));
  const CheckList list = Checked(path);
  EXPECT_THAT(ProblemsOf(list), ElementsAre("non_finite nan.gguf"));
  EXPECT_THAT(list.problems()[0].detail, HasSubstr("blk.1.attn_norm.weight: weight 5"));

  std::string quantized = SmallGguf();  // the last tensor is Q8_0, 34 bytes per block
  quantized[quantized.size() - 34] = '\x00';
  quantized[quantized.size() - 33] = '\x7c';
  const CheckList blocks = Checked(folder.Write("inf.gguf", quantized));
  EXPECT_THAT(ProblemsOf(blocks), ElementsAre("non_finite inf.gguf"));
  EXPECT_THAT(blocks.problems()[0].detail, HasSubstr("output.weight: block 31"));
}

TEST(ModelChecks, FindMissingKeysAndBlocks) {
  const TempFolder folder;
  Metadata metadata = LlamaKeys(3);
  metadata.Remove("llama.context_length");
  const CheckList list = Checked(folder.Write("m.gguf", Gguf(metadata, LlamaTensors(2))));
  EXPECT_THAT(ProblemsOf(list), ElementsAre("missing m.gguf", "missing m.gguf"));
  EXPECT_THAT(list.problems()[0].detail, HasSubstr("llama.context_length"));
  EXPECT_THAT(list.problems()[1].detail, HasSubstr("block 2 of 3"));
}

TEST(ModelChecks, FindWhatIsNoModel) {
  const TempFolder folder;
  EXPECT_THAT(Problems(folder.Write("a.gguf", "<!DOCTYPE html><html></html>")),
              ElementsAre("html_page a.gguf"));
  EXPECT_THAT(Problems(folder.Write("b.gguf", "")), ElementsAre("empty b.gguf"));
  EXPECT_THAT(Problems(folder.Write("c.gguf", std::string(4096, '\0'))),
              ElementsAre("bad_magic c.gguf"));
  EXPECT_THAT(Problems(folder.path()),
              UnorderedElementsAre("html_page a.gguf", "empty b.gguf", "bad_magic c.gguf"));
  EXPECT_QUERN_ERROR(Problems(folder.path() / "none"), ErrorCode::kMissing);
}

TEST(ModelChecks, FindShardsThatAnIndexNames) {
  const TempFolder folder;
  const fs::path model = folder.path() / "model";
  fs::copy(quern::testing::TestData("kjv-4m"), model, fs::copy_options::recursive);
  EXPECT_THAT(Problems(model), IsEmpty());
  for (const auto& entry : fs::directory_iterator(model)) {
    if (entry.path().extension() != ".safetensors") continue;
    fs::remove(entry.path());
    EXPECT_THAT(Problems(model), Contains("missing model.safetensors.index.json"));
    return;
  }
}

TEST(ModelChecks, GoOnAfterAProblem) {
  const TempFolder folder;
  for (const char* name : {"a.gguf", "b.gguf", "c.gguf"}) folder.Write(name, SmallGguf());
  fs::resize_file(folder.path() / "a.gguf", 1000);
  fs::resize_file(folder.path() / "c.gguf", 10);
  const CheckList list = Checked(folder.path());
  EXPECT_THAT(ProblemsOf(list), ElementsAre("truncated a.gguf", "truncated c.gguf"));
  EXPECT_EQ(list.checked(), 3u);
}

TEST(Duplicates, AreFoundAcrossPathsAndHardLinksCountOnce) {
  const TempFolder folder;
  const fs::path a = folder.Write("a.gguf", SmallGguf());
  folder.Write("b.gguf", SmallGguf());
  folder.Write("c.gguf", SmallGguf(2));  // of the same size
  fs::create_hard_link(a, folder.path() / "d.gguf");
  CheckList list;
  CheckAddress(folder.path().string(), {}, list);
  RequestDigests(list);
  list.Run({});
  const auto duplicates = FindDuplicates(list);
  ASSERT_EQ(duplicates.size(), 1u);
  EXPECT_EQ(duplicates[0].paths.size(), 3u);
  EXPECT_EQ(duplicates[0].reclaimable, fs::file_size(a));
}

TEST(Duplicates, KeepTheReportTheSameForAnyNumberOfThreads) {
  const TempFolder folder;
  for (const char* name : {"a.gguf", "b.gguf", "c.gguf"}) folder.Write(name, SmallGguf());
  FlipBit(folder.path() / "b.gguf", 34);
  FlipBit(folder.path() / "c.gguf", 33);
  std::vector<Problem> first;
  for (const int threads : {1, 2, 5}) {
    CheckList list;
    CheckAddress(folder.path().string(), {}, list);
    list.Run({.threads = threads});
    if (threads == 1) first = list.problems();
    EXPECT_EQ(list.problems(), first);
  }
}

TEST_F(SplitSet, PassesInAnOllamaStore) {
  const quern::testing::OllamaStore store(folder_.path() / "models");
  const auto layer = [&](uint32_t no) {
    return quern::testing::OllamaLayer{"model", ReadAll(folder_.path() / Name(no)), "", ""};
  };
  const fs::path manifest =
      store.AddModel("registry.ollama.ai/library/split/all", {layer(2), layer(0), layer(1)});
  EXPECT_THAT(Problems(store.root()), IsEmpty());
  EXPECT_THAT(Problems(manifest), IsEmpty());
  const fs::path blob = store.BlobPath(quern::testing::Sha256Hex(layer(1).content));
  EXPECT_THAT(Problems(blob), IsEmpty());
  store.AddModel("registry.ollama.ai/library/split/few", {layer(0), layer(1)});
  EXPECT_THAT(Problems(store.root()), Contains(HasSubstr("missing")));
}

TEST(ModelChecks, TakeSeveralGgufsBesideAConfigOneByOne) {
  const TempFolder folder;
  folder.Write("config.json", "{\"model_type\":\"llama\"}");
  folder.Write("a.gguf", SmallGguf(1));
  folder.Write("b.gguf", SmallGguf(2));
  EXPECT_THAT(Problems(folder.path()), IsEmpty());
  FlipBit(folder.path() / "a.gguf", SmallGguf(1).size() - 1);
  EXPECT_THAT(Problems(folder.path()), Contains(HasSubstr("a.gguf")));
}

}  // namespace
}  // namespace quern::verify
