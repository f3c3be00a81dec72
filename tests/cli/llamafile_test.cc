// llamafiles: written by quern, read by quern and by unzip.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "formats/core/json.h"
#include "formats/llamafile/llamafile_source.h"
#include "formats/llamafile/llamafile_writer.h"
#include "formats/reader.h"
#include "formats/zip/zip_archive.h"
#include "tests/cli/run_quern.h"
#include "tests/support/ollama_store.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using testing::Contents;
using ::testing::HasSubstr;
using testing::Outcome;
using testing::RunQuern;
using testing::Sha256Hex;
using ::testing::SizeIs;
using testing::SmallGguf;
using ::testing::StartsWith;
using testing::TempFolder;

class LlamafileExport : public ::testing::Test {
 protected:
  LlamafileExport() {
    folder_.Write("small.gguf", SmallGguf());
    folder_.Write("runtime", kScript);
    fs::permissions(Path("runtime"), static_cast<fs::perms>(0755));
  }
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }
  Outcome Export(const std::string& runtime, const std::vector<std::string>& more = {}) const {
    std::vector<std::string> arguments = {
        "export", Path("small.gguf"), "-o", Path("x.llamafile"), "--runtime", Path(runtime)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunQuern(arguments);
  }
  // What a shell command prints; it runs in the folder.
  std::string Shell(const std::string& command) const {
    const int code =
        std::system(("cd " + folder_.path().string() + " && (" + command + ") > out 2>&1").c_str());
    EXPECT_EQ(code, 0) << command << "\n" << Contents(Path("out"));
    return Contents(Path("out"));
  }
  static bool HasUnzip() { return std::system("unzip -v > /dev/null 2>&1") == 0; }
  static bool HasZip() { return std::system("zip -v > /dev/null 2>&1") == 0; }

  const std::string kScript = "#!/bin/sh\necho hello from the runtime\nexit 0\n";
  const TempFolder folder_;
};

TEST_F(LlamafileExport, RunsAsTheRuntimeAndReadsAsTheModel) {
  const Outcome outcome = Export("runtime", {"--arg", "-c", "--arg", "4096"});
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(Shell("./x.llamafile"), "hello from the runtime\n");
  EXPECT_THAT(Contents(Path("x.llamafile")), StartsWith(kScript));
  const auto parts = formats::llamafile::FindWeights(Path("x.llamafile"));
  ASSERT_THAT(parts, SizeIs(1));
  EXPECT_EQ(parts[0].begin % formats::llamafile::kWeightsAlignment, 0u);
  EXPECT_EQ(Sha256Hex(Contents(Path("x.llamafile")).substr(parts[0].begin, *parts[0].bytes)),
            Sha256Hex(SmallGguf()));
  const File file = File::Open(Path("x.llamafile"));
  const formats::zip::Archive archive(file, formats::zip::Gaps::kAllowed);
  EXPECT_EQ(archive.ReadSmall(*archive.Find(".args"), 100), "-m\nsmall.gguf\n-c\n4096\n...\n");
  archive.Verify(*archive.Find("small.gguf"));
  const auto model = formats::OpenModel(Path("x.llamafile"));
  EXPECT_EQ(model->format(), "llamafile");
  EXPECT_EQ(model->metadata(), formats::OpenModel(Path("small.gguf"))->metadata());
}

TEST_F(LlamafileExport, UnzipListsAndExtractsIt) {
  if (!HasUnzip()) GTEST_SKIP() << "no unzip on this machine";
  ASSERT_EQ(Export("runtime").code, 0);
  const std::string list = Shell("unzip -l x.llamafile || true");
  EXPECT_THAT(list, HasSubstr("small.gguf"));
  EXPECT_THAT(list, HasSubstr(".args"));
  Shell("unzip -tq x.llamafile");
  Shell("mkdir there && cd there && unzip -q ../x.llamafile small.gguf .args");
  EXPECT_EQ(Sha256Hex(Contents(Path("there/small.gguf"))), Sha256Hex(SmallGguf()));
}

