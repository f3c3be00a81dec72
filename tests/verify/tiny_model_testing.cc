#include "tests/verify/tiny_model_testing.h"

#include <cstring>
#include <memory>
#include <random>

#include "tests/converters/fake_source.h"

namespace quern::verify {
namespace {

using converters::NormKind;
using converters::NormPlace;
using converters::Presence;
using converters::RopeStyle;

class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(seed) {}

  void Add(TinyTensors& tensors, const std::string& name, Shape shape, double mean, double spread) {
    size_t count = 1;
    for (const uint64_t dim : shape) count *= dim;
    std::normal_distribution<float> normal(static_cast<float>(mean), static_cast<float>(spread));
    std::vector<float> values(count);
    for (float& value : values) value = normal(random_);
    tensors[name] = {std::move(shape), std::move(values)};
  }
  void Linear(TinyTensors& tensors, const std::string& name, uint64_t rows, uint64_t columns,
              bool bias) {
    Add(tensors, name + ".weight", {rows, columns}, 0, 0.3);
    if (bias) Add(tensors, name + ".bias", {rows}, 0, 0.2);
  }
  void Norm(TinyTensors& tensors, const std::string& name, uint64_t width, NormKind kind) {
    Add(tensors, name + ".weight", {width}, 1, 0.2);
    if (kind == NormKind::kLayer) Add(tensors, name + ".bias", {width}, 0, 0.2);
  }

 private:
  std::mt19937_64 random_;
};

void AddFeedForward(Maker& maker, TinyTensors& t, const TinyOptions& o, const std::string& p) {
  const bool gated = o.rules.gated;
  if (o.experts == 0) {
    maker.Linear(t, p + "ffn_up", o.inner, o.width, o.biases);
    if (gated) maker.Linear(t, p + "ffn_gate", o.inner, o.width, o.biases);
    maker.Linear(t, p + "ffn_down", o.width, o.inner, o.biases);
    return;
  }
  maker.Linear(t, p + "ffn_gate_inp", o.experts, o.width, false);
  maker.Add(t, p + "ffn_up_exps.weight", {o.experts, o.inner, o.width}, 0, 0.3);
  maker.Add(t, p + "ffn_gate_exps.weight", {o.experts, o.inner, o.width}, 0, 0.3);
  maker.Add(t, p + "ffn_down_exps.weight", {o.experts, o.width, o.inner}, 0, 0.3);
  if (!o.rules.shared_expert) return;
  maker.Add(t, p + "ffn_gate_inp_shexp.weight", {o.width}, 0, 0.3);
  maker.Linear(t, p + "ffn_up_shexp", o.inner, o.width, false);
  maker.Linear(t, p + "ffn_gate_shexp", o.inner, o.width, false);
  maker.Linear(t, p + "ffn_down_shexp", o.width, o.inner, false);
}

void AddLayer(Maker& maker, TinyTensors& t, const TinyOptions& o, const std::string& p) {
  const uint64_t q = o.heads * o.head_size, kv = o.kv_heads * o.head_size;
  if (o.rules.norm_place == NormPlace::kAfter) {
    maker.Norm(t, p + "post_attention_norm", o.width, o.rules.norm);
    maker.Norm(t, p + "post_ffw_norm", o.width, o.rules.norm);
  } else {
    maker.Norm(t, p + "attn_norm", o.width, o.rules.norm);
    if (o.ffn_norm) maker.Norm(t, p + "ffn_norm", o.width, o.rules.norm);
  }
  if (o.joined_qkv) {
    maker.Linear(t, p + "attn_qkv", q + 2 * kv, o.width, o.biases);
  } else {
    maker.Linear(t, p + "attn_q", q, o.width, o.biases);
    maker.Linear(t, p + "attn_k", kv, o.width, o.biases);
    maker.Linear(t, p + "attn_v", kv, o.width, o.biases);
  }
  if (o.rules.qk_norm != Presence::kNone) {
    const auto shape = [&](uint64_t heads) {
      return o.qk_norm_shape == 0   ? Shape{o.head_size}
             : o.qk_norm_shape == 1 ? Shape{heads, o.head_size}
                                    : Shape{heads * o.head_size};
    };
    maker.Add(t, p + "attn_q_norm.weight", shape(o.heads), 1, 0.2);
    maker.Add(t, p + "attn_k_norm.weight", shape(o.kv_heads), 1, 0.2);
  }
  maker.Linear(t, p + "attn_output", o.width, q, o.biases);
  AddFeedForward(maker, t, o, p);
}

using Vector = std::vector<double>;

// The decoder in loops over single tokens.
class Naive {
 public:
  explicit Naive(const TinyOptions& options, NaiveInputs* inputs = nullptr)
      : o_(options), tensors_(MakeTensors(options)), inputs_(inputs) {}

