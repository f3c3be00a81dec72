// Checks a file that an executor has written against its plan.
#ifndef QUERN_VERIFY_WRITTEN_H_
#define QUERN_VERIFY_WRITTEN_H_

#include <filesystem>

#include "converters/plan.h"

namespace quern::verify {

// Reads file `file` of the plan back: size, header bytes, and the structure as the GGUF parser sees
// it (every tensor at its offset with its type and shape). Throws kMismatch naming the first
// difference, or what the parser throws.
void CheckWritten(const std::filesystem::path& path, const converters::OutputModel& model,
                  const converters::WritePlan& plan, size_t file);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_WRITTEN_H_
