// Addresses, export and import as a user meets them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <map>

#include "formats/core/json.h"
#include "formats/ollama/manifest.h"
#include "formats/reader.h"
#include "tests/cli/run_quern.h"
#include "tests/support/ollama_store.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using testing::Contents;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::OllamaStore;
using testing::Outcome;
using testing::RunQuern;
using testing::Sha256Hex;
using ::testing::SizeIs;
using testing::SmallGguf;
using testing::TempFolder;

constexpr const char* kSmall = "registry.ollama.ai/library/small/latest";

class Stores : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return (folder_.path() / name).string(); }
  Outcome Run(std::vector<std::string> arguments) const {
    if (arguments[0] != "formats") arguments.insert(arguments.end(), {"--store", store_.root()});
    return RunQuern(arguments, folder_.path());
  }
  // Runs with --json, which must succeed.
  Json Ask(std::vector<std::string> arguments) const {
    arguments.push_back("--json");
    const Outcome outcome = Run(std::move(arguments));
    EXPECT_EQ(outcome.code, 0) << outcome.err;
    return outcome.code == 0 ? ParseJson(outcome.out, "stdout") : Json();
  }
  fs::path AddSmall() const {
    return store_.AddModel(
        kSmall, {{"model", SmallGguf()},
                 {"projector", SmallGguf(2)},
                 {"adapter", SmallGguf(3)},
                 {"template", "{{ .System }}\n{{ .Prompt }}\n"},
                 {"system", "You are \"small\"."},
                 {"license", "First.\nLine 2\nLine 3\nLine 4\n"},
                 {"license", "Second."},
                 {"params", "{\"num_ctx\":4096,\"stop\":[\"\\u003c|a|\\u003e\",\"b\"]}\n"},
                 {"messages", "[{\"role\":\"user\",\"content\":\"Hi\"}]\n"}});
  }
  static ino_t Inode(const fs::path& path) {
    struct stat info = {};
    EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
    return info.st_ino;
  }
  // Path and time of every file of the store.
  std::map<fs::path, fs::file_time_type> Times() const {
    std::map<fs::path, fs::file_time_type> times;
    for (const auto& entry : fs::recursive_directory_iterator(store_.root())) {
      times.emplace(entry.path(), entry.last_write_time());
    }
    return times;
  }

  const TempFolder folder_;
  const OllamaStore store_{folder_.path() / "models"};
};

TEST_F(Stores, InspectShowsAllOfAnOllamaModel) {
  AddSmall();
  const Json json = Ask({"inspect", "ollama:small"});
  EXPECT_EQ(json["format"], "ollama");
  const Json& ollama = json["ollama"];
  EXPECT_THAT(ollama["layers"], SizeIs(9));
  EXPECT_EQ(ollama["layers"][1]["kind"], "projector");
  EXPECT_EQ(ollama["layers"][0]["digest"], "sha256:" + Sha256Hex(SmallGguf()));
  EXPECT_EQ(ollama["layers"][0]["bytes"], SmallGguf().size());
  EXPECT_EQ(ollama["template"], "{{ .System }}\n{{ .Prompt }}\n");
  EXPECT_EQ(ollama["system"], "You are \"small\".");
  EXPECT_EQ(ollama["parameters"]["stop"][0], "<|a|>");
  EXPECT_EQ(ollama["messages"][0]["content"], "Hi");
  EXPECT_THAT(ollama["licenses"], SizeIs(2));
  EXPECT_EQ(ollama["config"]["model_format"], "gguf");
  const Outcome text = Run({"inspect", "ollama:small"});
  for (const char* part : {"layer projector", "{{ .Prompt }}", "num_ctx", "Line 3", "Second."}) {
    EXPECT_THAT(text.out, HasSubstr(part));
  }
  EXPECT_THAT(text.out, Not(HasSubstr("Line 4")));
}

TEST_F(Stores, InspectListsAStore) {
  AddSmall();
  store_.AddModel("hf.co/org/name/Q8_0", {{"model", SmallGguf(4)}});
  const fs::path bad = store_.root() / "manifests/registry.ollama.ai/library/bad/latest";
  fs::create_directories(bad.parent_path());
  std::ofstream(bad) << "{\"schemaVersion\":2";
  const Json models = Ask({"inspect", "ollama:"})["models"];
  ASSERT_THAT(models, SizeIs(3));
  EXPECT_EQ(models[0]["name"], "hf.co/org/name:Q8_0");
  EXPECT_TRUE(models[1].contains("error"));
  EXPECT_EQ(models[2]["name"], "small:latest");
}

