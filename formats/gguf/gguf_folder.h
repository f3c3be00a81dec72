// A folder that holds one GGUF model and no other weights, as LM Studio, Jan and hub caches of GGUF
// repositories keep them: ORG/REPO/*.gguf.
//
// The model is the only *.gguf, or the only split set. Projectors (names with "mmproj") and
// importance matrices (names with "imatrix") beside it are not the model. Several models are
// kUsage, listed. A folder with safetensors or PyTorch weights is no such folder.
#ifndef QUERN_FORMATS_GGUF_GGUF_FOLDER_H_
#define QUERN_FORMATS_GGUF_GGUF_FOLDER_H_

#include <filesystem>

#include "formats/reader.h"

namespace quern::formats::gguf {

// The file of the model in `folder`; of a split set, its first part that is there. Throws kUsage
// where there are several, kMissing where there is none.
std::filesystem::path ModelInFolder(const std::filesystem::path& folder);

// List this format before those that take a folder for its config or tokenizer.
extern const FormatInfo kFolderFormat;

}  // namespace quern::formats::gguf

#endif  // QUERN_FORMATS_GGUF_GGUF_FOLDER_H_
