// Runs that were killed, and what --resume makes of them; disks that fill up.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <chrono>
#include <map>
#include <random>
#include <thread>

#include "tests/cli/run_quern.h"

namespace quern {
namespace {

namespace fs = std::filesystem;
using testing::Contents;
using ::testing::HasSubstr;
using testing::RunQuern;
using testing::TempFolder;
using testing::TestData;
using Arguments = std::vector<std::string>;

const std::string kModel = TestData("kjv-4m").string();

std::map<std::string, std::string> FilesIn(const fs::path& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : fs::directory_iterator(folder)) {
    files[entry.path().filename().string()] = Contents(entry.path());
  }
  return files;
}

void Wait(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
}

class Resume : public ::testing::Test {
 protected:
  Arguments Command() const {
    return {"convert", kModel, "-t", "Q2_K", "-o", out_.string(), "--memory", "1M"};
  }
  static Arguments With(Arguments arguments, const std::string& option) {
    arguments.push_back(option);
    return arguments;
  }
  fs::path Partial() const { return out_.string() + ".partial"; }
  fs::path Journal() const { return out_.string() + ".partial.journal"; }

  // Kills runs of `command` until one has left a journal of some records and no output.
  void Interrupt(const Arguments& command, int signal = SIGKILL) const {
    for (int attempt = 0; attempt < 50; ++attempt) {
      fs::remove(out_);
      const pid_t pid = testing::StartQuern(command, temp_.path() / "o", temp_.path() / "e");
      std::error_code error;
      for (int i = 0; i < 20000; ++i) {
        const uintmax_t size = fs::file_size(Journal(), error);
        if (fs::exists(out_) || (!error && size > 48 + 8 * 40)) break;
        std::this_thread::sleep_for(std::chrono::microseconds(500));
      }
      ::kill(pid, signal);
      Wait(pid);
      if (!fs::exists(out_)) return;
    }
    FAIL() << "no run could be interrupted";
  }
  void ExpectResumedEqual() const {
    const auto resumed = RunQuern(With(Command(), "--resume"));
    ASSERT_EQ(resumed.code, 0) << resumed.err;
    EXPECT_TRUE(Contents(out_) == Whole());
    EXPECT_FALSE(fs::exists(Partial()));
    EXPECT_FALSE(fs::exists(Journal()));
  }
  static const std::string& Whole() {
    static const std::string bytes = [] {
      const TempFolder folder;
      const fs::path out = folder.path() / "whole.gguf";
      EXPECT_EQ(RunQuern({"convert", kModel, "-t", "Q2_K", "-o", out.string()}).code, 0);
      return Contents(out);
    }();
    return bytes;
  }
  static void Flip(const fs::path& path, uint64_t offset) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekg(static_cast<std::streamoff>(offset));
    const char byte = static_cast<char>(file.get());
    file.seekp(static_cast<std::streamoff>(offset));
    file.put(static_cast<char>(byte ^ 1));
  }

  const TempFolder folder_;
  const TempFolder temp_;
  const fs::path out_ = folder_.path() / "out.gguf";
};

TEST_F(Resume, GoesOnFromAKilledRunWhateverTheThreadsAndSlabs) {
  Interrupt(Command());
  const auto resumed = RunQuern({"convert", kModel, "-t", "Q2_K", "-o", out_.string(), "--threads",
                                 "1", "--memory", "2M", "--resume"});
  ASSERT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("slabs in the journal are whole on disk"));
  EXPECT_TRUE(Contents(out_) == Whole());
}

TEST_F(Resume, StartsFromTheBeginningWhereThereIsNothing) {
  const auto run = RunQuern(With(Command(), "--resume"));
  ASSERT_EQ(run.code, 0);
  EXPECT_THAT(run.err, HasSubstr("no partial output"));
  EXPECT_TRUE(Contents(out_) == Whole());
}

TEST_F(Resume, WritesChangedBytesAgain) {
  Interrupt(Command());
  const uint64_t size = fs::file_size(Partial());
  for (uint64_t offset = 3; offset < size; offset += size / 40) Flip(Partial(), offset);
  ExpectResumedEqual();
}

TEST_F(Resume, DoesWithoutWhatIsDamagedInTheJournal) {
  Interrupt(Command());
  Flip(Journal(), 48 + 40 + 9);
  fs::resize_file(Journal(), fs::file_size(Journal()) - 13);
  ExpectResumedEqual();
  Interrupt(Command());
  Flip(Journal(), 20);
  ExpectResumedEqual();
  Interrupt(Command());
  fs::resize_file(Journal(), 11);
  ExpectResumedEqual();
  Interrupt(Command());
  fs::remove(Journal());
  ExpectResumedEqual();
  Interrupt(Command());
  fs::remove(Partial());
  ExpectResumedEqual();
  Interrupt(Command());
  fs::resize_file(Partial(), 100);
  ExpectResumedEqual();
}

