// Real files against what torch.load (1.13) found in them.
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include "formats/core/json.h"
#include "formats/reader.h"
#include "tests/support/fixtures.h"

namespace quern::formats {
namespace {

namespace fs = std::filesystem;
using testing::ErrorOf;

// The first 16 hex digits of the SHA-256 of a tensor's bytes, read in slabs of an odd size.
std::string HashPrefix(const ModelSource& source, const TensorInfo& tensor) {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  std::vector<uint8_t> slab(10'007);
  for (uint64_t at = 0; at < tensor.bytes; at += slab.size()) {
    const auto part = std::span(slab).first(std::min<uint64_t>(slab.size(), tensor.bytes - at));
    source.Read(tensor, at, part);
    EVP_DigestUpdate(context, part.data(), part.size());
  }
  uint8_t digest[32];
  EVP_DigestFinal_ex(context, digest, nullptr);
  EVP_MD_CTX_free(context);
  std::string hex;
  for (int i = 0; i < 8; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4];
    hex += "0123456789abcdef"[digest[i] & 15];
  }
  return hex;
}

Json Summary(const ModelSource& source) {
  Json rows = Json::array();
  for (const auto& tensor : source.tensors()) {
    rows.push_back({tensor.name, Name(tensor.type), tensor.shape, HashPrefix(source, tensor)});
  }
  return rows;
}

TEST(TorchGolden, EveryRealFileGivesWhatTorchLoads) {
  QUERN_SHARED_OR_SKIP(path, "conformance/golden/pytorch.json");
  const Json golden = ReadJsonFile(path);
  const fs::path folder = *testing::Shared("fixtures/pytorch");
  ASSERT_GE(golden.size(), 12u);
  for (const auto& [name, expected] : golden.items()) {
    SCOPED_TRACE(name);
    const fs::path direct = folder / name;
    const auto source = OpenModel(fs::exists(direct) ? direct : folder / "meta" / name,
                                  {.root = std::string(kWholeFile)});
    EXPECT_EQ(source->format(), "pytorch");
    const Json found = Summary(*source);
    ASSERT_EQ(found.size(), expected.size());
    for (size_t i = 0; i < found.size(); ++i) EXPECT_EQ(found[i], expected[i]);
  }
}

TEST(TorchGolden, RefusesAClassOfItsOwnModuleByName) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/pytorch/sample_model.pth");
  const Error error = ErrorOf([&] { OpenModel(path); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsafe);
  EXPECT_EQ(error.where().offset, 153u);
  EXPECT_NE(error.message().find(
                "tests.converter.pytorch.data.sample.sample_model.sample_model.TwoLayerNet"),
            std::string::npos)
      << error.what();
}

TEST(TorchGolden, ChoosesTheModelInsideRealCheckpoints) {
  QUERN_SHARED_OR_SKIP(path, "fixtures/pytorch");
  const auto root = [&](std::string_view name) {
    return std::string(*OpenModel(path / name)->metadata().GetString("pytorch.root"));
  };
  EXPECT_EQ(root("gpt_by_hand_ckpt.pt"), "model");
  EXPECT_EQ(root("mafat_last.ckpt"), "state_dict");
  EXPECT_EQ(root("pytorch_model.bin"), "");
  EXPECT_TRUE(OpenModel(path / "gpt_by_hand_ckpt.pt")->FindTensor("transformer.wte.weight"));
}

}  // namespace
}  // namespace quern::formats
