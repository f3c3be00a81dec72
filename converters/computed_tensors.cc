#include "converters/computed_tensors.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "formats/core/error.h"

namespace quern::converters {

std::vector<float> Llama3RopeFactors(const Hyperparameters& h) {
  const auto number = [&](const char* name, double otherwise) {
    return h.Find(name) ? h.Number(name) : otherwise;
  };
  const double dimensions =
      h.Find("head_dim") ? h.Number("head_dim")
                         : std::floor(h.Number("hidden_size") / h.Number("num_attention_heads"));
  const auto base = static_cast<float>(number("$rope.rope_theta", 10000));
  const double low = number("$rope.low_freq_factor", 1), high = number("$rope.high_freq_factor", 4);
  const auto factor = static_cast<float>(number("$rope.factor", 8));
  // llama.cpp reads this from the top level, where few models have it.
  const double context = number("original_max_position_embeddings", 8192);
  if (!(dimensions >= 2 && dimensions <= 65536) || low <= 0 || high <= 0 || low == high) {
    throw Error(ErrorCode::kBadValue, {h.file(), {}, "rope_scaling"},
                "the llama3 scaling's factors or the head size make no sense; correct the config");
  }
  std::vector<float> factors;
  for (int i = 0; i < static_cast<int>(dimensions); i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(dimensions);
    const float frequency = 1.0f / std::pow(base, exponent);
    const float wavelength = (1.0f / frequency) * static_cast<float>(2 * std::numbers::pi);
    if (wavelength < static_cast<float>(context / high)) {
      factors.push_back(1.0f);
    } else if (wavelength > static_cast<float>(context / low)) {
      factors.push_back(factor);
    } else {
      const float smooth =
          ((1.0f / wavelength) * static_cast<float>(context) - static_cast<float>(low)) /
          static_cast<float>(high - low);
      factors.push_back(1.0f / ((1.0f - smooth) / factor + smooth));
    }
  }
  return factors;
}

std::vector<float> ListedValues(const TensorRule& rule, const Hyperparameters& h) {
  const std::string& name = rule.sources.at(0);
  const auto list = h.Find(name);
  if (!list || !list->is_array()) {
    throw Error(
        ErrorCode::kMissing, {h.file(), {}, name},
        fmt::format("must be a list of numbers, for {}; add it to the config", rule.target));
  }
  std::vector<float> values;
  for (const auto& item : *list) {
    if (!item.is_number()) {
      throw Error(ErrorCode::kBadValue, {h.file(), {}, name},
                  fmt::format("{} is no number; correct the config", Printable(item.dump())));
    }
    values.push_back(static_cast<float>(item.get<double>()));
  }
  return values;
}

}  // namespace quern::converters
