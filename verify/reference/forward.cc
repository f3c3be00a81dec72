#include "verify/reference/forward.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "formats/core/error.h"
#include "quant/finite.h"
#include "verify/reference/attention.h"
#include "verify/reference/feed_forward.h"
#include "verify/reference/norm.h"
#include "verify/reference/parallel.h"
#include "verify/reference/vector_math.h"

namespace quern::verify {
namespace {

constexpr size_t kGrain = 16;  // rows that one thread takes at a time

// Keeps rows [first, first + count) of every `context` rows, moved to the front.
void KeepWanted(const Batch& batch, size_t columns, float* x) {
  for (size_t window = 0; window < batch.windows(); ++window) {
    std::memmove(x + window * batch.count * columns,
                 x + (window * batch.context + batch.first) * columns,
                 batch.count * columns * sizeof(float));
  }
}

}  // namespace

const float* Forward::Pass::Wanted(size_t i) const {
  const bool all = rows == batch.tokens.size();
  return x.row(all ? i / batch.count * batch.context + batch.first + i % batch.count : i);
}

Forward::Forward(const ReferenceModel& model, size_t context, uint64_t slab_bytes,
                 Products& products)
    : path_(model.source->path().string()),
      context_(context),
      products_(products),
      weights_(*model.source, slab_bytes, products),
      graph_(ResolveGraph(model.model, model.rules)),
      tensors_(ResolveTensors(model.model, graph_)) {
  if (tensors_.position_embedding && tensors_.position_embedding->value.shape[0] < context) {
    throw Error(ErrorCode::kBadValue, {path_, {}, "position_embd.weight"},
                fmt::format("the model knows {} positions, fewer than the context of {}; choose a "
                            "shorter --ctx or -n",
                            tensors_.position_embedding->value.shape[0], context));
  }
  if (tensors_.rope_factors) {
    rope_factors_ = weights_.Vector(*tensors_.rope_factors);
    if (std::any_of(rope_factors_.begin(), rope_factors_.end(), [](float f) { return !(f > 0); })) {
      throw Error(ErrorCode::kBadValue, {path_, {}, "rope_freqs.weight"},
                  "factors must be positive; the file is damaged");
    }
  }
}

void Forward::MakeRopeTables() {
  if (rope_ || graph_.rope.dimensions == 0) return;
  rope_ = std::make_unique<RopeTable>(graph_.rope, rope_factors_, context_);
  if (graph_.sliding_window == 0) return;
  rope_sliding_ = std::make_unique<RopeTable>(Unscaled(graph_.rope), rope_factors_, context_);
}

size_t Forward::InnerFloats() const {
  uint64_t most = (graph_.heads + 2 * graph_.kv_heads) * graph_.head_size;
  for (const Layer& layer : tensors_.layers) {
    most = std::max<uint64_t>(most, FeedForwardScratch(graph_, layer));
  }
  return most;
}

uint64_t Forward::WorkspaceBytes(size_t tokens) const {
  // A router's logits and choices.
  const uint64_t routing = graph_.experts + 4 * graph_.experts_used;
  return tokens * (2 * graph_.width + InnerFloats() + routing) * sizeof(float);
}

uint64_t Forward::BytesPerWindow(size_t wanted) const {
  return PassBytes(context_) + WorkspaceBytes(context_) + wanted * graph_.width * sizeof(float);
}

uint64_t Forward::TableBytes() const {
  return products_.threads() * AttentionScratch(context_) +
         2 * context_ * graph_.rope.dimensions * sizeof(float);
}

void Forward::Normalize(const Norm& norm, const float* x, size_t rows, float* out) const {
  RowNorm(norm, graph_.rules.norm, graph_.norm_epsilon, 1, weights_)
      .Apply(x, rows, graph_.width, out, products_.threads());
}

void Forward::Embed(const Batch& batch, float* x) {
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    const int32_t token = batch.tokens[i];
    if (token < 0 || static_cast<uint64_t>(token) >= graph_.vocabulary) {
      throw Error(ErrorCode::kBadValue, {path_, {}, fmt::format("token id {}", token)},
                  fmt::format("is outside the vocabulary of {}; the text was tokenized for another "
                              "model",
                              graph_.vocabulary));
    }
  }
  const size_t width = graph_.width;
  weights_.Gather(*tensors_.token_embedding, batch.tokens, x);
  if (graph_.embedding_scale != 1) {
    Scale(x, batch.tokens.size() * width, static_cast<float>(graph_.embedding_scale));
  }
  if (tensors_.position_embedding) {
    Matrix positions(batch.context, width);
    weights_.Read(*tensors_.position_embedding, batch.position(), batch.context, positions.data());
    ParallelRanges(products_.threads(), batch.tokens.size(), kGrain, [&](size_t begin, size_t end) {
      for (size_t i = begin; i < end; ++i) {
        AddScaled(positions.row(i % batch.context), 1, x + i * width, width);
      }
    });
  }
  if (tensors_.embedding_norm) Normalize(tensors_.embedding_norm, x, batch.tokens.size(), x);
}

