// The same model from every layout, and what is not made up by a model's parts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "converters/converter.h"
#include "formats/reader.h"
#include "tests/converters/fake_source.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using quern::testing::TestData;

std::vector<uint8_t> RowsOf(const ModelSource& source, const Expression& value, uint64_t first,
                            uint64_t count) {
  std::vector<uint8_t> bytes(count * RowBytes(value.type, value.columns()).value());
  EvaluateRows(source, value, first, count, bytes);
  return bytes;
}

std::map<std::string, std::vector<uint8_t>> TensorsOf(const std::string& layout) {
  const auto source = formats::OpenModel(TestData("layouts/" + layout + "/small-llama"));
  const OutputModel model = Convert(*source, {});
  std::map<std::string, std::vector<uint8_t>> tensors;
  for (const auto& tensor : model.tensors) {
    tensors[tensor.name] = RowsOf(*source, tensor.value, 0, tensor.value.rows());
  }
  return tensors;
}

class Layout : public ::testing::TestWithParam<const char*> {};

TEST_P(Layout, GivesTheTensorsOfTheHuggingFaceFolder) {
  const auto expected = TensorsOf("hf_safetensors");
  EXPECT_EQ(expected.size(), 21u);
  EXPECT_EQ(TensorsOf(GetParam()), expected);
}

INSTANTIATE_TEST_SUITE_P(All, Layout,
                         ::testing::Values("hf_zip", "hf_legacy", "hf_sharded", "meta",
                                           "meta_2_parts", "meta_2_parts_by_rows", "litgpt",
                                           "litgpt_grouped"));

TEST(ConcatColumns, GivesAnyRangeOfRows) {
  FakeSource source;
  source.Add("a", {6, 3});
  source.Add("b", {6, 1});
  source.Add("c", {6, 5});
  const Expression whole =
      ConcatColumns({Source(*source.FindTensor("a")), Source(*source.FindTensor("b")),
                     Source(*source.FindTensor("c"))});
  EXPECT_EQ(whole.shape, (Shape{6, 9}));
  std::vector<uint8_t> expected;
  for (size_t row = 0; row < 6; ++row) {
    for (const auto& [name, width] : {std::pair{"a", 12}, {"b", 4}, {"c", 20}}) {
      const auto* from = source.data(name).data() + row * static_cast<size_t>(width);
      expected.insert(expected.end(), from, from + width);
    }
  }
  for (uint64_t first = 0; first < 6; ++first) {
    for (uint64_t count = 1; first + count <= 6; ++count) {
      const auto begin = expected.begin() + static_cast<ptrdiff_t>(first * 36);
      EXPECT_EQ(RowsOf(source, whole, first, count),
                std::vector<uint8_t>(begin, begin + static_cast<ptrdiff_t>(count * 36)));
    }
  }
  // A reshape asks for ranges that begin and end within rows.
  const Expression reshaped = Reshape(whole, {27, 2});
  const auto some = RowsOf(source, reshaped, 3, 11);
  EXPECT_TRUE(std::equal(some.begin(), some.end(), expected.begin() + 3 * 8));
}

