#include "converters/inverse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "converters/config_inverse.h"
#include "converters/huggingface_export.h"
#include "converters/mapper.h"
#include "quant/codec.h"
#include "tests/converters/fake_source.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Raw = std::vector<uint8_t>;

Raw All(const ModelSource& source, const Expression& expression) {
  Raw out(TensorBytes(expression.type, expression.shape).value());
  EvaluateRows(source, expression, 0, expression.rows(), out);
  return out;
}

// Every step, every kind of rule.
constexpr std::string_view kEverything = R"({
  "name": "all", "accepts": ["AllForCausalLM"],
  "exports": [{"architecture": "AllForCausalLM", "config": {"model_type": "all"}}],
  "hyperparameters": {"block_count": "layers", "expert_count": "experts"},
  "keys": {"block_count": "layers", "heads": "heads", "experts": "experts", "width": "width"},
  "tensors": {
    "token_embd.weight": {"from": "embed", "shape": ["vocab", "width"]},
    "blk.{i}.q.weight": {"from": "l.{i}.q", "apply": {"permute_rope": "heads"}},
    "blk.{i}.q.bias": {"from": "l.{i}.qb", "apply": {"permute_rope": "heads"}, "optional": true},
    "blk.{i}.t.weight": {"from": "l.{i}.t", "apply": "transpose"},
    "blk.{i}.u.weight": {"from": "l.{i}.u", "apply": [{"ungroup": ["heads", 3]}, "transpose"]},
    "blk.{i}.norm.weight": {"from": "l.{i}.n", "apply": "add_one"},
    "blk.{i}.a.weight": {"from": "l.{i}.abc",
      "apply": [{"slice": {"groups": "heads", "rows": "2"}}, {"permute_rope": "heads"}]},
    "blk.{i}.c.weight": {"from": "l.{i}.abc",
      "apply": {"slice": {"groups": "heads", "first": "5", "rows": "1"}}},
    "blk.{i}.b.weight": {"from": "l.{i}.abc",
      "apply": {"slice": {"groups": "heads", "first": "2", "rows": "3"}}},
    "blk.{i}.e_exps.weight": {"stack": ["l.{i}.x.{e}.e", "old.{i}.{e}"]},
    "list.weight": {"values": "scaling.factors", "when": {"scaling": true}},
    "output.weight": {"from": "head", "optional": true}
  }
})";

Json EverythingConfig() {
  return {{"layers", 2}, {"heads", 4},  {"experts", 3},
          {"vocab", 10}, {"width", 16}, {"scaling", {{"factors", {1.0, 2.5, 1e-5}}}}};
}

void FillEverything(FakeSource& source, TensorType type) {
  source.Add("embed", {10, 16}, type);
  for (const std::string i : {"0", "1"}) {
    source.Add("l." + i + ".q", {16, 6}, type);
    source.Add("l." + i + ".qb", {16}, TensorType::kF32);
    source.Add("l." + i + ".t", {7, 16}, type);
    source.Add("l." + i + ".u", {24, 16}, type);
    const std::vector<float> norm = {0.5f, -0.25f, 0.0f, 0.125f};
    source.Add("l." + i + ".n", {4}, TensorType::kF32,
               Raw(reinterpret_cast<const uint8_t*>(norm.data()),
                   reinterpret_cast<const uint8_t*>(norm.data() + norm.size())));
    source.Add("l." + i + ".abc", {24, 16}, type);
    for (const std::string e : {"0", "1", "2"}) {
      source.Add("l." + i + ".x." + e + ".e", {5, 16}, type);
    }
  }
  source.Add("head", {10, 16}, type);
}

// The GGUF that converting `source` gives, tensors in the source's types.
void Convert(const FakeSource& source, const Architecture& architecture, FakeSource& gguf) {
  const Hyperparameters h(source.config(), architecture, "config.json", &source);
  gguf.set_layout("gguf");
  gguf.metadata_for_test().Set("general.architecture", architecture.name);
  h.AppendKeys(gguf.metadata_for_test());
  for (const OutputTensor& tensor : MapTensors(source, architecture, h).tensors) {
    gguf.Add(tensor.name, tensor.value.shape, tensor.value.type, All(source, tensor.value));
  }
}

class InverseOfEveryType : public ::testing::TestWithParam<TensorType> {};

