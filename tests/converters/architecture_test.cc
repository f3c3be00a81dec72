#include "converters/architecture.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "converters/conversion.h"
#include "converters/formula.h"
#include "converters/hyperparameters.h"
#include "converters/mapper.h"
#include "converters/name_pattern.h"
#include "converters/nearest.h"
#include "tests/converters/fake_source.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;
using testing::TempFolder;

// A small architecture for tests.
constexpr std::string_view kToy = R"({
  "name": "toy", "accepts": ["ToyForCausalLM"],  // comments are allowed
  "hyperparameters": {"block_count": "layers", "expert_count": {"from": "experts", "optional": true}},
  "keys": {"block_count": "layers", "eps": {"type": "f32", "from": "eps", "default": 0.5}},
  "tensors": {
    "token_embd.weight": {"from": "embed.weight", "shape": ["vocab", "width"]},
    "blk.{i}.a.weight": "layer.{i}.a.weight",
    "blk.{i}.b_exps.weight": {"stack": "layer.{i}.x.{e}.b", "when": {"experts": true}},
    "blk.{i}.c_exps.weight": {"stack": "layer.{i}.x.{e}.c", "when": {"experts": true}},
    "output.weight": {"from": "head.weight", "optional": true}
  },
  "ignore": ["*.buffer"]
})";

Architecture Toy() { return ParseArchitecture(kToy, "toy.jsonc", {}); }

Json ToyConfig() { return {{"layers", 2}, {"vocab", 10}, {"width", 4}}; }

FakeSource& Fill(FakeSource& source) {
  source.Add("embed.weight", {10, 4}, TensorType::kBF16);
  source.Add("layer.0.a.weight", {4, 4}, TensorType::kBF16);
  source.Add("layer.1.a.weight", {4, 4}, TensorType::kBF16);
  return source;
}

MappedTensors Map(const FakeSource& source, const Architecture& architecture) {
  return MapTensors(source, architecture,
                    Hyperparameters(source.config(), architecture, "config.json"));
}

std::vector<std::string> Names(const std::vector<OutputTensor>& tensors) {
  std::vector<std::string> names;
  for (const auto& tensor : tensors) names.push_back(tensor.name);
  return names;
}

TEST(NamePattern, MatchesWholeNamesOnly) {
  EXPECT_EQ(MatchName("a.{i}.b", "a.12.b"), (NameNumbers{12, {}}));
  EXPECT_EQ(MatchName("a.{i}.x.{e}", "a.1.x.7"), (NameNumbers{1, 7}));
  for (const char* name : {"a.12.bc", "xa.12.b", "a..b", "a.01.b", "a.-1.b", "a.1x.b", "a.1.", "",
                           "a.99999999999999999999.b"}) {
    EXPECT_FALSE(MatchName("a.{i}.b", name)) << name;
  }
  EXPECT_TRUE(MatchName("{i}.{i}", "3.3"));
  EXPECT_FALSE(MatchName("{i}.{i}", "3.4"));
  EXPECT_EQ(FillName("a.{i}.x.{e}", {1, 7}), "a.1.x.7");
}