TEST_F(Stores, EveryCommandTakesAddresses) {
  AddSmall();
  EXPECT_EQ(
      Run({"convert", "ollama:small", "-t", "F16", "--allow-requantize", "-o", Path("f16.gguf")})
          .code,
      0);
  EXPECT_EQ(formats::OpenModel(Path("f16.gguf"))->FindTensor("output.weight")->type,
            TensorType::kF16);
  EXPECT_EQ(Run({"inspect", "ollama:none"}).code, 3);
  EXPECT_EQ(Run({"inspect", "ollama:../x"}).code, 2);
}

// A folder as the hub's cache has it, made of testdata/kjv-4m.
TEST_F(Stores, AHubSnapshotIsAModelWithItsOwnName) {
  const fs::path model = folder_.path() / "hub/models--org--kjv-4m";
  const std::string commit(40, 'c');
  folder_.Write("hub/models--org--kjv-4m/refs/main", commit);
  fs::create_directories(model / "blobs");
  fs::create_directories(model / "snapshots" / commit);
  for (const auto& entry : fs::directory_iterator(testing::TestData("kjv-4m"))) {
    const fs::path name = entry.path().filename();
    fs::copy_file(entry.path(), model / "blobs" / name);
    fs::create_symlink("../../blobs/" + name.string(), model / "snapshots" / commit / name);
  }
  fs::remove(model / "snapshots" / commit / "README.md");
  ::setenv("HF_HUB_CACHE", Path("hub").c_str(), 1);
  const Outcome outcome = Run({"convert", "hf:org/kjv-4m", "-t", "F16", "-o", Path("a.gguf")});
  const Outcome absent = Run({"inspect", "hf:org/kjv-4m@v2"});
  ::unsetenv("HF_HUB_CACHE");
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(absent.code, 3);
  EXPECT_THAT(
      std::string(*formats::OpenModel(Path("a.gguf"))->metadata().GetString("general.name")),
      HasSubstr("Kjv"));
}

// git and git-lfs themselves make the clone.
class SlowStores : public Stores {};
TEST_F(SlowStores, AnLfsCloneWithoutItsCopiesIsAModel) {
  if (std::system("git lfs version > /dev/null 2>&1") != 0) GTEST_SKIP() << "no git-lfs";
  const std::string git =
      "git -c user.name=t -c user.email=t@example.com -c init.defaultBranch=main ";
  const std::string script =
      "cd " + folder_.path().string() + " && export HOME=$PWD GIT_CONFIG_NOSYSTEM=1 && (" + git +
      "init -q up && cd up && git lfs install --local && git lfs track '*.safetensors' "
      "'tokenizer.model' && cp " +
      testing::TestData("kjv-4m").string() + "/* . && " + git + "add -A && " + git +
      "commit -qm all && cd .. && GIT_LFS_SKIP_SMUDGE=1 " + git +
      "clone -q up kjv-4m && cd kjv-4m && git lfs install --local --skip-smudge && git lfs fetch) "
      "> log 2>&1";
  ASSERT_EQ(std::system(script.c_str()), 0) << Contents(Path("log"));
  ASSERT_LT(fs::file_size(Path("kjv-4m/model-00001-of-00002.safetensors")), 200u);
  ASSERT_EQ(Run({"convert", Path("kjv-4m"), "-t", "Q8_0", "-o", Path("a.gguf")}).code, 0);
  ASSERT_EQ(Run({"convert", testing::TestData("kjv-4m"), "-t", "Q8_0", "-o", Path("b.gguf")}).code,
            0);
  EXPECT_TRUE(Contents(Path("a.gguf")) == Contents(Path("b.gguf")));
  fs::remove_all(Path("kjv-4m/.git/lfs"));
  const Outcome outcome = Run({"inspect", Path("kjv-4m")});
  EXPECT_EQ(outcome.code, 3);
  EXPECT_THAT(outcome.err, HasSubstr("git lfs pull"));
}