TEST_P(InverseOfEveryType, UndoesEveryRuleAndStep) {
  const Architecture architecture = ParseArchitecture(kEverything, "all.jsonc", {});
  FakeSource source(EverythingConfig()), gguf;
  FillEverything(source, GetParam());
  Convert(source, architecture, gguf);
  std::vector<std::string> notes;
  const Json config = InvertConfig(gguf, architecture, notes);
  EXPECT_EQ(config["scaling"]["factors"], source.config()["scaling"]["factors"]);
  EXPECT_THAT(UnequalKeys(gguf, architecture, config), IsEmpty());
  const Hyperparameters h(config, architecture, "config.json");
  const auto tensors = InvertTensors(gguf, architecture, h);
  ASSERT_EQ(tensors.size(), source.tensors().size());
  for (const OutputTensor& tensor : tensors) {
    const TensorInfo* origin = source.FindTensor(tensor.name);
    ASSERT_NE(origin, nullptr) << tensor.name;
    EXPECT_EQ(tensor.value.shape, origin->shape) << tensor.name;
    EXPECT_EQ(tensor.value.type, origin->type) << tensor.name;
    EXPECT_EQ(All(gguf, tensor.value), source.data(tensor.name)) << Describe(tensor.value);
  }
}

INSTANTIATE_TEST_SUITE_P(Types, InverseOfEveryType,
                         ::testing::Values(TensorType::kF32, TensorType::kF16, TensorType::kBF16),
                         [](const auto& param) { return std::string(Name(param.param)); });

TEST(Inverse, DecodesQuantizedTensorsOnTheWay) {
  const auto architecture = ParseArchitecture(
      R"({"name": "q", "hyperparameters": {"block_count": "layers"},
          "keys": {"block_count": "layers", "heads": "heads"},
          "tensors": {"blk.{i}.q.weight": {"from": "l.{i}.q", "apply": {"permute_rope": "heads"}},
                      "blk.{i}.t.weight": {"from": "l.{i}.t", "apply": "transpose"}}})",
      "q.jsonc", {});
  FakeSource gguf;
  Raw blocks(8 * 2 * 34);
  for (size_t i = 0; i < blocks.size(); ++i)
    blocks[i] = static_cast<uint8_t>(i % 34 == 1 ? 0x2c : i);
  gguf.Add("blk.0.q.weight", {8, 64}, TensorType::kQ8_0, blocks);
  gguf.Add("blk.0.t.weight", {8, 64}, TensorType::kQ8_0, blocks);
  std::vector<float> values(8 * 64);
  quant::FindCodec(TensorType::kQ8_0)->dequantize(blocks.data(), values.data(), values.size());
  const Json config = {{"layers", 1}, {"heads", 2}};
  const Hyperparameters h(config, architecture, "config.json");
  for (const OutputTensor& tensor : InvertTensors(gguf, architecture, h)) {
    ASSERT_EQ(tensor.value.type, TensorType::kF32);
    const Raw raw = All(gguf, tensor.value);
    std::vector<float> found(values.size());
    std::memcpy(found.data(), raw.data(), raw.size());
    for (size_t r = 0; r < 8; ++r) {
      for (size_t c = 0; c < 64; ++c) {
        const size_t half = r / 4 * 4 + r % 4 % 2 * 2 + r % 4 / 2;  // row of the heads' halves
        const float got = tensor.name == "l.0.t" ? found[c * 8 + r] : found[half * 64 + c];
        ASSERT_EQ(got, values[r * 64 + c]) << tensor.name << " " << r << ", " << c;
      }
    }
    // Ranges that cut blocks.
    Raw part(3 * tensor.value.columns() * sizeof(float));
    EvaluateRows(gguf, tensor.value, 2, 3, part);
    EXPECT_TRUE(std::equal(part.begin(), part.end(),
                           raw.begin() + static_cast<ptrdiff_t>(2 * part.size() / 3)));
    Prefetch(gguf, tensor.value, 2, 3);
  }
}

TEST(Inverse, ListsWhatIsMissingAndWhatNothingMakes) {
  const Architecture architecture = ParseArchitecture(kEverything, "all.jsonc", {});
  FakeSource source(EverythingConfig()), gguf;
  FillEverything(source, TensorType::kF32);
  Convert(source, architecture, gguf);
  gguf.Add("blk.0.stranger.weight", {2}, TensorType::kF32);
  const Hyperparameters h(source.config(), architecture, "config.json");
  const Error error = ErrorOf([&] { InvertTensors(gguf, architecture, h); });
  EXPECT_EQ(error.code(), ErrorCode::kUnexpected);
  EXPECT_THAT(error.message(), HasSubstr("blk.0.stranger.weight"));
  Json more = source.config();
  more["layers"] = 3;
  const Error missing =
      ErrorOf([&] { InvertTensors(gguf, architecture, Hyperparameters(more, architecture, "c")); });
  EXPECT_THAT(missing.message(), HasSubstr("blk.2.q.weight"));
  more["layers"] = 4000000000;
  EXPECT_QUERN_ERROR(InvertTensors(gguf, architecture, Hyperparameters(more, architecture, "c")),
                     ErrorCode::kBadValue);
  more["layers"] = 2;
  more["experts"] = 4;
  EXPECT_QUERN_ERROR(InvertTensors(gguf, architecture, Hyperparameters(more, architecture, "c")),
                     ErrorCode::kBadShape);
}

