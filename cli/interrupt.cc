#include "cli/interrupt.h"

#include <csignal>

#include "formats/core/error.h"

namespace quern::cli {
namespace {

volatile std::sig_atomic_t g_interrupted = 0;

// A second signal ends the program at once, should it be stuck.
void OnSignal(int number) {
  g_interrupted = 1;
  std::signal(number, SIG_DFL);
}

const char* Message(Leaves leaves) {
  switch (leaves) {
    case Leaves::kNothing:
      return "interrupted; no output was left behind";
    case Leaves::kPartial:
      return "interrupted; the same command goes on from here";
    case Leaves::kText:
      return "interrupted; the text is incomplete";
  }
  return "";
}

}  // namespace

void CatchInterrupts() {
  std::signal(SIGINT, OnSignal);
  std::signal(SIGTERM, OnSignal);
  // A limit on the size of files is an error of the write then, as a full disk is.
  std::signal(SIGXFSZ, SIG_IGN);
}

void ThrowIfInterrupted(Leaves leaves) {
  if (g_interrupted) throw Error(ErrorCode::kIo, {}, Message(leaves));
}

}  // namespace quern::cli
