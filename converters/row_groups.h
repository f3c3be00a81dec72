// Rows in equal groups: how projections that a checkpoint joins are taken apart and put together.
#ifndef QUERN_CONVERTERS_ROW_GROUPS_H_
#define QUERN_CONVERTERS_ROW_GROUPS_H_

#include <cstdint>

#include "converters/expression.h"

namespace quern::converters {

// Rows that come as groups of `parts` parts, one group after the other, sorted by part: all groups'
// first parts, then all second parts, ... (GPT-NeoX keeps q, k and v together per head.) With the
// two numbers exchanged it is its own inverse. Throws kBadShape.
Expression Ungroup(Expression input, uint64_t groups, uint64_t parts);

// Rows [first, first + rows) of each of `groups` equal runs of rows. Throws kBadShape.
Expression Slice(Expression input, uint64_t groups, uint64_t first, uint64_t rows);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_ROW_GROUPS_H_