void Forward::TurnHeads(float* rows, size_t heads, size_t windows, size_t first, size_t count,
                        bool sliding) const {
  const RopeTable* table = sliding && rope_sliding_ ? rope_sliding_.get() : rope_.get();
  if (table == nullptr) return;
  const size_t step = heads * graph_.head_size;
  ParallelRanges(products_.threads(), windows * count, kGrain, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) {
      table->Turn(rows + i * step, heads, graph_.head_size, first + i % count);
    }
  });
}

// h -> out. Of the last layer only the wanted positions are asked, and x and h shrink to them.
void Forward::RunAttention(const Layer& layer, Pass& pass, Workspace& workspace) {
  const Batch& batch = pass.batch;
  const size_t width = graph_.width;
  const size_t all = batch.tokens.size();
  const size_t q_size = graph_.heads * graph_.head_size;
  const size_t kv_size = graph_.kv_heads * graph_.head_size;
  const bool sliding = graph_.sliding[pass.layer];
  float* h = workspace.h.Fit(all * width);
  float* q = workspace.inner.Fit(all * InnerFloats());
  // Keys and values of all positions; the batch's own come last.
  const size_t past = batch.position();
  float* k = batch.cache ? batch.cache->keys(pass.layer) : q + all * q_size;
  float* v = batch.cache ? batch.cache->values(pass.layer) : k + all * kv_size;
  float* new_k = k + past * kv_size;
  weights_.Apply(layer.k, h, all, width, new_k, kv_size);
  weights_.Apply(layer.v, h, all, width, v + past * kv_size, kv_size);
  AttentionShape shape = {.windows = batch.windows(),
                          .context = past + batch.context,
                          .first_query = past,
                          .queries = batch.context,
                          .heads = graph_.heads,
                          .kv_heads = graph_.kv_heads,
                          .head_size = graph_.head_size};
  if (pass.layer + 1 == graph_.layers) {
    shape.first_query += batch.first;
    shape.queries = batch.count;
    KeepWanted(batch, width, pass.x.data());
    KeepWanted(batch, width, h);
    pass.rows = batch.wanted();
  }
  const size_t rows = pass.rows;
  weights_.Apply(layer.q, h, rows, width, q, q_size);
  const auto normalize = [&](const Norm& norm, size_t heads, float* heads_of, size_t count) {
    if (!norm) return;
    const size_t size = heads * graph_.head_size;
    const size_t groups = norm.weight->value.shape == Shape{size} ? 1 : heads;
    RowNorm(norm, graph_.rules.norm, graph_.norm_epsilon, groups, weights_)
        .Apply(heads_of, count, size, heads_of, products_.threads());
  };
  normalize(layer.q_norm, graph_.heads, q, rows);
  normalize(layer.k_norm, graph_.kv_heads, new_k, all);
  TurnHeads(q, graph_.heads, shape.windows, shape.first_query, shape.queries, sliding);
  TurnHeads(new_k, graph_.kv_heads, shape.windows, past, batch.context, sliding);
  shape.scale = static_cast<float>(graph_.attention_scale);
  shape.softcap = static_cast<float>(graph_.attention_softcap);
  shape.sliding = sliding ? graph_.sliding_window : 0;
  shape.alibi_max_bias = static_cast<float>(graph_.rules.alibi_max_bias);
  Attend(shape, q, k, v, products_);
  weights_.Apply(layer.attention_output, q, rows, q_size, workspace.out.Fit(all * width), width);
}