  std::vector<Vector> Logits(const std::vector<int32_t>& tokens) {
    std::vector<Vector> x;
    for (size_t i = 0; i < tokens.size(); ++i) x.push_back(Embed(tokens[i], i));
    for (uint64_t layer = 0; layer < o_.layers; ++layer) RunLayer(layer, x);
    const bool tied = !Find("output.weight");
    std::vector<Vector> logits;
    for (const Vector& state : x) {
      Vector row = Apply(tied ? "token_embd" : "output", Norm("output_norm", state), 0,
                         o_.vocabulary, "output.bias");
      for (double& value : row) {
        if (o_.rules.scales) value /= Number("logit_scale", 1);
        const double cap = Number("final_logit_softcapping", 0);
        if (cap != 0) value = cap * std::tanh(value / cap);
      }
      logits.push_back(row);
    }
    return logits;
  }

 private:
  const TinyTensor* Find(const std::string& name) const {
    const auto at = tensors_.find(name);
    return at == tensors_.end() ? nullptr : &at->second;
  }
  double Number(const std::string& key, double otherwise) const {
    const auto at = o_.numbers.find(key);
    return at == o_.numbers.end() ? otherwise : static_cast<double>(static_cast<float>(at->second));
  }

  Vector Embed(int32_t token, size_t position) {
    Vector x(o_.width);
    for (size_t i = 0; i < o_.width; ++i) {
      const size_t at = static_cast<size_t>(token) * o_.width + i;
      x[i] = static_cast<double>(Find("token_embd.weight")->values[at]);
      if (o_.rules.scales) x[i] *= Number("embedding_scale", 1);
      if (o_.rules.learned_positions) {
        x[i] += static_cast<double>(Find("position_embd.weight")->values[position * o_.width + i]);
      }
    }
    return o_.rules.embedding_norm ? Norm("token_embd_norm", x) : x;
  }

  // Rows [first, first + rows) of NAME.weight times x, plus the bias.
  Vector Apply(const std::string& name, const Vector& x, uint64_t first, uint64_t rows,
               const std::string& bias_name = "") {
    const TinyTensor& weight = *Find(name + ".weight");
    const TinyTensor* bias = Find(bias_name.empty() ? name + ".bias" : bias_name);
    if (inputs_) Record(name + ".weight", weight.shape, x, first);
    Vector y(rows, 0.0);
    for (uint64_t r = 0; r < rows; ++r) {
      for (size_t c = 0; c < x.size(); ++c) {
        y[r] += static_cast<double>(weight.values[(first + r) * x.size() + c]) * x[c];
      }
      if (bias) y[r] += static_cast<double>(bias->values[first + r]);
    }
    return y;
  }

  void Record(const std::string& name, const Shape& shape, const Vector& x, uint64_t first) {
    const size_t n = shape.size();
    const uint64_t rows = n > 1 ? shape[n - 2] : 1;
    if (first % rows != 0) return;  // k and v of a joined matrix
    const uint64_t matrix = first / rows;
    NaiveInput& input = (*inputs_)[name];
    input.counts.resize(n > 2 ? shape[0] : 1);
    input.sums.resize(input.counts.size() * x.size());
    ++input.counts[matrix];
    for (size_t i = 0; i < x.size(); ++i) input.sums[matrix * x.size() + i] += x[i] * x[i];
  }

