// Changes that a user asks for: metadata keys overridden, layers left out.
//
// What llama-quantize's --override-kv and --prune-layers do, with the same bytes, but strictly:
// what llama-quantize guesses at (a number that is none, a layer that is not there) is an error.
// Non-goals: whether the changed model makes sense to whoever loads it.
#ifndef QUERN_CONVERTERS_MODEL_EDITS_H_
#define QUERN_CONVERTERS_MODEL_EDITS_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "converters/output_model.h"
#include "formats/core/metadata.h"

namespace quern::converters {

// "KEY=TYPE:VALUE". TYPE is int (stored as u32), float (f32), bool ("true" or "false") or str.
// Throws kUsage for anything else, and for numbers that the stored type cannot hold.
Metadata::Entry ParseKeyOverride(std::string_view text);

// Throws kUsage where a key is overridden twice: llama.cpp would use one value and store the other.
void RequireDistinctKeys(std::span<const Metadata::Entry> overrides);

// Each key is removed where it is and appended, in order.
void OverrideKeys(std::span<const Metadata::Entry> overrides, Metadata& metadata);

// "0,3,7". Throws kUsage for what is no list of numbers and for a number that is there twice.
std::vector<uint32_t> ParseLayers(std::string_view text);

// Drops the tensors of these layers ("blk.N.") and gives the layers behind them the numbers that
// became free. Sets layers_left, and unpruned_name where a name changes. Throws kUsage for a layer
// that is not there, and where none would be left.
void PruneLayers(std::span<const uint32_t> layers, OutputModel& model);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_MODEL_EDITS_H_
