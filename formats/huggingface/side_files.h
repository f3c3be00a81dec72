// The small files beside the weights in a Hugging Face folder: config, tokenizer, model card.
//
// Found here, read where they are needed. A name counts as soon as it stands in the folder: a link
// that leads nowhere (a pruned cache) is an error where it is opened, never an absent file. A
// git-LFS pointer stands for its object where the clone has it.
#ifndef QUERN_FORMATS_HUGGINGFACE_SIDE_FILES_H_
#define QUERN_FORMATS_HUGGINGFACE_SIDE_FILES_H_

#include <filesystem>
#include <set>
#include <string>
#include <string_view>

#include "formats/core/json.h"
#include "formats/core/model.h"

namespace quern::formats::huggingface {

// Names of all entries of `folder` that are no folders themselves (links that lead nowhere
// included). Throws kIo where the folder cannot be listed.
std::set<std::string> ListFiles(const std::filesystem::path& folder);

// Whether a file of this name is a side file.
bool IsSideFile(std::string_view name);

// The side files in `folder` (empty: the current one), and the additional templates as
// "chat_templates/NAME.jinja".
SideFiles FindSideFiles(const std::filesystem::path& folder);

// config.json as it is (a nested text_config stays nested); null where there is none. Throws
// kBadText, kBadType where it is no JSON object, and what ReadJsonFile throws.
Json ReadConfig(const SideFiles& side_files);

}  // namespace quern::formats::huggingface

#endif  // QUERN_FORMATS_HUGGINGFACE_SIDE_FILES_H_