  Vector NormBy(const float* weight, const float* bias, const Vector& x) {
    const double n = static_cast<double>(x.size());
    double mean = 0, squares = 0;
    if (o_.rules.norm == NormKind::kLayer) {
      for (const double value : x) mean += value / n;
    }
    for (const double value : x) squares += (value - mean) * (value - mean) / n;
    Vector y(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      y[i] = (x[i] - mean) / std::sqrt(squares + static_cast<double>(1e-5f)) *
             static_cast<double>(weight[i]);
      if (bias) y[i] += static_cast<double>(bias[i]);
    }
    return y;
  }
  Vector Norm(const std::string& name, const Vector& x) {
    const TinyTensor* weight = Find(name + ".weight");
    const TinyTensor* bias = Find(name + ".bias");
    return weight ? NormBy(weight->values.data(), bias ? bias->values.data() : nullptr, x) : x;
  }

  // Heads of q or k at a position: normalized, then turned.
  void Prepare(const std::string& norm, uint64_t heads, size_t position, Vector& row) {
    if (const TinyTensor* weight = Find(norm + ".weight")) {
      const bool whole = weight->shape == Shape{heads * o_.head_size} && o_.qk_norm_shape == 2;
      const size_t size = whole ? row.size() : o_.head_size;
      for (size_t at = 0; at < row.size(); at += size) {
        const size_t offset = o_.qk_norm_shape == 1 ? at : 0;
        const Vector part(row.begin() + static_cast<ptrdiff_t>(at),
                          row.begin() + static_cast<ptrdiff_t>(at + size));
        const Vector normed = NormBy(weight->values.data() + offset, nullptr, part);
        std::copy(normed.begin(), normed.end(), row.begin() + static_cast<ptrdiff_t>(at));
      }
    }
    if (o_.rules.rope == RopeStyle::kNone) return;
    const auto dims = o_.counts.find("rope.dimension_count");
    const size_t turned = dims == o_.counts.end() ? o_.head_size : dims->second;
    for (uint64_t head = 0; head < heads; ++head) {
      double* h = row.data() + head * o_.head_size;
      for (size_t i = 0; i < turned / 2; ++i) {
        const bool interleaved = o_.rules.rope == RopeStyle::kInterleaved;
        double& a = interleaved ? h[2 * i] : h[i];
        double& b = interleaved ? h[2 * i + 1] : h[i + turned / 2];
        double angle = static_cast<double>(position) *
                       std::pow(Number("rope.freq_base", 10000),
                                -2.0 * static_cast<double>(i) / static_cast<double>(turned));
        if (o_.rope_factors) angle /= static_cast<double>(Find("rope_freqs.weight")->values[i]);
        angle /= Number("rope.scaling.factor", 1);
        const double c = std::cos(angle), s = std::sin(angle), old = a;
        a = old * c - b * s;
        b = old * s + b * c;
      }
    }
  }

  double Weight(uint64_t head, size_t query, size_t key, double score) const {
    const double cap = Number("attn_logit_softcapping", 0);
    if (cap != 0) score = cap * std::tanh(score / cap);
    const double bias = o_.rules.alibi_max_bias;
    if (bias != 0) {
      score -=
          std::pow(2.0, -bias * static_cast<double>(head + 1) / static_cast<double>(o_.heads)) *
          static_cast<double>(query - key);
    }
    return std::exp(score);
  }

  std::vector<Vector> Attention(uint64_t layer, const std::vector<Vector>& h) {
    const std::string p = "blk." + std::to_string(layer) + ".";
    const uint64_t q_rows = o_.heads * o_.head_size, kv_rows = o_.kv_heads * o_.head_size;
    std::vector<Vector> q, k, v, out;
    for (size_t t = 0; t < h.size(); ++t) {
      const bool joined = o_.joined_qkv;
      q.push_back(Apply(p + (joined ? "attn_qkv" : "attn_q"), h[t], 0, q_rows));
      k.push_back(Apply(p + (joined ? "attn_qkv" : "attn_k"), h[t], joined ? q_rows : 0, kv_rows));
      v.push_back(Apply(p + (joined ? "attn_qkv" : "attn_v"), h[t], joined ? q_rows + kv_rows : 0,
                        kv_rows));
      Prepare(p + "attn_q_norm", o_.heads, t, q[t]);
      Prepare(p + "attn_k_norm", o_.kv_heads, t, k[t]);
    }
    const auto window = o_.counts.find("attention.sliding_window");
    const uint32_t period = o_.rules.sliding_window_period;
    const bool sliding = window != o_.counts.end() && layer % period + 1 < period;
    const double scale =
        Number("attention.scale", 1 / std::sqrt(static_cast<double>(o_.head_size)));
    for (size_t t = 0; t < h.size(); ++t) {
      Vector result(q_rows, 0.0);
      for (uint64_t head = 0; head < o_.heads; ++head) {
        const size_t shared = head / (o_.heads / o_.kv_heads) * o_.head_size;
        const size_t from = sliding && t + 1 > window->second ? t + 1 - window->second : 0;
        double total = 0;
        Vector sum(o_.head_size, 0.0);
        for (size_t s = from; s <= t; ++s) {
          double score = 0;
          for (size_t i = 0; i < o_.head_size; ++i) {
            score += q[t][head * o_.head_size + i] * k[s][shared + i] * scale;
          }
          const double weight = Weight(head, t, s, score);
          total += weight;
          for (size_t i = 0; i < o_.head_size; ++i) sum[i] += weight * v[s][shared + i];
        }
        for (size_t i = 0; i < o_.head_size; ++i) result[head * o_.head_size + i] = sum[i] / total;
      }
      out.push_back(Apply(p + "attn_output", result, 0, o_.width));
    }
    return out;
  }

