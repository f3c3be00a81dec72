// quern: the command line. Exit codes: 0 done, 1 a check failed, 2 usage, 3 bad input, 4 I/O,
// 5 unsupported.
#include <fmt/format.h>

#include <cstdio>
#include <new>
#include <system_error>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "formats/core/error.h"

namespace {

constexpr int kExitUsage = 2;
constexpr int kExitIo = 4;

// An earlier write may have failed too: the stream remembers it.
int CheckOutput(int code) {
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return code;
  quern::cli::WriteToStderr(
      "quern: standard output: cannot take all that was printed; free space there and run it "
      "again\n");
  return kExitIo;
}

int RunProgram(quern::cli::Program& program) {
  using quern::cli::WriteToStderr;
  try {
    return CheckOutput(program.run());
  } catch (const quern::Error& error) {
    WriteToStderr(fmt::format("quern: {}\n", error.what()));
    return quern::ExitCode(error.code());
  } catch (const std::bad_alloc&) {
    WriteToStderr("quern: out of memory; try --memory with a smaller size\n");
    return kExitIo;
  } catch (const std::system_error& error) {  // fmt::print throws it for a failed write
    WriteToStderr(fmt::format("quern: {}\n", error.what()));
    return kExitIo;
  } catch (const std::exception& error) {
    WriteToStderr(fmt::format("quern: unexpected: {}\n", error.what()));
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
    return app.exit(error) == 0 ? CheckOutput(0) : kExitUsage;
  }
  quern::cli::CatchInterrupts();
  return RunProgram(program);
}
