#include "quant/recipe.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cctype>
#include <cstdlib>
#include <map>

#include "formats/core/json.h"
#include "tests/support/fixtures.h"

namespace quern::quant {
namespace {

using ::testing::HasSubstr;

// What llama.cpp v0.5.0 chose; the format is explained in tests/conformance/recipe_oracle.py.
constexpr std::string_view kGolden = "recipes/llama.cpp-v0.5.0.json";

const Json& Golden() {
  static const Json golden = ReadJsonFile(testing::TestData(kGolden));
  return golden;
}

Metadata MetadataOf(const Json& model) {
  Metadata metadata;
  for (const auto& [key, value] : model["metadata"].items()) {
    if (value.is_string()) {
      metadata.Set(key, value.get<std::string>());
    } else if (value.is_array()) {
      metadata.Set(key, Array{value.get<std::vector<int32_t>>()});
    } else if (value.is_number_float()) {
      metadata.Set(key, value.get<float>());
    } else {
      metadata.Set(key, value.get<uint32_t>());
    }
  }
  return metadata;
}

// Of whatever there is blocks of: a vision tower has "clip.vision.block_count".
uint32_t Blocks(const Metadata& metadata) {
  for (const auto& [key, value] : metadata.entries()) {
    if (key.ends_with(".block_count")) return std::get<uint32_t>(value);
  }
  return 0;
}

// The model's tensors in the order of its file.
std::vector<RecipeTensor> SourceTensors(const Json& model, uint32_t blocks) {
  std::vector<RecipeTensor> tensors;
  for (const Json& tensor : model["tensors"]) {
    const auto name = tensor[0].get<std::string>();
    const auto type = TensorTypeFromName(tensor.size() > 2 ? tensor[2].get<std::string>() : "F32");
    const size_t number = name.find("{i}");
    for (uint32_t i = 0; i < (number == name.npos ? 1 : blocks); ++i) {
      std::string one = name;
      if (number != name.npos) one.replace(number, 3, std::to_string(i));
      tensors.push_back({one, tensor[1].get<Shape>(), *type});
    }
  }
  return tensors;
}

struct Model {
  explicit Model(const Json& json) : metadata(MetadataOf(json)), facts(FactsFrom(metadata)) {
    const auto source = SourceTensors(json, Blocks(metadata));
    for (const size_t i : QuantizeOrder(source)) tensors.push_back(source[i]);
  }

