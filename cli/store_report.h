// What `quern inspect` says of an Ollama store and of a model in one.
#ifndef QUERN_CLI_STORE_REPORT_H_
#define QUERN_CLI_STORE_REPORT_H_

#include "cli/command.h"
#include "formats/core/json.h"
#include "formats/ollama/stored_model.h"

namespace quern::cli {

// {manifest, config, layers: [{kind, digest, bytes, ...}], template, system, parameters, messages,
// licenses}; texts are whole.
Json StoredToJson(const formats::ollama::StoredModel& model);

// The same for people; without `full` of each license its first lines.
void PrintStored(const formats::ollama::StoredModel& model, bool full);

// The models of a store with their sizes. A manifest that cannot be read is listed with its error.
void ListStore(const formats::ollama::Store& store, const CommonOptions& common);

}  // namespace quern::cli

#endif  // QUERN_CLI_STORE_REPORT_H_
