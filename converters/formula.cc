#include "converters/formula.h"

#include <charconv>
#include <cmath>
#include <string>

#include "formats/core/error.h"

namespace quern::converters {
namespace {

constexpr size_t kMaxFormulaBytes = 500;  // which bounds the recursion

bool IsNameByte(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '.' || c == '$';
}

class Parser {
 public:
  Parser(std::string_view formula, const NumberOf& number_of)
      : formula_(formula), rest_(formula), number_of_(number_of) {}

  double Run() {
    if (formula_.size() > kMaxFormulaBytes) Fail("is longer than 500 bytes");
    const double value = Sum();
    SkipSpace();
    if (!rest_.empty()) Fail("has text after its end");
    if (!std::isfinite(value)) Impossible("has no finite value");
    return value;
  }

 private:
  [[noreturn]] void Fail(const std::string& what) const {
    throw Error(ErrorCode::kBadText, {{}, {}, Printable(formula_)},
                "this formula " + what +
                    "; it may hold numbers, names, + - * / //, parentheses, int(), sqrt(), log()");
  }
  [[noreturn]] void Impossible(const std::string& what) const {
    throw Error(ErrorCode::kBadValue, {{}, {}, Printable(formula_)},
                "this formula " + what + "; check the model's config");
  }

  void SkipSpace() { rest_.remove_prefix(std::min(rest_.find_first_not_of(' '), rest_.size())); }

  bool Take(std::string_view token) {
    SkipSpace();
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }

  double Sum() {
    double value = Product();
    while (true) {
      if (Take("+")) {
        value += Product();
      } else if (Take("-")) {
        value -= Product();
      } else {
        return value;
      }
    }
  }

  double Product() {
    double value = Factor();
    while (true) {
      if (Take("*")) {
        value *= Factor();
      } else if (const bool floor = Take("//"); floor || Take("/")) {
        const double divisor = Factor();
        if (divisor == 0) Impossible("divides by zero");
        value = floor ? std::floor(value / divisor) : value / divisor;
      } else {
        return value;
      }
    }
  }

  double Parenthesized() {
    const double value = Sum();
    if (!Take(")")) Fail("lacks a closing parenthesis");
    return value;
  }

  double Factor() {
    if (Take("-")) return -Factor();
    if (Take("(")) return Parenthesized();
    SkipSpace();
    size_t length = 0;
    while (length < rest_.size() && IsNameByte(rest_[length])) ++length;
    if (length == 0) Fail("lacks a number or name");
    const std::string_view word = rest_.substr(0, length);
    rest_.remove_prefix(length);
    if (word[0] >= '0' && word[0] <= '9') return Number(word);
    if (Take("(")) return Function(word, Parenthesized());
    return number_of_(word);
  }

  double Number(std::string_view word) const {
    double value = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), value);
    if (error != std::errc{} || end != word.data() + word.size()) Fail("has a malformed number");
    return value;
  }

  double Function(std::string_view name, double argument) const {
    if (name == "int") return std::trunc(argument);
    if (name == "sqrt") return std::sqrt(argument);
    if (name == "log") return std::log(argument);
    Fail("calls an unknown function");
  }

  std::string_view formula_, rest_;
  const NumberOf& number_of_;
};

}  // namespace

double EvaluateFormula(std::string_view formula, const NumberOf& number_of) {
  return Parser(formula, number_of).Run();
}

}  // namespace quern::converters
