// Runs the built program and returns what it said.
#ifndef QUERN_TESTS_CLI_RUN_QUERN_H_
#define QUERN_TESTS_CLI_RUN_QUERN_H_

#include <fcntl.h>
#include <spawn.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/support/fixtures.h"

extern char** environ;

namespace quern::testing {

struct Outcome {
  int code = -1;  // exit code, or -signal
  std::string out;
  std::string err;
  long peak_kib = 0;  // largest resident size
};

inline pid_t StartQuern(std::vector<std::string> arguments, const std::filesystem::path& out,
                        const std::filesystem::path& err,
                        const std::filesystem::path& folder = "/") {
  arguments.insert(arguments.begin(), QUERN_PROGRAM);
  std::vector<char*> argv;
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, out.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addopen(&actions, 2, err.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
  posix_spawn_file_actions_addchdir_np(&actions, folder.c_str());
  pid_t pid = -1;
  const int failed = posix_spawn(&pid, QUERN_PROGRAM, &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  EXPECT_EQ(failed, 0);
  return pid;
}

inline std::string Contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string((std::istreambuf_iterator<char>(file)), {});
}

// Runs `quern ARGUMENTS` in `folder`.
inline Outcome RunQuern(const std::vector<std::string>& arguments,
                        const std::filesystem::path& folder = "/") {
  const TempFolder temp;
  const pid_t pid = StartQuern(arguments, temp.path() / "out", temp.path() / "err", folder);
  int status = 0;
  rusage usage = {};
  ::wait4(pid, &status, 0, &usage);
  Outcome outcome;
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  outcome.out = Contents(temp.path() / "out");
  outcome.err = Contents(temp.path() / "err");
  outcome.peak_kib = usage.ru_maxrss;
  return outcome;
}

}  // namespace quern::testing

#endif  // QUERN_TESTS_CLI_RUN_QUERN_H_
