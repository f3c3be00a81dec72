// What llama-quantize does with an importance matrix: which values a tensor gets, which entries are
// left out, what the output's metadata says. Files: formats/imatrix/imatrix_reader.h.
#ifndef QUERN_QUANT_IMATRIX_H_
#define QUERN_QUANT_IMATRIX_H_

#include <span>
#include <string>
#include <string_view>

#include "formats/core/metadata.h"
#include "formats/imatrix/imatrix_reader.h"
#include "quant/recipe.h"

namespace quern::quant {

using formats::imatrix::Imatrix;

// The importance of each column, one row of values per matrix of the tensor (experts); empty where
// the tensor is to be quantized without. Only for tensors whose type changes. Throws kMismatch
// where the entry has another size (a token embedding's is ignored then), kMissing where
// choice.requires_imatrix and there is no entry.
std::span<const float> ImportanceOf(const Imatrix& imatrix, const RecipeTensor& tensor,
                                    const TypeChoice& choice);

// --include-weights keeps the entries whose name contains one of `include`, --exclude-weights drops
// those whose name contains one of `exclude`. Throws kUsage where both are given.
void FilterImatrix(std::span<const std::string> include, std::span<const std::string> exclude,
                   Imatrix& imatrix);

// Appends quantize.imatrix.{file, dataset, entries_count, chunks_count}: texts are cut to 127
// bytes, dataset is the first one, what is not known is left out. To be done after
// general.quantization_version and general.file_type.
void AddImatrixMetadata(std::string_view file, const Imatrix& imatrix, Metadata& metadata);

}  // namespace quern::quant

#endif  // QUERN_QUANT_IMATRIX_H_
