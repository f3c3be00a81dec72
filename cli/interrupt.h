// Ctrl-C and SIGTERM end a run between two slabs, so that no partial file stays behind
// unless it is to be resumed.
#ifndef QUERN_CLI_INTERRUPT_H_
#define QUERN_CLI_INTERRUPT_H_

namespace quern::cli {

void CatchInterrupts();

// Throws kIo after a signal has come. `resume`: the run leaves its partial output.
void ThrowIfInterrupted(bool resume);

}  // namespace quern::cli

#endif  // QUERN_CLI_INTERRUPT_H_