// Every architecture that has exports accepts what it exports.
TEST(Inverse, ExportsAreAcceptedByTheirArchitecture) {
  size_t exports = 0;
  for (const Architecture& architecture : BuiltInArchitectures()) {
    for (const ExportRule& rule : architecture.exports) {
      ++exports;
      EXPECT_THAT(architecture.accepts, ::testing::Contains(rule.architecture));
    }
    const bool hugging_face =
        std::any_of(architecture.accepts.begin(), architecture.accepts.end(),
                    [](const std::string& name) { return name.find("LM") != std::string::npos; });
    EXPECT_EQ(hugging_face, !architecture.exports.empty()) << architecture.file;
  }
  EXPECT_GE(exports, 13u);
}

struct ConfigCase {
  const char* architecture;
  Json config;
};

class ConfigInverse : public ::testing::TestWithParam<ConfigCase> {};

TEST_P(ConfigInverse, GivesTheValuesThatTheKeysWereMadeOf) {
  const auto& [name, config] = GetParam();
  const Architecture architecture = FindExport(name, {});
  const Hyperparameters h(config, architecture, "config.json");
  FakeSource gguf;
  h.AppendKeys(gguf.metadata_for_test());
  gguf.Add("token_embd.weight", {100, 1}, TensorType::kF32);  // the width says a key
  std::vector<std::string> notes;
  const Json back = InvertConfig(gguf, architecture, notes);
  EXPECT_THAT(UnequalKeys(gguf, architecture, back), IsEmpty()) << back.dump(2);
  for (const auto& [key, value] : config.items()) EXPECT_EQ(back[key], value) << key;
  EXPECT_THAT(notes, IsEmpty());
}

const ConfigCase kConfigCases[] = {
    {"llama",
     {{"architectures", {"LlamaForCausalLM"}},
      {"num_hidden_layers", 2},
      {"hidden_size", 64},
      {"num_attention_heads", 4},
      {"head_dim", 16},
      {"vocab_size", 100},
      {"rms_norm_eps", 1e-5},
      {"rope_theta", 500000.0},
      {"rope_scaling",
       {{"rope_type", "yarn"},
        {"factor", 8.0},
        {"original_max_position_embeddings", 4096},
        {"beta_fast", 32.0}}}}},
    {"llama",
     {{"architectures", {"MixtralForCausalLM"}},
      {"num_hidden_layers", 2},
      {"hidden_size", 64},
      {"num_attention_heads", 4},
      {"num_key_value_heads", 2},
      {"vocab_size", 100},
      {"num_local_experts", 8},
      {"num_experts_per_tok", 2},
      {"is_causal", false}}},
    {"gptneox",
     {{"num_hidden_layers", 2},
      {"hidden_size", 64},
      {"num_attention_heads", 4},
      {"max_position_embeddings", 2048},
      {"intermediate_size", 256},
      {"rotary_pct", 0.25},
      {"use_parallel_residual", false},
      {"layer_norm_eps", 1e-5},
      {"vocab_size", 100}}},
    {"phi2",
     {{"num_hidden_layers", 2},
      {"hidden_size", 2560},
      {"num_attention_heads", 32},
      {"max_position_embeddings", 2048},
      {"intermediate_size", 10240},
      {"partial_rotary_factor", 0.4},
      {"layer_norm_eps", 1e-5}}},
    {"olmo2",
     {{"architectures", {"Olmo3ForCausalLM"}},
      {"num_hidden_layers", 2},
      {"hidden_size", 64},
      {"num_attention_heads", 4},
      {"sliding_window", 16},
      {"layer_types", {"sliding_attention", "full_attention"}}}},
    {"qwen3moe",
     {{"num_hidden_layers", 2},
      {"hidden_size", 64},
      {"num_attention_heads", 4},
      {"head_dim", 128},
      {"num_experts", 6},
      {"moe_intermediate_size", 32},
      {"norm_topk_prob", true}}},
    {"bloom",
     {{"n_layer", 2},
      {"hidden_size", 64},
      {"n_head", 4},
      {"seq_length", 2048},
      {"layer_norm_epsilon", 1e-5},
      {"vocab_size", 100}}},
};

INSTANTIATE_TEST_SUITE_P(Configs, ConfigInverse, ::testing::ValuesIn(kConfigCases),
                         [](const auto& param) {
                           return std::string(param.param.architecture) +
                                  std::to_string(param.index);
                         });