// x += residual_scale * post_norm(out).
void Forward::AddToResidual(const Norm& post_norm, float* out, size_t rows, float* x) const {
  const size_t width = graph_.width;
  if (post_norm) Normalize(post_norm, out, rows, out);
  ParallelRanges(products_.threads(), rows, kGrain, [&](size_t begin, size_t end) {
    AddScaled(out + begin * width, static_cast<float>(graph_.residual_scale), x + begin * width,
              (end - begin) * width);
  });
}

void Forward::RunLayer(Pass& pass, Workspace& workspace) {
  const Layer& layer = tensors_.layers[pass.layer];
  if (pass.layer + 1 < graph_.layers) PrefetchLayer(tensors_.layers[pass.layer + 1]);
  const size_t width = graph_.width;
  const size_t all = pass.batch.tokens.size();
  float* x = pass.x.data();
  float* h = workspace.h.Fit(all * width);
  float* out = workspace.out.Fit(all * width);
  const auto prepare = [&](const Norm& norm) {
    if (norm) {
      Normalize(norm, x, pass.rows, h);
    } else {
      std::memcpy(h, x, pass.rows * width * sizeof(float));
    }
  };
  prepare(layer.attention_norm);
  RunAttention(layer, pass, workspace);
  // A parallel feed-forward takes the layer's input under its own norm, or attention's input.
  if (layer.parallel && layer.ffn_norm) prepare(layer.ffn_norm);
  AddToResidual(layer.post_attention_norm, out, pass.rows, x);
  if (!layer.parallel) prepare(layer.ffn_norm);
  RunFeedForward(graph_, layer, weights_, h, pass.rows, workspace.inner.Fit(all * InnerFloats()),
                 out);
  AddToResidual(layer.post_ffn_norm, out, pass.rows, x);
  ++pass.layer;
}

void Forward::PrefetchLayer(const Layer& layer) const {
  const FeedForward& dense = layer.dense;
  for (const Linear* linear : {&layer.k, &layer.v, &layer.q, &layer.attention_output, &dense.up,
                               &dense.gate, &dense.down}) {
    weights_.WillNeed(*linear);
  }
  for (const FeedForward& expert : layer.experts) {
    for (const Linear* linear : {&expert.up, &expert.gate, &expert.down}) {
      weights_.WillNeed(*linear);
    }
  }
}

Forward::Pass Forward::Begin(const Batch& batch) {
  Pass pass = {
      .batch = batch, .x = Matrix(batch.tokens.size(), graph_.width), .rows = batch.tokens.size()};
  Embed(batch, pass.x.data());
  MakeRopeTables();
  return pass;
}

Matrix Forward::Finish(const Pass& pass) {
  if (pass.batch.cache) pass.batch.cache->Grow(pass.batch.context);
  Matrix states(pass.rows, graph_.width);
  Normalize(tensors_.output_norm, pass.x.data(), pass.rows, states.data());
  if (quant::FirstNonFinite({states.data(), states.rows() * graph_.width})) {
    FailOnOverflow("hidden states");
  }
  weights_.Show(tensors_.output, states.data(), states.rows(), graph_.width);
  return states;
}

Matrix Forward::States(const Batch& batch, const std::function<void(uint64_t)>& progress) {
  Pass pass = Begin(batch);
  Workspace workspace;
  while (pass.layer < graph_.layers) {
    progress(pass.layer);
    RunLayer(pass, workspace);
  }
  return Finish(pass);
}

void Forward::Logits(const Matrix& states, uint64_t first, uint64_t count, float* out) {
  weights_.ApplySlab(tensors_.output, first, count, states.data(), states.rows(), graph_.width, out,
                     count);
  const float cap = static_cast<float>(graph_.logit_softcap);
  ParallelRanges(products_.threads(), states.rows(), kGrain, [&](size_t begin, size_t end) {
    float* const rows = out + begin * count;
    const size_t size = (end - begin) * count;
    if (graph_.logit_scale != 1) Scale(rows, size, static_cast<float>(graph_.logit_scale));
    for (size_t i = 0; cap != 0 && i < size; ++i) rows[i] = cap * std::tanh(rows[i] / cap);
    if (quant::FirstNonFinite({rows, size})) FailOnOverflow("logits");
  });
}

void Forward::FailOnOverflow(const char* what) const {
  throw Error(ErrorCode::kNonFinite, {path_, {}, what},
              "became NaN or infinite; the weights are damaged, or too large for f32 arithmetic");
}

}  // namespace quern::verify
