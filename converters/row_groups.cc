#include "converters/row_groups.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "formats/core/error.h"

namespace quern::converters {

Expression Ungroup(Expression input, uint64_t groups, uint64_t parts) {
  const uint64_t rows = input.shape.empty() ? 0 : input.shape[0];
  if (groups == 0 || rows % groups != 0 || rows / groups % parts != 0) {
    throw Error(ErrorCode::kBadShape, {{}, {}, Describe(input)},
                fmt::format("{} rows do not hold {} groups of {} equal parts; check the head "
                            "count in the model's config",
                            rows, groups, parts));
  }
  const uint64_t part_rows = rows / groups / parts;
  std::vector<Expression> pieces;
  for (uint64_t part = 0; part < parts; ++part) {
    for (uint64_t group = 0; group < groups; ++group) {
      pieces.push_back(Rows(input, (group * parts + part) * part_rows, part_rows));
    }
  }
  return Concat(std::move(pieces));
}

Expression Slice(Expression input, uint64_t groups, uint64_t first, uint64_t rows) {
  const uint64_t all = input.shape.empty() ? 0 : input.shape[0];
  if (groups == 0 || all % groups != 0) {
    throw Error(ErrorCode::kBadShape, {{}, {}, Describe(input)},
                fmt::format("{} rows do not hold {} equal groups; check the head counts in the "
                            "model's config",
                            all, groups));
  }
  const uint64_t group_rows = all / groups;
  if (first > group_rows || rows > group_rows - first) {
    throw Error(ErrorCode::kBadShape, {{}, {}, Describe(input)},
                fmt::format("groups of {} rows have no rows {} to {}; check the head counts in "
                            "the model's config",
                            group_rows, first, first + rows));
  }
  std::vector<Expression> pieces;
  for (uint64_t group = 0; group < groups; ++group) {
    pieces.push_back(Rows(input, group * group_rows + first, rows));
  }
  return pieces.size() == 1 ? std::move(pieces[0]) : Concat(std::move(pieces));
}

}  // namespace quern::converters