TEST_F(Stores, ExportGivesTheSameBytesWithoutNewOnes) {
  AddSmall();
  const Json json = Ask({"export", "ollama:small", "-o", Path("out")});
  const auto expect_blob = [&](const std::string& name, const std::string& content) {
    EXPECT_TRUE(Contents(Path("out/" + name)) == content) << name;
    EXPECT_EQ(Inode(Path("out/" + name)), Inode(store_.BlobPath(Sha256Hex(content)))) << name;
  };
  expect_blob("small-latest.gguf", SmallGguf());
  expect_blob("small-latest-mmproj.gguf", SmallGguf(2));
  expect_blob("small-latest-adapter.gguf", SmallGguf(3));
  EXPECT_EQ(json["files"][0]["placement"], "hard link");
  EXPECT_EQ(Contents(Path("out/Modelfile")),
            "FROM ./small-latest.gguf\n"
            "FROM ./small-latest-mmproj.gguf\n"
            "ADAPTER ./small-latest-adapter.gguf\n"
            "TEMPLATE \"\"\"{{ .System }}\n{{ .Prompt }}\n\"\"\"\n"
            "SYSTEM You are \"small\".\n"
            "LICENSE \"\"\"First.\nLine 2\nLine 3\nLine 4\n\"\"\"\n"
            "LICENSE Second.\n"
            "PARAMETER num_ctx 4096\n"
            "PARAMETER stop <|a|>\n"
            "PARAMETER stop b\n"
            "MESSAGE user Hi\n");
  EXPECT_EQ(Run({"export", "ollama:small", "-o", Path("out")}).code, 4);
  EXPECT_EQ(Run({"export", "ollama:small", "-o", Path("out"), "--force"}).code, 0);
  expect_blob("small-latest.gguf", SmallGguf());
}

TEST_F(Stores, ExportCopiesWhereItIsToldTo) {
  AddSmall();
  const Json json = Ask({"export", "ollama:small", "-o", Path("out"), "--copy"});
  EXPECT_EQ(json["files"][0]["placement"], "copy");
  EXPECT_TRUE(Contents(Path("out/small-latest.gguf")) == SmallGguf());
  EXPECT_NE(Inode(Path("out/small-latest.gguf")), Inode(store_.BlobPath(Sha256Hex(SmallGguf()))));
}

TEST_F(Stores, ExportDryRunWritesNothing) {
  AddSmall();
  const Json json = Ask({"export", "ollama:small", "-o", Path("out"), "--dry-run"});
  EXPECT_THAT(json["files"], SizeIs(3));
  EXPECT_FALSE(fs::exists(Path("out")));
}

TEST_F(Stores, ExportRefusesADamagedBlob) {
  AddSmall();
  const fs::path blob = store_.BlobPath(Sha256Hex(SmallGguf()));
  std::string content = SmallGguf();
  content[content.size() - 1000] ^= 1;
  std::ofstream(blob, std::ios::binary) << content;
  for (const char* copy : {"--copy", "--quiet"}) {
    const Outcome outcome = Run({"export", "ollama:small", "-o", Path("out"), copy});
    EXPECT_EQ(outcome.code, 3);
    EXPECT_THAT(outcome.err, HasSubstr("SHA-256"));
    EXPECT_FALSE(fs::exists(Path("out/small-latest.gguf")));
    EXPECT_FALSE(fs::exists(Path("out/small-latest.gguf.partial")));
  }
}

TEST_F(Stores, ExportOfASplitModelGivesNamesThatBelongTogether) {
  QUERN_SHARED_OR_SKIP(first, "fixtures/gguf/dummy-00001-of-00002.gguf");
  const std::string a = Contents(first);
  const std::string b = Contents(first.parent_path() / "dummy-00002-of-00002.gguf");
  store_.AddModel(kSmall, {{"model", b}, {"model", a}});
  EXPECT_EQ(Run({"export", "ollama:small", "-o", Path("out")}).code, 0);
  EXPECT_TRUE(Contents(Path("out/small-latest-00001-of-00002.gguf")) == a);
  EXPECT_EQ(formats::OpenModel(Path("out"))->tensors().size(),
            formats::OpenModel(first)->tensors().size());
}

