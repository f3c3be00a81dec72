// Arithmetic in architecture files: "int(partial_rotary_factor * hidden_size) // heads".
//
// Numbers, names, + - * / // (floor), parentheses, int() (toward zero), sqrt() and log(); in
// double, as Python computes with the numbers of a config.json.
#ifndef QUERN_CONVERTERS_FORMULA_H_
#define QUERN_CONVERTERS_FORMULA_H_

#include <functional>
#include <string_view>

namespace quern::converters {

// Value of a name; throws where there is none.
using NumberOf = std::function<double(std::string_view name)>;

// Throws kBadText (subject: the formula) where it cannot be parsed, kBadValue where it divides by
// zero or is not finite.
double EvaluateFormula(std::string_view formula, const NumberOf& number_of);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_FORMULA_H_