  Metadata metadata;
  ModelFacts facts;
  std::vector<RecipeTensor> tensors;  // in QuantizeOrder
};

std::string Fnv1a(std::span<const RecipeTensor> tensors) {
  uint64_t value = 0xcbf29ce484222325;
  for (const auto& tensor : tensors) {
    for (const unsigned char byte : tensor.name + "\n") value = (value ^ byte) * 0x100000001b3;
  }
  return fmt::format("{:016x}", value);
}

RecipeOptions OptionsOf(const Json& json) {
  RecipeOptions options;
  const auto type = [&](const char* key) -> std::optional<TensorType> {
    return json.contains(key) ? TensorTypeFromName(json[key].get<std::string>()) : std::nullopt;
  };
  options.pure = json.value("pure", false);
  options.leave_output_tensor = json.value("leave_output_tensor", false);
  options.allow_requantize = json.value("allow_requantize", false);
  options.has_imatrix = json.value("imatrix", false);
  options.output_tensor_type = type("output_tensor_type");
  options.token_embedding_type = type("token_embedding_type");
  for (const auto& pair : json.value("tensor_types", Json::array())) {
    options.tensor_types.emplace_back(pair[0], *TensorTypeFromName(pair[1].get<std::string>()));
  }
  return options;
}

std::vector<std::string> Expand(std::string_view runs) {
  std::map<char, std::string> names;
  for (const auto& [name, letter] : Golden()["letters"].items()) {
    names[letter.get<std::string>()[0]] = name;
  }
  std::vector<std::string> types;
  for (size_t at = 0; at < runs.size();) {
    const std::string& type = names.at(runs[at++]);
    size_t count = 0;
    while (at < runs.size() && std::isdigit(static_cast<unsigned char>(runs[at]))) {
      count = count * 10 + static_cast<size_t>(runs[at++] - '0');
    }
    types.insert(types.end(), std::max<size_t>(count, 1), type);
  }
  return types;
}

void ExpectOutcome(const Model& model, const std::string& file_type, const RecipeOptions& options,
                   std::string outcome) {
  SCOPED_TRACE(file_type);
  const FileType* type = FindFileType(file_type);
  ASSERT_NE(type, nullptr);
  if (outcome.starts_with("!")) {
    const Error error =
        testing::ErrorOf([&] { (void)ChooseTypes(*type, model.facts, model.tensors, options); });
    EXPECT_EQ(ErrorCodeName(error.code()), outcome.substr(1));
    return;
  }
  if (const size_t at = outcome.find(" file_type="); at != outcome.npos) {
    EXPECT_EQ(fmt::format(" file_type={}", CopiedFileType(model.metadata, model.tensors)),
              outcome.substr(at));
    outcome.resize(at);
  }
  const auto choices = ChooseTypes(*type, model.facts, model.tensors, options);
  const auto expected = Expand(outcome);
  ASSERT_EQ(choices.size(), expected.size());
  std::string different;
  for (size_t i = 0; i < choices.size(); ++i) {
    EXPECT_NE(choices[i].reason, "");
    if (Name(choices[i].type) == expected[i]) continue;
    different += fmt::format("{}: {} instead of {}\n", model.tensors[i].name, choices[i].reason,
                             expected[i]);
  }
  EXPECT_EQ(different, "");
}

class GoldenRecipe : public ::testing::TestWithParam<size_t> {
 protected:
  const Json& json() const { return Golden()["models"][GetParam()]; }
};

TEST_P(GoldenRecipe, OrdersTensorsAsLlamaCppDoes) {
  EXPECT_EQ(Fnv1a(Model(json()).tensors), json()["order"]);
}

TEST_P(GoldenRecipe, ChoosesLlamaCppsTypesForEveryFileType) {
  const Model model(json());
  RecipeOptions guided;
  guided.has_imatrix = true;
  for (const auto& [file_type, plain] : json()["plain"].items()) {
    ExpectOutcome(model, file_type, {}, plain);
    ExpectOutcome(model, file_type, guided, json()["imatrix"].value(file_type, std::string(plain)));
  }
}

TEST_P(GoldenRecipe, ChoosesLlamaCppsTypesWithOptions) {
  const Model model(json());
  for (const Json& run : json().value("options", Json::array())) {
    SCOPED_TRACE(run[1].dump());
    ExpectOutcome(model, run[0], OptionsOf(run[1]), run[2]);
  }
}

INSTANTIATE_TEST_SUITE_P(LlamaCpp, GoldenRecipe,
                         ::testing::Range(size_t{0}, Golden()["models"].size()),
                         [](const auto& param) {
                           std::string name = Golden()["models"][param.param]["name"];
                           for (char& c : name) {
                             if (!std::isalnum(static_cast<unsigned char>(c))) c = '_';
                           }
                           return name;
                         });

TEST(SlowGoldenRecipe, IsWhatTheLibraryChooses) {
  const auto oracle = testing::OracleLibraries();
  if (!oracle) GTEST_SKIP() << "llama.cpp's libraries are not installed";
  if (std::system("/usr/bin/env python3 -c 'import ctypes'") != 0) GTEST_SKIP() << "no python3";
  const std::string command =
      fmt::format("/usr/bin/env python3 '{}/tests/conformance/recipe_oracle.py' '{}' --check '{}'",
                  QUERN_SOURCE_DIR, oracle->string(), testing::TestData(kGolden).string());
  EXPECT_EQ(std::system(command.c_str()), 0) << command;
}

TEST(FileTypes, AreFoundByNameAliasAndIdInAnyCase) {
  for (const FileType& type : FileTypes()) {
    EXPECT_EQ(FindFileType(type.name), &type);
    if (!type.only_copy) {
      EXPECT_EQ(FindFileType(std::to_string(type.id)), &type);
    }
  }
  EXPECT_EQ(FindFileType("q4_k"), FindFileType("Q4_K_M"));
  EXPECT_EQ(FindFileType("Q3_K"), FindFileType("q3_k_m"));
  EXPECT_EQ(FindFileType("q5_K"), FindFileType("Q5_K_M"));
  for (const char* bad : {"", "Q4", "Q4_K_M ", "4", "-1", "99", "15x", "99999999999999999999"}) {
    EXPECT_EQ(FindFileType(bad), nullptr) << bad;
  }
}

TEST(FileTypes, HaveDifferentNamesAndOneLineDescriptions) {
  std::map<std::string_view, int> seen;
  for (const FileType& type : FileTypes()) {
    EXPECT_EQ(++seen[type.name], 1);
    EXPECT_NE(type.description, "");
    EXPECT_EQ(type.description.find('\n'), type.description.npos);
  }
  EXPECT_EQ(FileTypes().size(), 36u);
}

TEST(Recipe, SaysWhichRuleDecided) {
  ModelFacts facts{"llama", 8, 8, 8, 0};
  const std::vector<RecipeTensor> tensors = {
      {"output.weight", {100, 256}, TensorType::kF16},
      {"output_norm.weight", {256}, TensorType::kF32},
      {"blk.0.attn_q.weight", {2, 288}, TensorType::kF16},
      {"blk.0.attn_v.weight", {2, 256}, TensorType::kF16},
  };
  RecipeOptions options;
  options.tensor_types = {{"nothing", TensorType::kF16}, {"attn_v", TensorType::kQ8_0}};
  auto choices = ChooseTypes(*FindFileType("Q4_K_M"), facts, tensors, options);
  EXPECT_EQ(choices[0].reason, "Q4_K_M: output -> Q6_K");
  EXPECT_EQ(choices[1].reason, "a vector, not a matrix: kept F32");
  EXPECT_EQ(choices[2].reason,
            "Q4_K_M: no special tensor -> Q4_K; rows of 288 are no multiple of 256 -> Q5_0");
  EXPECT_TRUE(choices[2].fallback);
  EXPECT_EQ(choices[3].reason, "--tensor-type attn_v=Q8_0");
  EXPECT_FALSE(choices[3].fallback);
  choices = ChooseTypes(*FindFileType("F16"), facts, tensors, options);
  EXPECT_EQ(choices[3].reason, "F16: matrix -> F16");
}

TEST(Recipe, MarksTensorsThatNeedTheImatrix) {
  const std::vector<RecipeTensor> tensors = {
      {"token_embd.weight", {100, 256}, TensorType::kF16},
      {"blk.0.ffn_up.weight", {2, 256}, TensorType::kF16},
      {"blk.0.ffn_gate.weight", {2, 300}, TensorType::kF16},
  };
  RecipeOptions options;
  options.has_imatrix = true;
  options.token_embedding_type = TensorType::kIQ2_XS;
  const auto choices = ChooseTypes(*FindFileType("IQ2_XS"), {"llama", 1}, tensors, options);
  EXPECT_FALSE(choices[0].requires_imatrix);
  EXPECT_TRUE(choices[1].requires_imatrix);
  EXPECT_FALSE(choices[2].requires_imatrix);  // fell back to F16
}

TEST(Recipe, RefusesWhatCannotWork) {
  const FileType& q4 = *FindFileType("Q4_K_M");
  const ModelFacts facts{"llama", 1, 8, 8, 0};
  const auto choose = [&](std::vector<RecipeTensor> tensors, const RecipeOptions& options) {
    (void)ChooseTypes(q4, facts, tensors, options);
  };
  const RecipeTensor up = {"blk.0.ffn_up.weight", {2, 256}, TensorType::kF32};
  RecipeOptions bad_regex;
  bad_regex.tensor_types = {{"attn_(v", TensorType::kQ8_0}};
  EXPECT_QUERN_ERROR(choose({up}, bad_regex), ErrorCode::kUsage);
  RecipeOptions odd_output;
  odd_output.output_tensor_type = TensorType::kQ6_K;
  EXPECT_QUERN_ERROR(choose({{"output.weight", {2, 288}, TensorType::kF16}}, odd_output),
                     ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(choose({{"a.weight", {2, 256}, TensorType::kI32}}, {}), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(choose({{"a.weight", {2, 256}, TensorType::kQ8_0}}, {}), ErrorCode::kUsage);
}

TEST(Recipe, SurvivesHostileNamesAndShapes) {
  const std::string long_name(100000, 'b');
  const std::vector<RecipeTensor> tensors = {
      {"", {}, TensorType::kF32},
      {"blk.", {2, 256}, TensorType::kF32},
      {long_name + ".weight", {2, 256}, TensorType::kF32},
      {"blk.99999999999999999999.weight", {2, 256}, TensorType::kF32},
      {"zero.weight", {2, 0}, TensorType::kF32},
      {"deep.weight", {1, 1, 1, 1, 1, 2, 256}, TensorType::kF32},
  };
  for (const FileType& type : FileTypes()) {
    RecipeOptions options;
    options.has_imatrix = true;
    EXPECT_EQ(ChooseTypes(type, {"llama", 1, 0, 0, 1}, tensors, options).size(), tensors.size());
  }
  EXPECT_EQ(QuantizeOrder(tensors).size(), tensors.size());
}

TEST(Recipe, NamesTheTensorThatNoCodecWrites) {
  const std::vector<RecipeTensor> tensors = {{"a", {4}, TensorType::kI32},
                                             {"b", {4}, TensorType::kF32}};
  const std::vector<TypeChoice> copies = {{TensorType::kI32, "kept"}, {TensorType::kF32, "kept"}};
  RequireCodecs(tensors, copies);
  const std::vector<TypeChoice> choices = {{TensorType::kI32, "kept"}, {TensorType::kQ8_K, "test"}};
  const Error error = testing::ErrorOf([&] { RequireCodecs(tensors, choices); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_EQ(error.where().subject, "b");
}

TEST(ModelFacts, TakesTheFirstLayerOfListsAndChecksCounts) {
  Metadata metadata;
  metadata.Set("general.architecture", std::string("deci"));
  metadata.Set("deci.block_count", uint32_t{3});
  metadata.Set("deci.attention.head_count", Array{std::vector<int32_t>{8, 4, 2}});
  EXPECT_EQ(FactsFrom(metadata).head_count, 8u);
  EXPECT_EQ(FactsFrom(metadata).head_count_kv, 8u);
  metadata.Set("deci.attention.head_count_kv", Array{std::vector<uint32_t>{0, 4, 2}});
  EXPECT_EQ(FactsFrom(metadata).head_count_kv, 0u);
  EXPECT_EQ(FactsFrom(metadata).block_count, 3u);
  EXPECT_EQ(FactsFrom(metadata).expert_count, 0u);
  metadata.Set("deci.expert_count", std::string("8"));
  EXPECT_QUERN_ERROR((void)FactsFrom(metadata), ErrorCode::kBadType);
  metadata.Set("deci.expert_count", int32_t{-1});
  EXPECT_QUERN_ERROR((void)FactsFrom(metadata), ErrorCode::kBadValue);
  metadata.Set("deci.expert_count", Array{std::vector<float>{1}});
  EXPECT_QUERN_ERROR((void)FactsFrom(metadata), ErrorCode::kBadType);
}

}  // namespace
}  // namespace quern::quant