TEST(ConcatColumns, RejectsWhatDoesNotStandSideBySide) {
  FakeSource source;
  source.Add("a", {6, 3});
  source.Add("b", {5, 3});
  source.Add("c", {6, 3}, TensorType::kF16);
  source.Add("d", {6});
  const auto join = [&](const char* other) {
    ConcatColumns({Source(*source.FindTensor("a")), Source(*source.FindTensor(other))});
  };
  EXPECT_QUERN_ERROR(join("b"), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(join("c"), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(join("d"), ErrorCode::kBadShape);
}

// A model of Meta's layout in two parts, `change`d.
void AddPart(FakeSource& source, int part, uint64_t wo_columns = 8) {
  const std::string at = "consolidated." + std::to_string(part) + "/";
  source.Add(at + "tok_embeddings.weight", {20, 8});
  source.Add(at + "output.weight", {10, 16});
  source.Add(at + "norm.weight", {16});
  source.Add(at + "layers.0.attention_norm.weight", {16});
  source.Add(at + "layers.0.ffn_norm.weight", {16});
  for (const char* name : {"wq", "wk", "wv"}) {
    source.Add(at + "layers.0.attention." + name + ".weight", {8, 16});
  }
  source.Add(at + "layers.0.attention.wo.weight", {16, wo_columns});
  source.Add(at + "layers.0.feed_forward.w1.weight", {12, 16});
  source.Add(at + "layers.0.feed_forward.w3.weight", {12, 16});
  source.Add(at + "layers.0.feed_forward.w2.weight", {16, 12});
}

Json Params() { return {{"dim", 16}, {"n_layers", 1}, {"n_heads", 4}, {"norm_eps", 1e-5}}; }

OutputModel ConvertParts(FakeSource& source) {
  source.set_layout("meta");
  source.side_files_for_test()["tokenizer.model"] =
      TestData("layouts/meta/small-llama/tokenizer.model");
  return Convert(source, {});
}

TEST(MetaParts, AreJoinedAlongTheAxisThatMakesUpTheShape) {
  FakeSource source(Params());
  AddPart(source, 0);
  AddPart(source, 1);
  const OutputModel model = ConvertParts(source);
  for (const auto& tensor : model.tensors) {
    if (tensor.name == "token_embd.weight") {
      EXPECT_EQ(tensor.value.op, Op::kColumns);
    }
    if (tensor.name == "output.weight") {
      EXPECT_EQ(tensor.value.op, Op::kConcat);
    }
    if (tensor.name == "output_norm.weight") {
      EXPECT_EQ(tensor.value.op, Op::kSource);
    }
  }
  EXPECT_EQ(model.metadata.GetInteger("llama.feed_forward_length"), 24);
  EXPECT_EQ(model.metadata.GetInteger("llama.context_length"), 4096);
}

TEST(MetaParts, AreRejectedWhereTheyDoNotMakeUpTheShape) {
  FakeSource source(Params());
  AddPart(source, 0);
  AddPart(source, 1, 7);
  EXPECT_QUERN_ERROR(ConvertParts(source), ErrorCode::kBadShape);
}

TEST(MetaParts, AreMissedWhereOneLacksATensor) {
  FakeSource source(Params());
  AddPart(source, 0);
  AddPart(source, 1);
  source.Add("consolidated.2/norm.weight", {16});
  EXPECT_QUERN_ERROR(ConvertParts(source), ErrorCode::kMissing);
  FakeSource beyond(Params());
  AddPart(beyond, 0);
  beyond.Add("consolidated.18446744073709551615/norm.weight", {16});
  EXPECT_ANY_THROW(ConvertParts(beyond));
}

TEST(MetaParams, WhatTheyLeaveOpenIsToldToTheUser) {
  const auto notes_of = [](Json params) {
    FakeSource source(params);
    AddPart(source, 0);
    AddPart(source, 1);
    return ConvertParts(source).notes;
  };
  using ::testing::AllOf;
  using ::testing::Contains;
  using ::testing::HasSubstr;
  using ::testing::Not;
  Json params = Params();
  EXPECT_THAT(notes_of(params),
              Contains(AllOf(HasSubstr("4096 is assumed"), HasSubstr("\"max_seq_len\""))));
  params["max_seq_len"] = 1000;
  EXPECT_THAT(notes_of(params), Not(Contains(HasSubstr("max_seq_len"))));
  params["use_scaled_rope"] = true;
  EXPECT_THAT(notes_of(params),
              Contains(AllOf(HasSubstr("8.0 is assumed"), HasSubstr("\"rope_scaling_factor\""))));
  params["rope_scaling_factor"] = 32;
  EXPECT_THAT(notes_of(params), Not(Contains(HasSubstr("rope_scaling_factor"))));
}

TEST(LitgptConfig, MustBeOfOneOfTheArchitectures) {
  FakeSource source(Json{{"mlp_class_name", "GemmaMLP"}, {"norm_class_name", "RMSNorm"}});
  source.set_layout("litgpt");
  const Error error = quern::testing::ErrorOf([&] { Convert(source, {}); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.message(), ::testing::HasSubstr("llama-litgpt.jsonc is not for"));
  EXPECT_THAT(error.message(), ::testing::HasSubstr("GemmaMLP"));
}

TEST(MetaParams, AreRequiredToDescribeALlama) {
  Json params = Params();
  params["moe"] = {{"num_experts", 8}};
  FakeSource source(params);
  AddPart(source, 0);
  EXPECT_QUERN_ERROR(ConvertParts(source), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace quern::converters