  double Activate(double x) const {
    if (o_.rules.activation == converters::Activation::kSilu) return x / (1 + std::exp(-x));
    return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
  }
  // Of expert e (0 without), with names NAME + suffix.
  Vector Feed(const std::string& p, const std::string& suffix, uint64_t e, const Vector& h) {
    Vector up = Apply(p + "ffn_up" + suffix, h, e * o_.inner, o_.inner);
    if (o_.rules.gated) {
      const Vector gate = Apply(p + "ffn_gate" + suffix, h, e * o_.inner, o_.inner);
      for (size_t i = 0; i < up.size(); ++i) up[i] *= Activate(gate[i]);
    } else {
      for (double& value : up) value = Activate(value);
    }
    return Apply(p + "ffn_down" + suffix, up, e * o_.width, o_.width);
  }
  Vector FeedForwardOf(const std::string& p, const Vector& h) {
    if (o_.experts == 0) return Feed(p, "", 0, h);
    Vector share = Apply(p + "ffn_gate_inp", h, 0, o_.experts);
    double total = 0;
    for (double& value : share) total += value = std::exp(value);
    for (double& value : share) value /= total;
    Vector out(o_.width, 0.0), left = share;
    std::vector<size_t> chosen;
    double of_chosen = 0;
    for (uint64_t n = 0; n < o_.experts_used; ++n) {
      chosen.push_back(
          static_cast<size_t>(std::max_element(left.begin(), left.end()) - left.begin()));
      of_chosen += left[chosen.back()];
      left[chosen.back()] = -1;
    }
    for (const size_t e : chosen) {
      const Vector result = Feed(p, "_exps", e, h);
      const double weight = share[e] / (o_.rules.normalize_experts ? of_chosen : 1);
      for (size_t i = 0; i < out.size(); ++i) out[i] += weight * result[i];
    }
    if (o_.rules.shared_expert) {
      const double gate = Apply(p + "ffn_gate_inp_shexp", h, 0, 1)[0];
      const Vector result = Feed(p, "_shexp", 0, h);
      for (size_t i = 0; i < out.size(); ++i) out[i] += result[i] / (1 + std::exp(-gate));
    }
    return out;
  }

  void RunLayer(uint64_t layer, std::vector<Vector>& x) {
    const std::string p = "blk." + std::to_string(layer) + ".";
    const double scale = o_.rules.scales ? Number("residual_scale", 1) : 1;
    std::vector<Vector> h;
    for (const Vector& row : x) h.push_back(Norm(p + "attn_norm", row));
    const std::vector<Vector> attention = Attention(layer, h);
    const bool parallel = o_.rules.residual == converters::Residual::kParallel ||
                          o_.rules.residual == converters::Residual::kByKey ||
                          (o_.rules.residual == converters::Residual::kByNorm && !o_.ffn_norm);
    for (size_t t = 0; t < x.size(); ++t) {
      const Vector before = x[t];
      const Vector attended = Norm(p + "post_attention_norm", attention[t]);
      for (size_t i = 0; i < o_.width; ++i) x[t][i] += scale * attended[i];
      const Vector in = !parallel     ? Norm(p + "ffn_norm", x[t])
                        : o_.ffn_norm ? Norm(p + "ffn_norm", before)
                                      : h[t];
      const Vector fed = Norm(p + "post_ffw_norm", FeedForwardOf(p, in));
      for (size_t i = 0; i < o_.width; ++i) x[t][i] += scale * fed[i];
    }
  }

