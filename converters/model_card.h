// The way back: from general.* to a model card and to generation_config.json.
//
// README.md with the front matter that naming.h reads these keys from, and nothing else: what a
// model is, its makers know. Keys that no card has a place for (general.url, ...) are noted.
#ifndef QUERN_CONVERTERS_MODEL_CARD_H_
#define QUERN_CONVERTERS_MODEL_CARD_H_

#include <string>
#include <vector>

#include "converters/tokenizer/tokenizer_export.h"
#include "formats/core/metadata.h"

namespace quern::converters {

// The files that have something to say.
std::vector<SideFile> ExportModelCard(const Metadata& metadata, std::vector<std::string>& notes);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_MODEL_CARD_H_
