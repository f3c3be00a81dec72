// What export and import leave in a folder and a store, also when they fail.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/ollama/stored_model.h"
#include "tests/support/fixtures.h"
#include "tests/support/ollama_store.h"
#include "tests/verify/verify_testing.h"
#include "verify/ollama_export.h"
#include "verify/ollama_import.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;
using quern::testing::OllamaStore;
using quern::testing::Sha256Hex;
using quern::testing::SmallGguf;
using quern::testing::TempFolder;

class StoreWrites : public ::testing::Test {
 protected:
  void Export(const fs::path& folder, const PlaceOptions& options) const {
    const auto model = formats::ollama::StoredModel::At(manifest_);
    OllamaExport plan = PlanOllamaExport(model, folder);
    RunOllamaExport(folder, options, plan);
  }
  void Import(const fs::path& gguf, const PlaceOptions& options) const {
    const auto model = formats::OpenModel(gguf);
    OllamaImport plan = PlanOllamaImport({.model = model.get(), .modelfile = {}, .folder = {}},
                                         store_.root(), formats::ollama::ParseModelName("mine"));
    RunOllamaImport(options, plan);
  }

  const TempFolder folder_;
  const OllamaStore store_{folder_.path() / "models"};
  const fs::path manifest_ =
      store_.AddModel("registry.ollama.ai/library/small/latest",
                      {{"model", SmallGguf(1), "", ""}, {"adapter", SmallGguf(2), "", ""}});
};

TEST_F(StoreWrites, ACopyTakesThePlaceOfALink) {
  const fs::path out = folder_.path() / "out";
  const fs::path exported = out / "small-latest.gguf";
  Export(out, {});
  ASSERT_EQ(fs::hard_link_count(exported), 2u);
  Export(out, {.copy = true, .force = true});
  EXPECT_EQ(fs::hard_link_count(exported), 1u);
  EXPECT_TRUE(ReadAll(exported) == SmallGguf(1));

  const fs::path mine = folder_.Write("mine.gguf", SmallGguf(7));
  const fs::path blob = store_.BlobPath(Sha256Hex(SmallGguf(7)));
  Import(mine, {});
  ASSERT_TRUE(fs::equivalent(mine, blob));
  Import(mine, {.copy = true});
  EXPECT_FALSE(fs::equivalent(mine, blob));
  EXPECT_TRUE(ReadAll(mine) == SmallGguf(7) && ReadAll(blob) == SmallGguf(7));
}

TEST_F(StoreWrites, AnExportThatFailsLeavesNothingBehind) {
  const fs::path taken = folder_.path() / "taken";
  WriteAll(taken / "Modelfile", "mine");
  EXPECT_QUERN_ERROR(Export(taken, {}), ErrorCode::kExists);
  EXPECT_EQ(ReadAll(taken / "Modelfile"), "mine");
  EXPECT_FALSE(fs::exists(taken / "small-latest.gguf"));
  FlipBit(store_.BlobPath(Sha256Hex(SmallGguf(2))));
  EXPECT_QUERN_ERROR(Export(folder_.path() / "a" / "b", {}), ErrorCode::kMismatch);
  EXPECT_FALSE(fs::exists(folder_.path() / "a"));
}

TEST_F(StoreWrites, AnImportMakesNoFoldersThroughLinks) {
  const fs::path elsewhere = folder_.path() / "elsewhere";
  const fs::path host = store_.root() / "manifests" / "registry.ollama.ai";
  fs::create_directories(elsewhere);
  fs::remove_all(host);
  fs::create_directory_symlink(elsewhere, host);
  const fs::path mine = folder_.Write("mine.gguf", SmallGguf(7));
  EXPECT_QUERN_ERROR(Import(mine, {}), ErrorCode::kUnsafe);
  EXPECT_TRUE(fs::is_empty(elsewhere));
}

}  // namespace
}  // namespace quern::verify