Json LlamaConfig() {
  return {{"num_hidden_layers", 1}, {"hidden_size", 128}, {"num_attention_heads", 1},
          {"vocab_size", 8},        {"head_dim", 128},    {"intermediate_size", 4},
          {"rope_theta", 500000.0}};
}

// A GGUF of a Llama with one layer; `factors` null: without rope_freqs.weight.
void FillLlama(FakeSource& gguf, const Json& config, const std::vector<float>* factors) {
  const Architecture architecture = FindExport("llama", {});
  FakeSource source(config);
  const TensorType type = TensorType::kBF16;
  const std::string p = "model.layers.0.";
  source.Add("model.embed_tokens.weight", {8, 128}, type);
  source.Add("model.norm.weight", {128}, TensorType::kF32);
  for (const char* norm : {"input_layernorm.weight", "post_attention_layernorm.weight"}) {
    source.Add(p + norm, {128}, TensorType::kF32);
  }
  for (const char* name : {"q", "k", "v", "o"}) {
    source.Add(p + "self_attn." + name + "_proj.weight", {128, 128}, type);
  }
  source.Add(p + "mlp.gate_proj.weight", {4, 128}, type);
  source.Add(p + "mlp.up_proj.weight", {4, 128}, type);
  source.Add(p + "mlp.down_proj.weight", {128, 4}, type);
  Convert(source, architecture, gguf);
  if (factors == nullptr) return;
  gguf.Add("rope_freqs.weight", {factors->size()}, TensorType::kF32,
           Raw(reinterpret_cast<const uint8_t*>(factors->data()),
               reinterpret_cast<const uint8_t*>(factors->data() + factors->size())));
}

TEST(HuggingFaceExport, FindsTheScalingThatComputedTensorsWereMadeOf) {
  Json config = LlamaConfig();
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 32.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  FakeSource gguf;
  FillLlama(gguf, config, nullptr);  // converting computes it
  ASSERT_NE(gguf.FindTensor("rope_freqs.weight"), nullptr);
  const auto result = PlanHuggingFaceExport(gguf, {});
  const auto& header = result.plan.files[0].header;
  const Json back = Json::parse(header.begin(), header.end());
  EXPECT_EQ(result.plan.names[0], "config.json");
  EXPECT_EQ(back["rope_scaling"], config["rope_scaling"]);
  EXPECT_EQ(back["torch_dtype"], "bfloat16");
  EXPECT_EQ(back["tie_word_embeddings"], true);
  for (const OutputTensor& tensor : result.model.tensors)
    EXPECT_THAT(tensor.name, HasSubstr("model"));
}

TEST(HuggingFaceExport, SaysThatAStrangeScalingIsLeftOut) {
  FakeSource gguf;
  const std::vector<float> factors(64, 1.25f);
  FillLlama(gguf, LlamaConfig(), &factors);
  const auto result = PlanHuggingFaceExport(gguf, {});
  EXPECT_THAT(result.plan.notes, ::testing::Contains(HasSubstr("rope_freqs.weight is left out")));
}

TEST(HuggingFaceExport, SaysWhichKeysDoNotComeBack) {
  FakeSource gguf;
  FillLlama(gguf, LlamaConfig(), nullptr);
  gguf.metadata_for_test().Set("llama.strange", uint32_t{3});
  gguf.metadata_for_test().Set("general.url", std::string("there"));
  const auto result = PlanHuggingFaceExport(gguf, {});
  EXPECT_THAT(result.plan.notes,
              ElementsAre(HasSubstr("llama.strange"), "the GGUF has no tokenizer",
                          HasSubstr("general.url")));
}

TEST(HuggingFaceExport, GivesEveryWeightTheTypeThatIsAskedFor) {
  FakeSource gguf;
  FillLlama(gguf, LlamaConfig(), nullptr);
  for (const TensorType type : {TensorType::kF32, TensorType::kF16, TensorType::kBF16}) {
    const auto result = PlanHuggingFaceExport(gguf, {.architecture_files = {}, .dtype = type});
    for (const PlannedTensor& planned : result.plan.tensors) EXPECT_EQ(planned.type, type);
  }
}

TEST(HuggingFaceExport, RefusesWhatItCannotDescribe) {
  FakeSource gguf;
  EXPECT_QUERN_ERROR(PlanHuggingFaceExport(gguf, {}), ErrorCode::kUsage);
  gguf.set_layout("gguf");
  gguf.metadata_for_test().Set("general.architecture", std::string("unheard-of"));
  EXPECT_QUERN_ERROR(PlanHuggingFaceExport(gguf, {}), ErrorCode::kUnsupported);
  gguf.metadata_for_test().Set("general.architecture", std::string("llama"));
  EXPECT_QUERN_ERROR(PlanHuggingFaceExport(gguf, {}), ErrorCode::kMissing);
}

}  // namespace
}  // namespace quern::converters
