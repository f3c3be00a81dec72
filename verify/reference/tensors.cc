#include "verify/reference/tensors.h"

#include <fmt/format.h>

#include <map>
#include <set>
#include <string>

#include "formats/core/error.h"

namespace quern::verify {
namespace {

using converters::NormKind;
using converters::NormPlace;
using converters::OutputTensor;
using converters::Presence;
using converters::Residual;

class Finder {
 public:
  explicit Finder(const converters::OutputModel& model) {
    for (const OutputTensor& tensor : model.tensors) left_.emplace(tensor.name, &tensor);
  }

  const OutputTensor* TakeIfAny(const std::string& name) {
    const auto at = left_.find(name);
    if (at == left_.end()) return nullptr;
    const OutputTensor* tensor = at->second;
    left_.erase(at);
    return tensor;
  }
  const OutputTensor* Take(const std::string& name) {
    const OutputTensor* tensor = TakeIfAny(name);
    if (tensor == nullptr) {
      throw Error(ErrorCode::kMissing, {{}, {}, name},
                  "the model has no such tensor, which its architecture needs; the file is "
                  "incomplete, convert it again");
    }
    return tensor;
  }
  static const OutputTensor* Check(const OutputTensor* tensor, const Shape& shape) {
    if (tensor && tensor->value.shape != shape) {
      throw Error(ErrorCode::kBadShape, {{}, {}, Printable(tensor->name)},
                  fmt::format("has shape [{}], but the metadata asks for [{}]; the file is damaged",
                              fmt::join(tensor->value.shape, ", "), fmt::join(shape, ", ")));
    }
    return tensor;
  }

  // NAME.weight [rows, columns], and NAME.bias [rows] where there is one.
  Linear TakeLinear(const std::string& name, uint64_t rows, uint64_t columns) {
    return {.weight = Check(Take(name + ".weight"), {rows, columns}),
            .bias = Check(TakeIfAny(name + ".bias"), {rows}),
            .rows = rows,
            .columns = columns};
  }
  Norm TakeNormIfAny(const std::string& name, const Shape& shape) {
    Norm norm{Check(TakeIfAny(name + ".weight"), shape), nullptr};
    if (norm) norm.bias = Check(TakeIfAny(name + ".bias"), shape);
    return norm;
  }
  Norm TakeNorm(const std::string& name, const Shape& shape) {
    return {Check(Take(name + ".weight"), shape), Check(TakeIfAny(name + ".bias"), shape)};
  }

  void FailOnRest(const std::string& architecture) const {
    if (left_.empty()) return;
    throw Error(ErrorCode::kUnsupported, {{}, {}, Printable(left_.begin()->first)},
                fmt::format("{} tensor{} of this model {} not part of {} as the reference "
                            "inference computes it; use llama-perplexity for this model",
                            left_.size(), left_.size() == 1 ? "" : "s",
                            left_.size() == 1 ? "is" : "are", Printable(architecture)));
  }

