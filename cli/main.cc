// quern: the command line. Exit codes: 0 done, 1 a check failed, 2 usage, 3 bad input, 4 I/O,
// 5 unsupported.
#include <fmt/format.h>

#include <cstdio>
#include <new>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "formats/core/error.h"

namespace {

constexpr int kExitUsage = 2;
constexpr int kExitIo = 4;

int RunProgram(quern::cli::Program& program) {
  try {
    const int code = program.run();
    if (std::fflush(stdout) != 0) {
      fmt::print(stderr, "quern: cannot write to standard output\n");
      return kExitIo;
    }
    return code;
  } catch (const quern::Error& error) {
    fmt::print(stderr, "quern: {}\n", error.what());
    return quern::ExitCode(error.code());
  } catch (const std::bad_alloc&) {
    fmt::print(stderr, "quern: out of memory; try --memory with a smaller size\n");
    return kExitIo;
  }
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("quern grinds language models: convert, quantize and check them.", "quern");
  app.set_version_flag("--version", "quern " QUERN_VERSION);
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer("Exit codes: 0 done, 1 a check failed, 2 usage, 3 bad input, 4 I/O, 5 unsupported.");

  quern::cli::Program program;
  quern::cli::AddConvert(app, program);
  quern::cli::AddQuantize(app, program);
  quern::cli::AddSplitMerge(app, program);
  quern::cli::AddExport(app, program);
  quern::cli::AddImport(app, program);
  quern::cli::AddInspect(app, program);
  quern::cli::AddVerify(app, program);
  quern::cli::AddHash(app, program);
  quern::cli::AddDiff(app, program);
  quern::cli::AddPerplexity(app, program);
  quern::cli::AddDrift(app, program);
  quern::cli::AddImatrix(app, program);
  quern::cli::AddGenerate(app, program);
  quern::cli::AddTokenize(app, program);
  quern::cli::AddLists(app, program);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kExitUsage;
  }
  quern::cli::CatchInterrupts();
  return RunProgram(program);
}