TEST_F(LlamafileExport, KeepsTheMembersOfTheRuntimesArchive) {
  if (!HasZip() || !HasUnzip()) GTEST_SKIP() << "no zip on this machine";
  // A small ELF program with an archive behind it, one of whose members is to be replaced.
  Shell(
      "cp /bin/true elf && echo old > .args && echo notes > notes.txt && "
      "zip -q a.zip .args notes.txt && cat a.zip >> elf && zip -qA elf && chmod 755 elf");
  const Outcome outcome = Export("elf");
  ASSERT_EQ(outcome.code, 0) << outcome.err;
  Shell("./x.llamafile");
  const std::string list = Shell("unzip -l x.llamafile");
  EXPECT_THAT(list, HasSubstr("3 files"));
  EXPECT_EQ(Shell("unzip -p x.llamafile notes.txt"), "notes\n");
  EXPECT_EQ(Shell("unzip -p x.llamafile .args"), "-m\nsmall.gguf\n...\n");
  EXPECT_THAT(formats::OpenModel(Path("x.llamafile"))->tensors(), SizeIs(12));
  EXPECT_THAT(Contents(Path("x.llamafile")), StartsWith(Contents(Path("elf"))));
  // And once more: a llamafile as the runtime of another.
  fs::rename(Path("x.llamafile"), Path("first"));
  ASSERT_EQ(Export("first").code, 0);
  EXPECT_THAT(Shell("unzip -l x.llamafile"), HasSubstr("3 files"));
}

TEST_F(LlamafileExport, TakesModelsFromStoresAndSplitSets) {
  const testing::OllamaStore store(folder_.path() / "models");
  store.AddModel("registry.ollama.ai/library/small/8b", {{"model", SmallGguf()}});
  ASSERT_EQ(RunQuern({"export", "ollama:small:8b", "--store", Path("models"), "-o",
                      Path("y.llamafile"), "--runtime", Path("runtime")})
                .code,
            0);
  const File file = File::Open(Path("y.llamafile"));
  EXPECT_NE(formats::zip::Archive(file, formats::zip::Gaps::kAllowed).Find("small-8b.gguf"),
            nullptr);
  QUERN_SHARED_OR_SKIP(first, "fixtures/gguf/dummy-00001-of-00002.gguf");
  ASSERT_EQ(
      RunQuern({"export", first.string(), "-o", Path("z.llamafile"), "--runtime", Path("runtime")})
          .code,
      0);
  EXPECT_EQ(formats::OpenModel(Path("z.llamafile"))->tensors().size(),
            formats::OpenModel(first)->tensors().size());
}

TEST_F(LlamafileExport, WritesTheSameBytesTwiceAndNothingOverAFile) {
  ASSERT_EQ(Export("runtime").code, 0);
  const std::string first = Contents(Path("x.llamafile"));
  EXPECT_EQ(Export("runtime").code, 4);
  EXPECT_EQ(Export("runtime", {"--force"}).code, 0);
  EXPECT_TRUE(Contents(Path("x.llamafile")) == first);
}

TEST_F(LlamafileExport, RefusesWhatIsNoRuntimeOrModel) {
  folder_.Write("text", "no program");
  EXPECT_EQ(Export("text").code, 3);
  EXPECT_EQ(Export("absent").code, 3);
  EXPECT_EQ(RunQuern({"export", Path("small.gguf"), "-o", Path("x.llamafile")}).code, 2);
  EXPECT_EQ(RunQuern({"export", Path("small.gguf"), "-o", Path("folder")}).code, 2);
  EXPECT_FALSE(fs::exists(Path("x.llamafile")));
  EXPECT_FALSE(fs::exists(Path("x.llamafile.partial")));
}

}  // namespace
}  // namespace quern
