#include "quant/kept_tensors.h"

#include <algorithm>
#include <array>

namespace quern::quant {
namespace {

enum class Match { kWhole, kPart };

struct KeptName {
  Match match;
  std::string_view text;
  std::string_view reason;
};

constexpr std::string_view kRwkv = "a small RWKV matrix";
constexpr std::string_view kVision = "a small vision tensor";
constexpr std::string_view kAudio = "an audio codebook";
constexpr std::string_view kIndexer = "a small indexer projection";
constexpr std::string_view kSmall = "a very small matrix";
constexpr std::string_view kConvolution = "a small convolution";

constexpr std::array kKeptNames = {
    KeptName{Match::kPart, "_norm.weight", "a norm"},
    KeptName{Match::kPart, "ffn_gate_inp.weight", "an expert router"},
    KeptName{Match::kPart, "ffn_gate_tid2eid.weight", "a table of expert numbers"},
    KeptName{Match::kPart, "altup", kSmall},
    KeptName{Match::kPart, "laurel", kSmall},
    KeptName{Match::kPart, "per_layer_model_proj", "a sensitive projection"},
    KeptName{Match::kWhole, "position_embd.weight", "position embeddings"},
    KeptName{Match::kWhole, "token_types.weight", "token types"},
    KeptName{Match::kPart, "ssm_conv1d", kConvolution},
    KeptName{Match::kPart, "shortconv.conv.weight", kConvolution},
    KeptName{Match::kPart, "indexer.k_proj.weight", kIndexer},
    KeptName{Match::kPart, "indexer.q_proj.weight", kIndexer},
    KeptName{Match::kPart, "time_mix_first.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_w0.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_w1.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_w2.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_v0.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_v1.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_v2.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_a0.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_a1.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_a2.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_g1.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_g2.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_decay_w1.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_decay_w2.weight", kRwkv},
    KeptName{Match::kPart, "time_mix_lerp_fused.weight", kRwkv},
    KeptName{Match::kPart, "attn_rel_b.weight", "a relative position bias"},
    KeptName{Match::kPart, ".position_embd", kVision},
    KeptName{Match::kPart, "sam.pos_embd", kVision},
    KeptName{Match::kPart, "sam.neck.", kVision},
    KeptName{Match::kPart, "sam.net_", kVision},
    KeptName{Match::kPart, ".rel_pos", kVision},
    KeptName{Match::kPart, ".patch_embd", kVision},
    KeptName{Match::kPart, ".patch_merger", kVision},
    KeptName{Match::kPart, "a.rvq.codebook", kAudio},
    KeptName{Match::kPart, "mm.a.code_embd", kAudio},
};

// GGML's count: outer dimensions of one do not count, so a [1, 256] tensor is a vector.
bool IsVector(const Shape& shape) {
  if (shape.empty()) return true;
  return std::all_of(shape.begin(), shape.end() - 1, [](uint64_t n) { return n == 1; });
}

// llama.cpp compares the position of the last "weight" with length - 6, and in a name of five
// letters both wrap around to the same value: such a tensor counts as a weight (measured).
bool IsWeight(std::string_view name) { return name.ends_with("weight") || name.size() == 5; }

}  // namespace

std::optional<std::string_view> ReasonToKeep(std::string_view name, const Shape& shape) {
  if (IsVector(shape)) return "a vector, not a matrix";
  if (!IsWeight(name)) return "its name does not end in \"weight\"";
  for (const KeptName& kept : kKeptNames) {
    const bool matches =
        kept.match == Match::kWhole ? name == kept.text : name.find(kept.text) != name.npos;
    if (matches) return kept.reason;
  }
  return std::nullopt;
}

}  // namespace quern::quant
