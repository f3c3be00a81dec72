// Ctrl-C and SIGTERM end a run between two slabs, so that no partial file stays behind
// unless it is to be resumed.
#ifndef QUERN_CLI_INTERRUPT_H_
#define QUERN_CLI_INTERRUPT_H_

namespace quern::cli {

void CatchInterrupts();

// Throws kIo after a signal has come, saying what becomes of the output: `leaves_partial` for runs
// that keep it for --resume.
void ThrowIfInterrupted(bool leaves_partial = false);

}  // namespace quern::cli

#endif  // QUERN_CLI_INTERRUPT_H_