TEST(NamePattern, GlobsMatchAnyText) {
  EXPECT_TRUE(MatchGlob("*.rotary_emb.inv_freq", "m.0.rotary_emb.inv_freq"));
  EXPECT_TRUE(MatchGlob("a*b*c", "a.b.b.c"));
  EXPECT_FALSE(MatchGlob("a*b", "abc"));
  EXPECT_FALSE(MatchGlob("a", "ab"));
  EXPECT_FALSE(MatchGlob(std::string(50, '*') + "b", std::string(10'000, 'a')));
}

TEST(Formula, ComputesAsPythonDoes) {
  const auto value = [](std::string_view name) {
    return name == "pct" ? 0.4 : name == "a.b" ? 256.0 : 5.0;
  };
  EXPECT_EQ(EvaluateFormula("int(pct * a.b) // 4", value), 25);
  EXPECT_EQ(EvaluateFormula("2 + 3 * 4 - -1", value), 15);
  EXPECT_EQ(EvaluateFormula("(2 + 3) * 4 / 8", value), 2.5);
  EXPECT_EQ(EvaluateFormula("-7 // 2", value), -4);
  EXPECT_EQ(EvaluateFormula("sqrt(16) + log(1)", value), 4);
  for (const char* bad : {"", "1 +", "(1", "1)", "1 2", "f(1)", "1..2", "a b", "#"}) {
    EXPECT_QUERN_ERROR(EvaluateFormula(bad, value), ErrorCode::kBadText);
  }
  EXPECT_QUERN_ERROR(EvaluateFormula("1 / 0", value), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(EvaluateFormula("sqrt(-1)", value), ErrorCode::kBadValue);
  EXPECT_QUERN_ERROR(EvaluateFormula(std::string(100'000, '('), value), ErrorCode::kBadText);
}

TEST(Nearest, OrdersByEditsAndDropsStrangers) {
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3);
  EXPECT_EQ(EditDistance("", "abc"), 3);
  const std::vector<std::string> names = {"LlamaForCausalLM", "Qwen2ForCausalLM", "Bloom"};
  EXPECT_THAT(NearestNames("LlamaForCausalLLM", names, 3),
              ElementsAre("LlamaForCausalLM", "Qwen2ForCausalLM"));
  EXPECT_THAT(NearestNames(std::string(1 << 20, 'x'), names, 3), ElementsAre());
}

TEST(ArchitectureFile, BuiltInsParse) {
  EXPECT_GE(Architectures().size(), 10u);
  for (const auto& info : Architectures()) EXPECT_FALSE(info.accepts.empty()) << info.name;
  EXPECT_EQ(FindArchitectures("MixtralForCausalLM", {}).front().name, "llama");
  EXPECT_EQ(FindArchitectures("Qwen3ForCausalLM", {}).front().tokenizer, "gpt2");
}

struct BadFile {
  const char* text;
  ErrorCode code;
  const char* where;  // part of the message: the key's path
};

TEST(ArchitectureFile, ErrorsNameFileAndKey) {
  const BadFile cases[] = {
      {"", ErrorCode::kBadText, ""},
      {"[]", ErrorCode::kBadValue, "must be an object"},
      {"{}", ErrorCode::kBadValue, "name"},
      {R"({"name": "x", "nmae": 1})", ErrorCode::kBadValue, "nmae"},
      {R"({"name": 1})", ErrorCode::kBadValue, "name: must be a text"},
      {R"({"name": "x", "name": "y"})", ErrorCode::kDuplicate, ""},
      {R"({"name": "x", "extends": "nobody"})", ErrorCode::kMissing, "extends"},
      {R"({"name": "x", "accepts": [1]})", ErrorCode::kBadValue, "accepts[0]"},
      {R"({"name": "x", "tokenizer": "magic"})", ErrorCode::kBadValue, "tokenizer"},
      {R"({"name": "x", "keys": {"k": {"type": "u33", "from": "a"}}})", ErrorCode::kBadValue,
       "keys.k.type"},
      {R"({"name": "x", "keys": {"k": {"fron": "a"}}})", ErrorCode::kBadValue, "keys.k.fron"},
      {R"({"name": "x", "keys": {"k": {}}})", ErrorCode::kBadValue, "keys.k"},
      {R"({"name": "x", "keys": {"k": null}})", ErrorCode::kBadValue, "keys.k"},
      {R"({"name": "x", "keys": {"k": {"compute": "1 +"}}})", ErrorCode::kBadText,
       "keys.k.compute"},
      {R"({"name": "x", "keys": {"k": {"from": "a", "when": {"b": 3}}}})", ErrorCode::kBadValue,
       "keys.k.when.b"},
      {R"({"name": "x", "tensors": {"t": {}}})", ErrorCode::kBadValue, "tensors.t"},
      {R"({"name": "x", "tensors": {"t": {"from": "a", "stack": "b.{e}"}}})", ErrorCode::kBadValue,
       "tensors.t"},
      {R"({"name": "x", "tensors": {"t.{i}": "a"}})", ErrorCode::kBadValue, "tensors.t.{i}"},
      {R"({"name": "x", "tensors": {"t": {"stack": "a"}}})", ErrorCode::kBadValue,
       "tensors.t.stack"},
      {R"({"name": "x", "tensors": {"t": {"from": "a", "apply": ["invert"]}}})",
       ErrorCode::kBadValue, "tensors.t.apply[0]"},
      {R"({"name": "x", "tensors": {"t": {"from": "a", "apply": {"ungroup": ["h", 0]}}}})",
       ErrorCode::kBadValue, "ungroup"},
      {R"({"name": "x", "tensors": {"t": {"from": "a", "shape": ["1 +"]}}})", ErrorCode::kBadText,
       "tensors.t.shape[0]"},
  };
  for (const auto& [text, code, where] : cases) {
    const Error error = ErrorOf([&, text = text] { ParseArchitecture(text, "x.jsonc", {}); });
    EXPECT_EQ(ErrorCodeName(error.code()), ErrorCodeName(code)) << text;
    EXPECT_THAT(error.what(), HasSubstr("x.jsonc")) << text;
    EXPECT_THAT(error.what(), HasSubstr(where)) << text;
  }
}

TEST(ArchitectureFile, ExtendsReplacesInPlaceRemovesAndAppends) {
  const std::vector<Architecture> known = {Toy()};
  const Architecture child = ParseArchitecture(
      R"({"name": "child", "extends": "toy", "accepts": "ChildLM",
          "keys": {"eps": null, "block_count": "n", "more": "m"},
          "tensors": {"output.weight": null, "blk.{i}.a.weight": "other.{i}"},
          "ignore": "x"})",
      "child.jsonc", known);
  EXPECT_THAT(child.accepts, ElementsAre("ChildLM"));
  ASSERT_EQ(child.keys.size(), 2u);
  EXPECT_EQ(child.keys[0].rule.from[0], "n");
  EXPECT_EQ(child.keys[1].key, "more");
  EXPECT_EQ(child.tensors.size(), 4u);
  EXPECT_EQ(child.tensors[1].sources[0], "other.{i}");
  EXPECT_THAT(child.ignore, ElementsAre("*.buffer", "x"));
}

TEST(ArchitectureFile, LoadsAtRunTimeBeforeTheBuiltInOnes) {
  TempFolder folder;
  const std::vector<std::filesystem::path> files = {folder.Write("toy.jsonc", kToy)};
  EXPECT_EQ(FindArchitectures("ToyForCausalLM", files).front().name, "toy");
  const auto mine = folder.Write(
      "mine.jsonc", R"({"name": "mine", "extends": "llama", "accepts": "LlamaForCausalLM"})");
  EXPECT_EQ(FindArchitectures("LlamaForCausalLM", std::vector{mine}).front().name, "mine");
  const Error error = ErrorOf([&] { FindArchitectures("LamaForCausalLM", files); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("LlamaForCausalLM"));
  EXPECT_THAT(error.what(), HasSubstr("--architecture"));
}

TEST(Hyperparameters, NestedNullAndFallBackValues) {
  const Architecture toy = Toy();
  const Hyperparameters h({{"eps", nullptr}, {"layers", 3}, {"text_config", {{"layers", 5}}}}, toy,
                          "config.json");
  EXPECT_EQ(h.Count("block_count"), 5u);  // text_config wins
  Metadata metadata;
  h.AppendKeys(metadata);
  EXPECT_EQ(*metadata.Get<uint32_t>("toy.block_count"), 5u);
  EXPECT_EQ(*metadata.Get<float>("toy.eps"), 0.5f);  // null counts as absent
}

TEST(Hyperparameters, BadValuesNameTheKey) {
  const Architecture toy = Toy();
  Metadata metadata;
  for (const Json& layers :
       {Json(-1), Json(2.5), Json("two"), Json(uint64_t{1} << 32), Json(true)}) {
    const Hyperparameters h({{"layers", layers}}, toy, "config.json");
    const Error error = ErrorOf([&] { h.AppendKeys(metadata); });
    EXPECT_EQ(error.code(), ErrorCode::kBadValue);
    EXPECT_THAT(error.what(), HasSubstr("toy.block_count"));
    EXPECT_QUERN_ERROR(h.Count("block_count"), ErrorCode::kBadValue);
  }
  const Hyperparameters none(Json::object(), toy, "config.json");
  const Error error = ErrorOf([&] { none.AppendKeys(metadata); });
  EXPECT_EQ(error.code(), ErrorCode::kMissing);
  EXPECT_THAT(error.what(), HasSubstr("layers"));
  EXPECT_QUERN_ERROR(HfArchitecture(Json::object(), "config.json"), ErrorCode::kMissing);
}

TEST(Hyperparameters, CirclesAreErrors) {
  const Architecture circle = ParseArchitecture(
      R"({"name": "c", "hyperparameters": {"a": {"compute": "b"}, "b": {"compute": "a"}}})",
      "c.jsonc", {});
  EXPECT_QUERN_ERROR(Hyperparameters(Json::object(), circle, "config.json").Count("a"),
                     ErrorCode::kBadValue);
}

Metadata LlamaKeys(Json config) {
  config.update({{"num_hidden_layers", 2},
                 {"hidden_size", 64},
                 {"num_attention_heads", 4},
                 {"vocab_size", 100}});
  const Architecture llama = FindArchitectures("LlamaForCausalLM", {}).front();
  Metadata metadata;
  Hyperparameters(config, llama, "config.json").AppendKeys(metadata);
  return metadata;
}

TEST(Hyperparameters, RopeScalingAsLlamaCppWritesIt) {
  const Metadata linear = LlamaKeys({{"rope_scaling", {{"type", "linear"}, {"factor", 2}}}});
  EXPECT_EQ(linear.GetString("llama.rope.scaling.type"), "linear");
  EXPECT_EQ(*linear.Get<float>("llama.rope.scaling.factor"), 2.0f);
  const Metadata yarn = LlamaKeys({{"rope_parameters",
                                    {{"rope_type", "yarn"},
                                     {"factor", 4.0},
                                     {"rope_theta", 5e5},
                                     {"beta_fast", 32},
                                     {"original_max_position_embeddings", 4096}}}});
  EXPECT_EQ(yarn.GetString("llama.rope.scaling.type"), "yarn");
  EXPECT_EQ(*yarn.Get<uint32_t>("llama.rope.scaling.original_context_length"), 4096u);
  EXPECT_EQ(*yarn.Get<float>("llama.rope.scaling.yarn_beta_fast"), 32.0f);
  EXPECT_EQ(*yarn.Get<float>("llama.rope.freq_base"), 5e5f);
  const Metadata dynamic = LlamaKeys({{"rope_scaling", {{"rope_type", "dynamic"}, {"factor", 2}}}});
  EXPECT_FALSE(dynamic.Has("llama.rope.scaling.type"));
  EXPECT_FALSE(dynamic.Has("llama.rope.freq_base"));
  const Metadata head = LlamaKeys({{"head_dim", 32}});
  EXPECT_EQ(*head.Get<uint32_t>("llama.rope.dimension_count"), 32u);
  EXPECT_EQ(*head.Get<uint32_t>("llama.attention.key_length"), 32u);
  EXPECT_EQ(*LlamaKeys({{"head_dim", nullptr}}).Get<uint32_t>("llama.rope.dimension_count"), 16u);
}

TEST(Hyperparameters, GraniteHasScalesAndIgnoresHeadDim) {
  const Architecture granite = FindArchitectures("GraniteForCausalLM", {}).front();
  Metadata metadata;
  Hyperparameters({{"num_hidden_layers", 2},
                   {"hidden_size", 64},
                   {"num_attention_heads", 4},
                   {"vocab_size", 100},
                   {"head_dim", 99},
                   {"attention_multiplier", 0.015625},
                   {"embedding_multiplier", 12.0},
                   {"residual_multiplier", 0.22},
                   {"logits_scaling", 8}},
                  granite, "config.json")
      .AppendKeys(metadata);
  EXPECT_EQ(*metadata.Get<float>("granite.attention.scale"), 0.015625f);
  EXPECT_EQ(*metadata.Get<float>("granite.residual_scale"), 0.22f);
  EXPECT_EQ(metadata.entries().back().first, "granite.logit_scale");
  EXPECT_EQ(*metadata.Get<uint32_t>("granite.rope.dimension_count"), 16u);
  EXPECT_FALSE(metadata.Has("granite.attention.key_length"));
}

TEST(Mapper, KeepsTheSourcesOrderAndStacksExpertsWhereTheLastArrives) {
  Json config = ToyConfig();
  config["experts"] = 2;
  config["layers"] = 1;
  FakeSource source(config);
  source.Add("layer.0.x.1.c", {2, 3}, TensorType::kF16);
  source.Add("layer.0.x.0.b", {3, 2}, TensorType::kF16);
  source.Add("layer.0.a.weight", {4, 4}, TensorType::kF16);
  source.Add("layer.0.x.1.b", {3, 2}, TensorType::kF16);
  source.Add("layer.0.x.0.c", {2, 3}, TensorType::kF16);
  source.Add("embed.weight", {10, 4}, TensorType::kF16);
  source.Add("layer.0.buffer", {4});
  const MappedTensors mapped = Map(source, Toy());
  EXPECT_THAT(Names(mapped.tensors), ElementsAre("blk.0.a.weight", "blk.0.b_exps.weight",
                                                 "blk.0.c_exps.weight", "token_embd.weight"));
  EXPECT_EQ(mapped.tensors[1].value.shape, (Shape{2, 3, 2}));
  EXPECT_EQ(Describe(mapped.tensors[2].value), "stack(layer.0.x.0.c, layer.0.x.1.c)");
  EXPECT_EQ(mapped.notes.size(), 1u);
  const ParameterCounts counts = CountParameters(mapped.tensors);
  EXPECT_EQ(counts.expert_count, 2u);
  EXPECT_EQ(counts.expert, 12u);
  EXPECT_EQ(counts.shared, 56u);
  EXPECT_EQ(counts.total, 80u);
}

TEST(Mapper, ListsEveryTensorThatNoRuleTakes) {
  FakeSource source(ToyConfig());
  Fill(source);
  source.Add("stranger.weight", {2, 2});
  source.Add("layer.2.a.weight", {4, 4});  // beyond the config's layers
  source.Add("layer.0.x.0.b", {4, 4});     // experts, but the config has none
  const Error error = ErrorOf([&] { Map(source, Toy()); });
  EXPECT_EQ(error.code(), ErrorCode::kUnexpected);
  for (const char* name : {"stranger.weight", "layer.2.a.weight", "layer.0.x.0.b", "3 tensors"}) {
    EXPECT_THAT(error.what(), HasSubstr(name));
  }
}

TEST(Mapper, ListsEveryTensorThatIsMissing) {
  FakeSource source(ToyConfig());
  source.Add("layer.0.a.weight", {4, 4});
  const Error error = ErrorOf([&] { Map(source, Toy()); });
  EXPECT_EQ(error.code(), ErrorCode::kMissing);
  EXPECT_THAT(error.what(), HasSubstr("embed.weight"));
  EXPECT_THAT(error.what(), HasSubstr("layer.1.a.weight"));
  Json many = ToyConfig();
  many["layers"] = 4'000'000'000u;  // untrusted: the list stays short
  FakeSource hostile(many);
  EXPECT_LT(std::string(ErrorOf([&] { Map(hostile, Toy()); }).what()).size(), 70'000u);
}

TEST(Mapper, MissingExpertsAreListed) {
  Json config = ToyConfig();
  config["experts"] = 3;
  FakeSource source(config);
  Fill(source);
  for (const char* name : {"layer.0.x.0.b", "layer.0.x.2.b"}) source.Add(name, {2, 2});
  const Error error = ErrorOf([&] { Map(source, Toy()); });
  EXPECT_EQ(error.code(), ErrorCode::kMissing);
  EXPECT_THAT(error.what(), HasSubstr("layer.0.x.1.b"));
}

TEST(Mapper, ShapesThatContradictTheConfigNameBoth) {
  Json config = ToyConfig();
  config["vocab"] = 11;
  FakeSource source(config);
  const Error error = ErrorOf([&] { Map(Fill(source), Toy()); });
  EXPECT_EQ(error.code(), ErrorCode::kBadValue);
  EXPECT_THAT(error.what(), HasSubstr("token_embd.weight"));
  EXPECT_THAT(error.what(), HasSubstr("vocab = 11"));
}

TEST(Mapper, TwoSourcesOfOneTensorAreAnError) {
  const Architecture toy = ParseArchitecture(
      R"({"name": "t", "optional_prefix": "model.", "hyperparameters": {"block_count": "layers"},
          "tensors": {"a.weight": "model.a", "b.weight": ["b", "c"]}})",
      "t.jsonc", {});
  FakeSource prefixed(ToyConfig());
  prefixed.Add("model.a", {1});
  prefixed.Add("b", {1});
  EXPECT_THAT(Names(Map(prefixed, toy).tensors), ElementsAre("a.weight", "b.weight"));
  prefixed.Add("a", {1});
  EXPECT_QUERN_ERROR(Map(prefixed, toy), ErrorCode::kDuplicate);
  FakeSource alternatives(ToyConfig());
  alternatives.Add("a", {1});
  alternatives.Add("b", {1});
  alternatives.Add("c", {1});
  EXPECT_QUERN_ERROR(Map(alternatives, toy), ErrorCode::kDuplicate);
}

TEST(Mapper, TypeIsThatOfTheFirstMatrixInHalfPrecision) {
  FakeSource full(ToyConfig());
  full.Add("embed.weight", {10, 4});
  full.Add("layer.0.a.weight", {4, 4});
  full.Add("layer.1.a.weight", {4, 4});
  EXPECT_EQ(Map(full, Toy()).auto_type, TensorType::kF16);
  FakeSource mixed(ToyConfig());
  mixed.Add("embed.weight", {10, 4});
  mixed.Add("layer.0.a.weight", {4}, TensorType::kF16);
  mixed.Add("layer.1.a.weight", {4, 4}, TensorType::kBF16);
  EXPECT_EQ(Map(mixed, Toy()).auto_type, TensorType::kBF16);
}

TEST(Mapper, KeepsSmallAndSensitiveTensorsInF32) {
  EXPECT_TRUE(KeptInF32("blk.0.attn_norm.weight", {4, 4}));
  EXPECT_TRUE(KeptInF32("blk.3.ffn_gate_inp.weight", {4, 4}));
  EXPECT_TRUE(KeptInF32("position_embd.weight", {4, 4}));
  EXPECT_TRUE(KeptInF32("blk.0.x.weight", {4}));
  EXPECT_TRUE(KeptInF32("blk.0.attn_q.bias", {4, 4}));
  EXPECT_FALSE(KeptInF32("blk.0.ffn_gate_exps.weight", {4, 4, 4}));
  EXPECT_FALSE(KeptInF32("token_embd.weight", {4, 4}));
}

TEST(Mapper, UngroupSortsPartsApart) {
  const Architecture toy = ParseArchitecture(
      R"({"name": "t", "hyperparameters": {"block_count": "layers"},
          "tensors": {"qkv.weight": {"from": "qkv", "apply": {"ungroup": ["heads", 3]}}}})",
      "t.jsonc", {});
  FakeSource source(Json{{"layers", 1}, {"heads", 2}});
  std::vector<uint8_t> rows(12);
  for (uint8_t i = 0; i < 12; ++i) rows[i] = i;
  source.Add("qkv", {12, 1}, TensorType::kI8, rows);
  const MappedTensors mapped = Map(source, toy);
  std::vector<uint8_t> out(12);
  EvaluateRows(source, mapped.tensors[0].value, 0, 12, out);
  EXPECT_THAT(out, ElementsAre(0, 1, 6, 7, 2, 3, 8, 9, 4, 5, 10, 11));
  FakeSource odd(Json{{"layers", 1}, {"heads", 5}});
  odd.Add("qkv", {12, 1});
  EXPECT_QUERN_ERROR(Map(odd, toy), ErrorCode::kBadShape);
}

TEST(Conversion, GgufPassesThrough) {
  FakeSource source;
  source.set_layout("gguf");
  source.Add("blk.0.attn_q.weight", {4, 256}, TensorType::kQ4_K);
  EXPECT_QUERN_ERROR(ConvertModel(source, {}), ErrorCode::kMissing);
  source.metadata_for_test().Set("general.architecture", std::string("anything"));
  const Conversion conversion = ConvertModel(source, {});
  EXPECT_FALSE(conversion.tokenizer);
  EXPECT_EQ(conversion.model.architecture, "anything");
  EXPECT_EQ(conversion.model.metadata, source.metadata());
  EXPECT_THAT(Names(conversion.model.tensors), ElementsAre("blk.0.attn_q.weight"));
}

TEST(Conversion, VocabularyOnlyNeedsNoTensors) {
  TempFolder folder;
  FakeSource source(Json{{"architectures", {"ToyForCausalLM"}}, {"layers", 2}, {"vocab_size", 7}});
  ConvertOptions options;
  options.architecture_files = {folder.Write("toy.jsonc", kToy)};
  EXPECT_QUERN_ERROR(ConvertModel(source, options), ErrorCode::kMissing);
  options.vocab_only = true;
  const Conversion conversion = ConvertModel(source, options);
  EXPECT_TRUE(conversion.model.tensors.empty());
  EXPECT_EQ(conversion.tokenizer->vocab_size, 7u);
  EXPECT_EQ(*conversion.model.metadata.Get<uint32_t>("general.quantization_version"), 2u);
}

TEST(Graph, EveryArchitectureThatConvertSupportsHasOne) {
  for (const ArchitectureInfo& info : Architectures()) {
    EXPECT_NO_THROW(FindGraph(info.name, {})) << info.name;
  }
  EXPECT_EQ(ErrorOf([] { FindGraph("mambo", {}); }).code(), ErrorCode::kUnsupported);
}

TEST(Graph, IsLaidOverTheBaseMemberByMember) {
  const GraphRules llama = FindGraph("llama", {});
  EXPECT_EQ(llama.rope, RopeStyle::kInterleaved);
  EXPECT_EQ(llama.norm, NormKind::kRms);
  const GraphRules qwen3moe = FindGraph("qwen3moe", {});
  EXPECT_EQ(qwen3moe.qk_norm, Presence::kAlways);
  EXPECT_EQ(qwen3moe.rope, RopeStyle::kHalves);
  EXPECT_TRUE(qwen3moe.normalize_experts);
  EXPECT_FALSE(qwen3moe.shared_expert);
  EXPECT_EQ(FindGraph("bloom", {}).alibi_max_bias, 8);
}

TEST(Graph, OfAFileOfTheUserComesFirst) {
  const TempFolder folder;
  const auto file = folder.Write(
      "mambo.jsonc", R"({"name": "mambo", "extends": "llama", "graph": {"residual": "parallel"}})");
  const std::vector<std::filesystem::path> files = {file};
  EXPECT_EQ(FindGraph("mambo", files).residual, Residual::kParallel);
  EXPECT_EQ(FindGraph("mambo", files).rope, RopeStyle::kInterleaved);
}

TEST(Graph, RefusesWhatIsNotInItsSchema) {
  for (const char* graph :
       {R"({"norms": "rms"})", R"({"norm": "l2"})", R"({"norm": 1})", R"({"gated": "yes"})",
        R"({"alibi_max_bias": -1})", R"({"alibi_max_bias": "8"})",
        R"({"sliding_window_period": 1.5})", R"({"sliding_window_period": -4})", R"(["rms"])"}) {
    const std::string text = std::string(R"({"name": "x", "graph": )") + graph + "}";
    EXPECT_EQ(ErrorOf([&] { ParseArchitecture(text, "x.jsonc", {}); }).code(), ErrorCode::kBadValue)
        << graph;
  }
}

}  // namespace
}  // namespace quern::converters