  const TinyOptions& o_;
  TinyTensors tensors_;
  NaiveInputs* inputs_;
};

}  // namespace

TinyTensors MakeTensors(const TinyOptions& o) {
  Maker maker(o.seed);
  TinyTensors t;
  maker.Add(t, "token_embd.weight", {o.vocabulary, o.width}, 0, 1);
  if (o.rules.learned_positions) {
    maker.Add(t, "position_embd.weight", {o.context, o.width}, 0, 0.5);
  }
  if (o.rules.embedding_norm) maker.Norm(t, "token_embd_norm", o.width, o.rules.norm);
  if (o.rope_factors) maker.Add(t, "rope_freqs.weight", {o.head_size / 2}, 4, 0.5);
  for (uint64_t i = 0; i < o.layers; ++i) {
    AddLayer(maker, t, o, "blk." + std::to_string(i) + ".");
  }
  maker.Norm(t, "output_norm", o.width, o.rules.norm);
  if (!o.tied) maker.Linear(t, "output", o.vocabulary, o.width, o.biases);
  if (o.noise != 0) {
    std::mt19937_64 random(99);
    std::normal_distribution<float> normal(0, static_cast<float>(o.noise));
    for (auto& [name, tensor] : t) {
      for (float& value : tensor.values) value += normal(random);
    }
  }
  return t;
}

ReferenceModel MakeModel(const TinyOptions& o,
                         const std::function<void(TinyTensors&, Metadata&)>& change) {
  TinyTensors tensors = MakeTensors(o);
  auto source = std::make_unique<converters::FakeSource>();
  source->set_layout("gguf");
  Metadata& metadata = source->metadata_for_test();
  metadata.Set("general.architecture", std::string("tiny"));
  const auto count = [&](const std::string& key, uint64_t value) {
    metadata.Set("tiny." + key, static_cast<uint32_t>(value));
  };
  count("block_count", o.layers);
  count("embedding_length", o.width);
  count("context_length", o.context);
  count("attention.head_count", o.heads);
  count("attention.head_count_kv", o.kv_heads);
  count("attention.key_length", o.head_size);
  count("attention.value_length", o.head_size);
  if (o.experts > 0) {
    count("expert_count", o.experts);
    count("expert_used_count", o.experts_used);
  }
  metadata.Set("tiny.attention.layer_norm_epsilon", 1e-5f);
  metadata.Set("tiny.attention.layer_norm_rms_epsilon", 1e-5f);
  for (const auto& [key, value] : o.counts) count(key, value);
  for (const auto& [key, value] : o.numbers) {
    metadata.Set("tiny." + key, static_cast<float>(value));
  }
  for (const auto& [key, value] : o.texts) metadata.Set("tiny." + key, value);
  if (change) change(tensors, metadata);
  for (const auto& [name, tensor] : tensors) {
    std::vector<uint8_t> bytes(tensor.values.size() * sizeof(float));
    std::memcpy(bytes.data(), tensor.values.data(), bytes.size());
    source->Add(name, tensor.shape, TensorType::kF32, std::move(bytes));
  }
  ReferenceModel model;
  model.model = converters::Convert(*source, {});
  model.source = std::move(source);
  model.rules = o.rules;
  return model;
}

std::vector<std::vector<double>> NaiveLogits(const TinyOptions& options,
                                             const std::vector<int32_t>& tokens) {
  return Naive(options).Logits(tokens);
}

void AddNaiveInputs(const TinyOptions& options, const std::vector<int32_t>& tokens,
                    NaiveInputs& inputs) {
  Naive(options, &inputs).Logits(tokens);
}

std::vector<int32_t> RandomTokens(const TinyOptions& options, size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::vector<int32_t> tokens(count);
  for (int32_t& token : tokens) token = static_cast<int32_t>(random() % options.vocabulary);
  return tokens;
}

}  // namespace quern::verify
