// The fingerprint that tells whether a partial file belongs to the run that is to continue it.
#ifndef QUERN_CONVERTERS_RUN_IDENTITY_H_
#define QUERN_CONVERTERS_RUN_IDENTITY_H_

#include "converters/journal.h"
#include "converters/output_model.h"
#include "converters/plan.h"
#include "formats/core/model.h"

namespace quern::converters {

// SHA-256 over everything that decides the bytes of file `file` of the plan: the library's version;
// the file's header (metadata, names, types, shapes, offsets) and size; of each of its tensors the
// expression with its constants, the intermediate precision and the importance; and the source's
// data files. Of those it takes size, modification time and three samples of 4 KiB (start, middle,
// end), not the path: a model may move between two runs, and reading all of it would cost as much
// as half a run. Threads and memory do not count.
Identity IdentityOf(const ModelSource& source, const OutputModel& model, const WritePlan& plan,
                    size_t file);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_RUN_IDENTITY_H_
