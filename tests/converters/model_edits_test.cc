#include "converters/model_edits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "formats/core/error.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using ::testing::ElementsAre;
using testing::ErrorOf;
using ::testing::HasSubstr;

TEST(KeyOverride, HasOneOfFourTypes) {
  using Entry = Metadata::Entry;
  EXPECT_EQ(ParseKeyOverride("a.b=int:4294967295"), (Entry{"a.b", uint32_t{4294967295}}));
  EXPECT_EQ(ParseKeyOverride("a=float:-1.5e-3"), (Entry{"a", -1.5e-3f}));
  EXPECT_EQ(ParseKeyOverride("a=bool:true"), (Entry{"a", true}));
  EXPECT_EQ(ParseKeyOverride("a=bool:false"), (Entry{"a", false}));
  EXPECT_EQ(ParseKeyOverride("a=str:x=y:z "), (Entry{"a", std::string("x=y:z ")}));
  EXPECT_EQ(ParseKeyOverride("a=str:"), (Entry{"a", std::string()}));
}

TEST(KeyOverride, WhatLlamaQuantizeGuessesAtIsAUsageError) {
  for (const char* text :
       {"", "a", "=int:1", "a=1", "a=int1", "a=i32:1", "a=int:", "a=int:1x", "a=int: 1", "a=int:-1",
        "a=int:4294967296", "a=float:", "a=float:1e39", "a=float:nan", "a=float:inf", "a=float:1,5",
        "a=bool:1", "a=bool:True"}) {
    const Error error = ErrorOf([&] { ParseKeyOverride(text); });
    EXPECT_EQ(error.code(), ErrorCode::kUsage) << text;
    EXPECT_THAT(error.what(), HasSubstr("--override-kv")) << text;
  }
}

TEST(KeyOverride, KeysMoveToTheEndInOrder) {
  Metadata metadata;
  metadata.Set("a", uint32_t{1});
  metadata.Set("b", uint32_t{2});
  const std::vector<Metadata::Entry> overrides = {{"a", 0.5f}, {"c", true}};
  RequireDistinctKeys(overrides);
  OverrideKeys(overrides, metadata);
  EXPECT_THAT(metadata.entries(),
              ElementsAre(Metadata::Entry{"b", uint32_t{2}}, Metadata::Entry{"a", 0.5f},
                          Metadata::Entry{"c", true}));
  const std::vector<Metadata::Entry> twice = {{"a", true}, {"a", false}};
  EXPECT_EQ(ErrorOf([&] { RequireDistinctKeys(twice); }).code(), ErrorCode::kUsage);
}

TEST(PruneLayers, ReadsAListOfDistinctNumbers) {
  EXPECT_THAT(ParseLayers("7,0,12"), ElementsAre(7, 0, 12));
  for (const char* text : {"", ",", "1,", ",1", "1,,2", "a", "-1", "1 2", "1,1", "99999999999"}) {
    EXPECT_EQ(ErrorOf([&] { ParseLayers(text); }).code(), ErrorCode::kUsage) << text;
  }
}

OutputModel ModelOf(const std::vector<std::string>& names) {
  OutputModel model;
  for (const std::string& name : names) {
    model.tensors.push_back(
        {.name = name, .value = Source({.name = name, .type = TensorType::kF32, .shape = {1}})});
  }
  return model;
}

std::vector<std::string> Names(const OutputModel& model) {
  std::vector<std::string> names;
  for (const OutputTensor& tensor : model.tensors) names.push_back(tensor.name);
  return names;
}

TEST(PruneLayers, NumbersTheLayersBehindAnew) {
  OutputModel model = ModelOf({"token_embd.weight", "blk.0.a", "blk.1.a", "blk.2.a", "blk.10.a",
                               "blk.3.a", "xblk.2.b", "blk.x.a", "blk.2"});
  const std::vector<uint32_t> layers = {1, 3};
  PruneLayers(layers, model);
  EXPECT_THAT(Names(model), ElementsAre("token_embd.weight", "blk.0.a", "blk.1.a", "blk.2.a",
                                        "xblk.1.b", "blk.x.a", "blk.2"));
  EXPECT_EQ(model.tensors[1].unpruned_name, "");
  EXPECT_EQ(model.tensors[2].unpruned_name, "blk.2.a");
  EXPECT_EQ(model.tensors[3].unpruned_name, "blk.10.a");
  EXPECT_EQ(model.layers_left, 3u);
}

TEST(PruneLayers, RefusesLayersThatAreNotThereAndToLeaveNone) {
  const std::vector<uint32_t> second = {2}, all = {0, 1};
  OutputModel model = ModelOf({"blk.0.a", "blk.1.a"});
  const Error absent = ErrorOf([&] { PruneLayers(second, model); });
  EXPECT_EQ(absent.code(), ErrorCode::kUsage);
  EXPECT_THAT(absent.what(), HasSubstr("the last one is 1"));
  EXPECT_EQ(ErrorOf([&] { PruneLayers(all, model); }).code(), ErrorCode::kUsage);
  OutputModel none = ModelOf({"token_embd.weight"});
  EXPECT_EQ(ErrorOf([&] { PruneLayers(all, none); }).code(), ErrorCode::kUsage);
}

TEST(PruneLayers, NotesKeysWithOneValuePerLayer) {
  OutputModel model = ModelOf({"blk.0.a", "blk.1.a"});
  model.metadata.Set("llama.attention.head_count_kv", Array{std::vector<int32_t>{1, 2}});
  const std::vector<uint32_t> layers = {0};
  PruneLayers(layers, model);
  ASSERT_EQ(model.notes.size(), 1u);
  EXPECT_THAT(model.notes[0], HasSubstr("llama.attention.head_count_kv"));
}

}  // namespace
}  // namespace quern::converters