 private:
  std::map<std::string, const OutputTensor*> left_;
};

std::string Block(uint64_t layer, const char* name) {
  return fmt::format("blk.{}.{}", layer, name);
}

// Per head with one weight for all, per head with its own, or of the whole row: the shape says.
Norm TakeHeadNorm(Finder& finder, const std::string& name, Presence presence, uint64_t heads,
                  uint64_t head_size) {
  if (presence == Presence::kNone) return {};
  const OutputTensor* weight = presence == Presence::kAlways ? finder.Take(name + ".weight")
                                                             : finder.TakeIfAny(name + ".weight");
  if (weight && weight->value.shape != Shape{head_size} &&
      weight->value.shape != Shape{heads, head_size}) {
    Finder::Check(weight, {heads * head_size});
  }
  return {weight, nullptr};
}

void TakeAttention(Finder& finder, const Graph& graph, uint64_t i, Layer& layer) {
  const uint64_t q_rows = graph.heads * graph.head_size;
  const uint64_t kv_rows = graph.kv_heads * graph.head_size;
  const std::string joined = Block(i, "attn_qkv");
  if (const OutputTensor* weight = finder.TakeIfAny(joined + ".weight")) {
    const uint64_t rows = q_rows + 2 * kv_rows;
    const OutputTensor* bias = Finder::Check(finder.TakeIfAny(joined + ".bias"), {rows});
    Finder::Check(weight, {rows, graph.width});
    layer.q = {weight, bias, 0, q_rows, graph.width};
    layer.k = {weight, bias, q_rows, kv_rows, graph.width};
    layer.v = {weight, bias, q_rows + kv_rows, kv_rows, graph.width};
  } else {
    layer.q = finder.TakeLinear(Block(i, "attn_q"), q_rows, graph.width);
    layer.k = finder.TakeLinear(Block(i, "attn_k"), kv_rows, graph.width);
    layer.v = finder.TakeLinear(Block(i, "attn_v"), kv_rows, graph.width);
  }
  const Presence qk_norm = graph.rules.qk_norm;
  layer.q_norm =
      TakeHeadNorm(finder, Block(i, "attn_q_norm"), qk_norm, graph.heads, graph.head_size);
  layer.k_norm =
      TakeHeadNorm(finder, Block(i, "attn_k_norm"), qk_norm, graph.kv_heads, graph.head_size);
  layer.attention_output = finder.TakeLinear(Block(i, "attn_output"), graph.width, q_rows);
}

// The feed-forward's width is what its tensors say: rows of up.
FeedForward TakeDense(Finder& finder, const Graph& graph, uint64_t i, const char* suffix) {
  const std::string up = Block(i, "ffn_up") + suffix;
  const OutputTensor* weight = finder.Take(up + ".weight");
  if (weight->value.shape.size() != 2) Finder::Check(weight, {0, graph.width});
  const uint64_t inner = weight->value.shape[0];
  FeedForward feed;
  feed.up = {.weight = Finder::Check(weight, {inner, graph.width}),
             .bias = Finder::Check(finder.TakeIfAny(up + ".bias"), {inner}),
             .rows = inner,
             .columns = graph.width};
  feed.down = finder.TakeLinear(Block(i, "ffn_down") + suffix, graph.width, inner);
  if (graph.rules.gated) {
    feed.gate = finder.TakeLinear(Block(i, "ffn_gate") + suffix, inner, graph.width);
  }
  return feed;
}

void TakeExperts(Finder& finder, const Graph& graph, uint64_t i, Layer& layer) {
  layer.router = finder.TakeLinear(Block(i, "ffn_gate_inp"), graph.experts, graph.width);
  const OutputTensor* gate = finder.Take(Block(i, "ffn_gate_exps.weight"));
  const OutputTensor* up = finder.Take(Block(i, "ffn_up_exps.weight"));
  const OutputTensor* down = finder.Take(Block(i, "ffn_down_exps.weight"));
  if (up->value.shape.size() != 3) Finder::Check(up, {graph.experts, 0, graph.width});
  const uint64_t inner = up->value.shape[1];
  Finder::Check(up, {graph.experts, inner, graph.width});
  Finder::Check(gate, {graph.experts, inner, graph.width});
  Finder::Check(down, {graph.experts, graph.width, inner});
  for (uint64_t e = 0; e < graph.experts; ++e) {
    layer.experts.push_back({.gate = {gate, nullptr, e * inner, inner, graph.width},
                             .up = {up, nullptr, e * inner, inner, graph.width},
                             .down = {down, nullptr, e * graph.width, graph.width, inner}});
  }
  if (graph.rules.shared_expert) {
    layer.shared = TakeDense(finder, graph, i, "_shexp");
    // A vector in files of llama.cpp's converter, [1, width] in others.
    const OutputTensor* shared_gate = finder.Take(Block(i, "ffn_gate_inp_shexp.weight"));
    if (shared_gate->value.shape != Shape{1, graph.width}) {
      Finder::Check(shared_gate, {graph.width});
    }
    layer.shared_gate = {.weight = shared_gate, .rows = 1, .columns = graph.width};
  }
}

Layer TakeLayer(Finder& finder, const Graph& graph, uint64_t i) {
  Layer layer;
  const Shape width = {graph.width};
  const Residual residual = graph.rules.residual;
  layer.parallel = graph.parallel;
  if (graph.rules.norm_place == NormPlace::kAfter) {
    layer.post_attention_norm = finder.TakeNorm(Block(i, "post_attention_norm"), width);
    layer.post_ffn_norm = finder.TakeNorm(Block(i, "post_ffw_norm"), width);
  } else {
    layer.attention_norm = finder.TakeNorm(Block(i, "attn_norm"), width);
    const bool may_lack = residual == Residual::kParallel || residual == Residual::kByNorm;
    const std::string name = Block(i, "ffn_norm");
    layer.ffn_norm = may_lack ? finder.TakeNormIfAny(name, width) : finder.TakeNorm(name, width);
    if (residual == Residual::kByNorm) layer.parallel = !layer.ffn_norm;
  }
  TakeAttention(finder, graph, i, layer);
  if (graph.experts > 0) {
    TakeExperts(finder, graph, i, layer);
  } else {
    layer.dense = TakeDense(finder, graph, i, "");
  }
  return layer;
}

const OutputTensor* TakeTable(Finder& finder, const char* name, uint64_t width) {
  const OutputTensor* tensor = finder.Take(name);
  if (tensor->value.shape.size() != 2) Finder::Check(tensor, {0, width});
  return Finder::Check(tensor, {tensor->value.shape[0], width});
}

}  // namespace

Tensors ResolveTensors(const converters::OutputModel& model, Graph& graph) {
  Finder finder(model);
  Tensors tensors;
  const Shape width = {graph.width};
  tensors.token_embedding = TakeTable(finder, "token_embd.weight", graph.width);
  graph.vocabulary = tensors.token_embedding->value.shape[0];
  if (graph.rules.learned_positions) {
    tensors.position_embedding = TakeTable(finder, "position_embd.weight", graph.width);
  }
  if (graph.rules.embedding_norm) {
    tensors.embedding_norm = finder.TakeNorm("token_embd_norm", width);
  }
  if (graph.rope.dimensions > 0) {
    tensors.rope_factors =
        Finder::Check(finder.TakeIfAny("rope_freqs.weight"), {graph.rope.dimensions / 2});
  }
  for (uint64_t i = 0; i < graph.layers; ++i) {
    tensors.layers.push_back(TakeLayer(finder, graph, i));
  }
  tensors.output_norm = finder.TakeNorm("output_norm", width);
  const OutputTensor* output = finder.TakeIfAny("output.weight");
  if (output == nullptr) output = tensors.token_embedding;
  tensors.output = {.weight = Finder::Check(output, {graph.vocabulary, graph.width}),
                    .bias = Finder::Check(finder.TakeIfAny("output.bias"), {graph.vocabulary}),
                    .rows = graph.vocabulary,
                    .columns = graph.width};
  finder.FailOnRest(graph.architecture);
  return tensors;
}

}  // namespace quern::verify