TEST_F(Stores, ATextThatNoModelfileCanSayIsAFile) {
  store_.AddModel(kSmall, {{"model", SmallGguf()}, {"template", "a\"\"\"\nb"}});
  EXPECT_EQ(Run({"export", "ollama:small", "-o", Path("out")}).code, 0);
  EXPECT_EQ(Contents(Path("out/template-1.txt")), "a\"\"\"\nb");
  EXPECT_THAT(Contents(Path("out/Modelfile")), HasSubstr("# A Modelfile cannot say the template"));
}

TEST_F(Stores, ImportWritesWhatOllamaWrites) {
  folder_.Write("small.gguf", SmallGguf());
  const Json json = Ask({"import", Path("small.gguf"), "ollama:me/mine:v1", "--template",
                         "{{ .Prompt }}", "--system", "Be <small>.", "--parameter", "stop=<|end|>",
                         "--parameter", "temperature=0.7", "--license", "MIT"});
  const fs::path manifest = store_.root() / "manifests/registry.ollama.ai/me/mine/v1";
  EXPECT_EQ(json["manifest"], manifest.string());
  EXPECT_EQ(Inode(store_.BlobPath(Sha256Hex(SmallGguf()))), Inode(Path("small.gguf")));

  const std::string digests[] = {Sha256Hex(SmallGguf()), Sha256Hex("{{ .Prompt }}"),
                                 Sha256Hex("Be <small>."), Sha256Hex("MIT"),
                                 Sha256Hex("{\"stop\":[\"\\u003c|end|\\u003e\"],"
                                           "\"temperature\":0.7}\n")};
  const std::string config =
      "{\"model_format\":\"gguf\",\"model_family\":\"llama\",\"model_families\":[\"llama\"],"
      "\"model_type\":\"12K\",\"file_type\":\"Q8_0\",\"architecture\":\"amd64\",\"os\":\"linux\","
      "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" +
      digests[0] + "\",\"sha256:" + digests[1] + "\",\"sha256:" + digests[2] +
      "\",\"sha256:" + digests[3] + "\",\"sha256:" + digests[4] + "\"]}}\n";
  EXPECT_EQ(Contents(store_.BlobPath(Sha256Hex(config))), config);
  std::string expected =
      "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\","
      "\"config\":{\"mediaType\":\"application/vnd.docker.container.image.v1+json\","
      "\"digest\":\"sha256:" +
      Sha256Hex(config) + "\",\"size\":" + std::to_string(config.size()) + "},\"layers\":[";
  const char* kinds[] = {"model", "template", "system", "license", "params"};
  for (size_t i = 0; i < 5; ++i) {
    expected += std::string(i ? "," : "") + "{\"mediaType\":\"application/vnd.ollama.image." +
                kinds[i] + "\",\"digest\":\"sha256:" + digests[i] +
                "\",\"size\":" + std::to_string(fs::file_size(store_.BlobPath(digests[i]))) + "}";
  }
  EXPECT_EQ(Contents(manifest), expected + "]}\n");
  EXPECT_EQ(Ask({"inspect", "ollama:me/mine:v1"})["ollama"]["system"], "Be <small>.");
}

TEST_F(Stores, ImportTwiceChangesNothing) {
  folder_.Write("small.gguf", SmallGguf());
  const std::vector<std::string> import = {"import", Path("small.gguf"), "ollama:mine", "--system",
                                           "x"};
  EXPECT_EQ(Ask(import)["unchanged"], false);
  const auto before = Times();
  EXPECT_THAT(before, SizeIs(::testing::Gt(5u)));
  EXPECT_EQ(Ask(import)["unchanged"], true);
  EXPECT_EQ(Times(), before);
  for (const auto& [path, time] : before) EXPECT_NE(path.extension(), ".partial");
}

