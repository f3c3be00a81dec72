#include "converters/legacy_ggml.h"

#include <fmt/format.h>

#include <cmath>

#include "formats/core/error.h"

namespace quern::converters {
namespace {

constexpr double kDefaultEps = 5e-6;
constexpr uint32_t kDefaultContext = 2048;
constexpr std::string_view kFeedForward = "layers.0.feed_forward.w1.weight";
constexpr std::string_view kKeys = "layers.0.attention.wk.weight";

void RefuseOthers(const ModelSource& source, const std::string& model) {
  if (model == "llama") return;
  const Where where{source.path().string(), {}, model};
  if (model == "whisper") {
    throw Error(ErrorCode::kUnsupported, where,
                "whisper models are not language models that llama.cpp runs, and whisper.cpp still "
                "reads this format; use the file as it is");
  }
  throw Error(ErrorCode::kUnsupported, where,
              "rwkv.cpp's files lack the tokenizer and the shapes that llama.cpp needs; convert "
              "the original RWKV checkpoint instead");
}

uint64_t RowsOf(const ModelSource& source, std::string_view name) {
  const TensorInfo* tensor = source.FindTensor(name);
  if (!tensor || tensor->shape.size() != 2) {
    throw Error(ErrorCode::kMissing, {source.path().string(), {}, std::string(name)},
                "the file lacks this matrix; if it is a vocabulary by itself, convert it with "
                "--vocab-only");
  }
  return tensor->shape[0];
}

uint64_t KvHeads(const ModelSource& source, uint64_t heads, uint64_t head_size,
                 std::optional<uint32_t> gqa) {
  const uint64_t rows = RowsOf(source, kKeys);
  const uint64_t found = rows / head_size;
  if (rows % head_size != 0 || found == 0 || heads % found != 0) {
    throw Error(ErrorCode::kBadShape, {source.path().string(), {}, std::string(kKeys)},
                fmt::format("{} rows are no K/V heads of {} for {} heads; the file is damaged, or "
                            "one of several parts, which are not read",
                            rows, head_size, heads));
  }
  if (gqa && uint64_t{*gqa} * found != heads) {
    throw Error(ErrorCode::kBadValue, {source.path().string(), {}, "--gqa"},
                fmt::format("{}, but the tensors have {} heads for {} K/V heads; leave the option "
                            "out, the value is found",
                            *gqa, heads, found));
  }
  return found;
}

}  // namespace

Json GgmlConfig(const ModelSource& source, const GgmlOptions& options, bool vocab_only,
                std::vector<std::string>& notes) {
  Json config = source.config();
  RefuseOthers(source, config.at("model_type").get<std::string>());
  const uint64_t heads = config.at("n_head").get<uint64_t>();
  if (vocab_only && source.tensors().empty()) {
    config["n_head_kv"] = heads;
  } else {
    config["n_head_kv"] = KvHeads(source, heads, config.at("n_rot").get<uint64_t>(), options.gqa);
    config["n_ff"] = RowsOf(source, kFeedForward);
  }
  if (options.eps && !(*options.eps > 0 && *options.eps < 1)) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--eps"}, "must be between 0 and 1");
  }
  if (!options.eps || !options.context_length) {
    notes.push_back(fmt::format(
        "the file does not state {}; the old converter's default is taken: {}",
        options.eps              ? "the context length (--context-length)"
        : options.context_length ? "the norm's epsilon (--eps)"
                                 : "the norm's epsilon (--eps) and the context length "
                                   "(--context-length)",
        options.eps              ? "2048, where Llama 2 has 4096"
        : options.context_length ? "5e-6, where Llama 1 has 1e-6 and Llama 2 has 1e-5"
                                 : "5e-6 (Llama 1: 1e-6, Llama 2: 1e-5) and 2048 (Llama 2: 4096)"));
  }
  config["norm_eps"] = options.eps.value_or(kDefaultEps);
  config["context_length"] = options.context_length.value_or(kDefaultContext);
  return config;
}

}  // namespace quern::converters
