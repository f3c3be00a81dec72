// Names that a user may have meant.
#ifndef QUERN_CONVERTERS_NEAREST_H_
#define QUERN_CONVERTERS_NEAREST_H_

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace quern::converters {

// Edits (insert, delete, replace a byte) from one text to the other.
size_t EditDistance(std::string_view a, std::string_view b);

// At most `count` of `names`, nearest first, ties in the order given; a name that shares less than
// half of itself with `name` is left out.
std::vector<std::string> NearestNames(std::string_view name, std::span<const std::string> names,
                                      size_t count);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_NEAREST_H_