TEST_F(Resume, RefusesThePartialFileOfAnotherPlanAndLeavesItThere) {
  Interrupt(Command());
  const auto other = RunQuern({"convert", kModel, "-t", "Q4_0", "-o", out_.string(), "--resume"});
  EXPECT_EQ(other.code, 3);
  EXPECT_THAT(other.err, HasSubstr("drop --resume"));
  ExpectResumedEqual();
}

TEST_F(Resume, RefusesAChangedSource) {
  const fs::path source = folder_.path() / "source.gguf";
  ASSERT_EQ(RunQuern({"convert", kModel, "-o", source.string()}).code, 0);
  const Arguments command = {"quantize", source.string(), "-t",       "Q2_K",
                             "-o",       out_.string(),   "--memory", "1M"};
  Interrupt(command);
  Flip(source, fs::file_size(source) / 2);
  const auto resumed = RunQuern(With(command, "--resume"));
  EXPECT_EQ(resumed.code, 3);
  EXPECT_THAT(resumed.err, HasSubstr("drop --resume"));
}

TEST_F(Resume, WithoutItALeftoverIsReplaced) {
  Interrupt(Command());
  Flip(Partial(), fs::file_size(Partial()) / 2);
  ASSERT_EQ(RunQuern(Command()).code, 0);
  EXPECT_TRUE(Contents(out_) == Whole());
  EXPECT_EQ(FilesIn(folder_.path()).size(), 1u);
}

TEST_F(Resume, CtrlCLeavesTheWorkOnlyToARunThatIsToBeResumed) {
  Interrupt(With(Command(), "--resume"), SIGINT);
  EXPECT_TRUE(fs::exists(Partial()) && fs::exists(Journal()));
  EXPECT_THAT(Contents(temp_.path() / "e"), HasSubstr("interrupted; the same command"));
  ExpectResumedEqual();
  Interrupt(Command(), SIGINT);
  EXPECT_TRUE(FilesIn(folder_.path()).empty());
}

// A kill between the names of two files: the first is there, its journal still beside it.
TEST_F(Resume, TakesBackAFileThatHadItsNameAlready) {
  Interrupt(Command());
  const std::string journal = Contents(Journal());
  ExpectResumedEqual();
  fs::remove(Journal());
  std::ofstream(Journal(), std::ios::binary) << journal;
  ExpectResumedEqual();
}

// A kill while the journals of finished files go: that of the first goes last.
TEST_F(Resume, TakesBackAllFilesOfARunWhoseFirstJournalIsLeft) {
  const Arguments two = {"convert",  kModel, "-t", "Q2_K",
                         "-t",       "Q8_0", "-o", (folder_.path() / "{type}.gguf").string(),
                         "--memory", "1M"};
  const fs::path first = folder_.path() / "Q2_K.gguf.partial.journal";
  const fs::path finished = folder_.path() / "Q8_0.gguf";
  std::string journal;
  while (journal.size() < 48) {
    for (const auto& entry : fs::directory_iterator(folder_.path())) fs::remove(entry);
    const pid_t pid = testing::StartQuern(two, temp_.path() / "o", temp_.path() / "e");
    while (!fs::exists(first) && !fs::exists(finished)) std::this_thread::yield();
    ::kill(pid, SIGSTOP);
    if (!fs::exists(finished)) journal = Contents(first);
    ::kill(pid, SIGKILL);
    Wait(pid);
  }
  ASSERT_EQ(RunQuern(With(two, "--resume")).code, 0);
  const auto whole = FilesIn(folder_.path());
  EXPECT_EQ(whole.size(), 2u);
  std::ofstream(first, std::ios::binary) << journal;
  const auto resumed = RunQuern(With(two, "--resume"));
  EXPECT_EQ(resumed.code, 0) << resumed.err;
  EXPECT_TRUE(FilesIn(folder_.path()) == whole);
}

TEST_F(Resume, NeverTakesAFileOfAnotherRunForItsOwn) {
  Interrupt(Command());
  fs::remove(Partial());
  std::ofstream(out_) << "precious";
  EXPECT_EQ(RunQuern(With(Command(), "--resume")).code, 4);
  EXPECT_EQ(Contents(out_), "precious");
}