TEST_F(Stores, ImportThenExportGivesTheSameModel) {
  AddSmall();
  ASSERT_EQ(Run({"export", "ollama:small", "-o", Path("out")}).code, 0);
  // The projector must say that it is one; the small GGUFs are all models.
  const std::string modelfile = Contents(Path("out/Modelfile"));
  std::string edited = modelfile;
  const std::string line = "FROM ./small-latest-mmproj.gguf\n";
  edited.erase(edited.find(line), line.size());
  std::ofstream(Path("out/Modelfile")) << edited;
  ASSERT_EQ(Run({"import", Path("out/small-latest.gguf"), "ollama:again", "--modelfile",
                 Path("out/Modelfile")})
                .code,
            0);
  ASSERT_EQ(Run({"export", "ollama:again", "-o", Path("out2")}).code, 0);
  EXPECT_TRUE(Contents(Path("out2/again-latest.gguf")) == SmallGguf());
  EXPECT_TRUE(Contents(Path("out2/again-latest-adapter.gguf")) == SmallGguf(3));
  // Every text layer has the digest that it had.
  const Json first = Ask({"inspect", "ollama:small"})["ollama"]["layers"];
  const Json second = Ask({"inspect", "ollama:again"})["ollama"]["layers"];
  ASSERT_EQ(second.size(), first.size() - 1);
  for (const Json& layer : second) {
    EXPECT_TRUE(std::any_of(first.begin(), first.end(), [&](const Json& other) {
      return other["digest"] == layer["digest"] && other["media_type"] == layer["media_type"];
    })) << layer;
  }
}

TEST_F(Stores, ImportReplacesAnotherModelOnlyWithForce) {
  AddSmall();
  folder_.Write("other.gguf", SmallGguf(9));
  const Outcome refused = Run({"import", Path("other.gguf"), "ollama:small"});
  EXPECT_EQ(refused.code, 4);
  EXPECT_FALSE(fs::exists(store_.BlobPath(Sha256Hex(SmallGguf(9)))));
  EXPECT_EQ(Run({"import", Path("other.gguf"), "ollama:small", "--force"}).code, 0);
  EXPECT_EQ(Ask({"inspect", "ollama:small"})["ollama"]["layers"].size(), 1u);
}

TEST_F(Stores, ImportMakesAStoreThatIsNamed) {
  folder_.Write("small.gguf", SmallGguf());
  const auto outcome = RunQuern(
      {"import", Path("small.gguf"), "ollama:mine", "--store", Path("new/models"), "--copy"});
  EXPECT_EQ(outcome.code, 0) << outcome.err;
  EXPECT_EQ(RunQuern({"inspect", "ollama:mine", "--store", Path("new/models")}).code, 0);
  EXPECT_NE(Inode(Path("new/models/blobs/sha256-" + Sha256Hex(SmallGguf()))),
            Inode(Path("small.gguf")));
}

TEST_F(Stores, ImportRefusesWhatOllamaCannotLoad) {
  folder_.Write("small.gguf", SmallGguf());
  folder_.Write("cut.gguf", SmallGguf().substr(0, 15000));
  EXPECT_EQ(Run({"import", Path("cut.gguf"), "ollama:mine"}).code, 3);
  EXPECT_EQ(Run({"import", testing::TestData("kjv-4m"), "ollama:mine"}).code, 5);
  EXPECT_EQ(Run({"import", Path("small.gguf"), "mine"}).code, 2);
  EXPECT_EQ(Run({"import", Path("small.gguf"), "ollama:../mine"}).code, 2);
  EXPECT_EQ(Run({"import", Path("small.gguf"), "ollama:mine", "--parameter", "speed=9"}).code, 2);
  EXPECT_EQ(Run({"import", Path("small.gguf"), "ollama:mine", "--parameter", "num_ctx"}).code, 2);
  folder_.Write("Modelfile", "FROM ./small.gguf\nADAPTER ./none.gguf\n");
  EXPECT_EQ(
      Run({"import", Path("small.gguf"), "ollama:mine", "--modelfile", Path("Modelfile")}).code, 3);
  EXPECT_TRUE(fs::is_empty(store_.root() / "manifests"));
  EXPECT_TRUE(fs::is_empty(store_.root() / "blobs"));
}

TEST_F(Stores, ImportWritesNothingThroughLinks) {
  folder_.Write("small.gguf", SmallGguf());
  fs::create_directories(Path("elsewhere"));
  fs::remove(store_.root() / "blobs");
  fs::create_directory_symlink(Path("elsewhere"), store_.root() / "blobs");
  EXPECT_EQ(Run({"import", Path("small.gguf"), "ollama:mine"}).code, 3);
  EXPECT_TRUE(fs::is_empty(Path("elsewhere")));
}

}  // namespace
}  // namespace quern
