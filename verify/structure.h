// The structure of model files: what a reader would refuse, what llama.cpp would miss, and what is
// no model at all.
//
// Readers validate headers, offsets, overlaps, holes, alignment, truncation, tokenizer arrays and
// sets of shards when they open; their errors become problems here. Beside that: files in place of
// weights (an HTML page, a git-LFS pointer, nothing), keys and layers that the architecture needs.
// NaN and infinity are looked for when CheckList::Run() reads the data.
#ifndef QUERN_VERIFY_STRUCTURE_H_
#define QUERN_VERIFY_STRUCTURE_H_

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/model.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/reader.h"
#include "verify/check_list.h"

namespace quern::verify {

// Whether a file by this name would hold weights: .gguf, .safetensors, .bin, .pth, ...
bool IsWeightFileName(const std::filesystem::path& path);

// Reports a file that is an HTML page or empty, and a git-LFS pointer unless `allow_pointer`.
// Returns whether it is any of the three.
bool ReportNotWeights(const std::filesystem::path& path, bool allow_pointer, CheckList& list);

// Opens one model (a file, a set of shards, a folder), reports what is wrong and adds its files
// with their tensors to `list`. What quern understands and does not support is a note. Returns
// whether it could be opened.
bool CheckModel(const std::filesystem::path& path, const formats::OpenOptions& options,
                CheckList& list);

// A split GGUF of which every part is named, as CheckModel() checks a model.
bool CheckGgufSet(const std::filesystem::path& named, const std::vector<formats::gguf::Part>& parts,
                  CheckList& list);

// Whether a GGUF is one of several that make a model; of such a one, only its header says something
// by itself. Throws what reading the header throws.
bool IsGgufShard(const std::filesystem::path& path);

// A model in a file whose name says nothing, a blob: a GGUF that is a shard (its set cannot be
// found) by its header, everything else as CheckModel() does.
bool CheckNamelessModel(const std::filesystem::path& path, const formats::OpenOptions& options,
                        CheckList& list);

// One .safetensors file by itself, without the config beside it.
bool CheckSafetensors(const std::filesystem::path& path, CheckList& list);

// Keys and layers of a GGUF model, as llama.cpp would miss them.
void CheckGgufKeys(const ModelSource& source, CheckList& list);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_STRUCTURE_H_