// kill -9 at random moments of runs with several outputs in shards, the resumed runs too.
TEST(ResumeSlow, TwentyKilledRunsGiveTheBytesOfAWholeOne) {
  const TempFolder temp, expected_folder, folder;
  const auto command = [&](const fs::path& to, bool resume) {
    Arguments arguments = {"convert",
                           kModel,
                           "-t",
                           "Q4_K_M",
                           "-t",
                           "Q2_K",
                           "-t",
                           "Q8_0",
                           "-o",
                           (to / "{type}.gguf").string(),
                           "--split-max-tensors",
                           "17",
                           "--memory",
                           "1M"};
    if (resume) arguments.push_back("--resume");
    return arguments;
  };
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(RunQuern(command(expected_folder.path(), false)).code, 0);
  std::chrono::duration<double> whole = std::chrono::steady_clock::now() - begin;
  const auto expected = FilesIn(expected_folder.path());
  ASSERT_GT(expected.size(), 6u);
  std::mt19937 random(7);
  // Kills a run at a random moment; runs get shorter or longer with what else the machine does.
  const auto kill_one = [&](bool resume) {
    const pid_t pid =
        testing::StartQuern(command(folder.path(), resume), temp.path() / "o", temp.path() / "e");
    std::this_thread::sleep_for(whole * (random() % 1000) / 1000);
    ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    const bool killed = WIFSIGNALED(status);
    whole *= killed ? 1.1 : 0.8;
    return killed;
  };
  for (int i = 0; i < 20;) {
    for (const auto& entry : fs::directory_iterator(folder.path())) fs::remove(entry);
    bool killed = kill_one(false);
    for (int again = 0; killed && again < i % 3; ++again) killed = kill_one(true);
    for (const auto& [name, bytes] : FilesIn(folder.path())) {
      if (!name.ends_with(".gguf")) continue;
      EXPECT_TRUE(bytes == expected.at(name)) << name;
    }
    if (!killed) continue;  // this one was faster
    // Killed after its last act, it has no journals, and its outputs must not be written over.
    const bool finished = FilesIn(folder.path()) == expected;
    const auto resumed = RunQuern(command(folder.path(), true));
    EXPECT_EQ(resumed.code, finished ? 4 : 0) << "run " << i << ": " << resumed.err;
    EXPECT_TRUE(FilesIn(folder.path()) == expected) << "run " << i;
    ++i;
  }
}

// A tmpfs of this test's own; absent where mounting is not permitted.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& size) {
    mounted_ = ::unshare(CLONE_NEWNS) == 0 &&
               ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
               ::mount("quern", folder_.path().c_str(), "tmpfs", 0, ("size=" + size).c_str()) == 0;
  }
  ~SmallDisk() {
    if (mounted_) ::umount2(folder_.path().c_str(), MNT_DETACH);
  }
  bool mounted() const { return mounted_; }
  const fs::path& path() const { return folder_.path(); }

 private:
  TempFolder folder_;
  bool mounted_ = false;
};

TEST(FullDisk, IsFoundBeforeAByteIsWrittenForAllOutputsTogether) {
  const SmallDisk disk("12m");
  if (!disk.mounted()) GTEST_SKIP() << "mounting is not permitted here";
  const std::string out = (disk.path() / "{type}.gguf").string();
  ASSERT_EQ(RunQuern({"convert", kModel, "-t", "Q8_0", "-o", out}).code, 0);
  fs::remove(disk.path() / "Q8_0.gguf");
  const auto two = RunQuern({"convert", kModel, "-t", "Q8_0", "-t", "F16", "-o", out});
  EXPECT_EQ(two.code, 4);
  EXPECT_THAT(two.err, HasSubstr("nothing was written"));
  EXPECT_TRUE(fs::is_empty(disk.path()));
}

TEST(FullDisk, ThatFillsUpLaterEndsTheRunWithoutOutput) {
  const SmallDisk disk("12m");
  if (!disk.mounted()) GTEST_SKIP() << "mounting is not permitted here";
  const TempFolder temp;
  const fs::path out = disk.path() / "out.gguf";
  for (const bool resume : {false, true}) {
    // Whoever else writes there takes the space while the run stands still.
    Arguments arguments = {"convert", kModel, "-t", "Q8_0", "-o", out.string(), "--memory", "1M"};
    if (resume) arguments.push_back("--resume");
    const pid_t pid = testing::StartQuern(arguments, temp.path() / "o", temp.path() / "e");
    while (!fs::exists(out.string() + ".partial.journal")) std::this_thread::yield();
    ::kill(pid, SIGSTOP);
    std::ofstream(disk.path() / "other") << std::string(16 << 20, 'x') << std::flush;
    ::kill(pid, SIGCONT);
    int status = 0;
    ::waitpid(pid, &status, 0);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 4);
    EXPECT_THAT(Contents(temp.path() / "e"), HasSubstr("No space left"));
    EXPECT_FALSE(fs::exists(out));
    EXPECT_EQ(fs::exists(out.string() + ".partial"), resume);
    fs::remove(disk.path() / "other");
  }
  EXPECT_EQ(RunQuern({"convert", kModel, "-t", "Q8_0", "-o", out.string(), "--resume"}).code, 0);
}

// A limit on the size of files stands for a disk that takes no more, where nothing can be mounted.
TEST(FullDisk, AFileThatMayNotGrowEndsTheRunWithoutOutput) {
  const TempFolder folder;
  rlimit before = {};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit small = {1 << 20, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &small);
  const auto outcome =
      RunQuern({"convert", kModel, "-t", "Q8_0", "-o", (folder.path() / "out.gguf").string()});
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(outcome.code, 4) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("File too large"));
  EXPECT_TRUE(fs::is_empty(folder.path()));
}

}  // namespace
}  // namespace quern
