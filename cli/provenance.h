// convert and quantize --manifest FILE: what went in and what came out (verify/provenance.h).
#ifndef QUERN_CLI_PROVENANCE_H_
#define QUERN_CLI_PROVENANCE_H_

#include <span>
#include <string>

#include "cli/command.h"
#include "converters/executor.h"
#include "formats/core/model.h"

namespace quern::cli {

// After the outputs are there: hashes them, the source's files and the files that options name.
void WriteProvenance(const std::string& path, const ModelSource& source,
                     const std::string& architecture, std::span<const converters::Job> jobs,
                     const CommonOptions& common);

}  // namespace quern::cli

#endif  // QUERN_CLI_PROVENANCE_H_
