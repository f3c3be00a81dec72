// Ctrl-C and SIGTERM end a run between two slabs, so that no partial file stays behind
// unless it is to be resumed.
#ifndef QUERN_CLI_INTERRUPT_H_
#define QUERN_CLI_INTERRUPT_H_

namespace quern::cli {

void CatchInterrupts();

// What an interrupted run leaves: kPartial for runs that keep their output for --resume, kText for
// those that print while they work.
enum class Leaves { kNothing, kPartial, kText };

// Throws kIo after a signal has come, saying what becomes of the output.
void ThrowIfInterrupted(Leaves leaves = Leaves::kNothing);

}  // namespace quern::cli

#endif  // QUERN_CLI_INTERRUPT_H_
