#include "formats/safetensors/safetensors_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "formats/core/json.h"
#include "formats/safetensors/dtypes.h"
#include "formats/safetensors/safetensors_reader.h"
#include "tests/support/fixtures.h"

namespace quern::formats::safetensors {
namespace {

using ::testing::ElementsAre;

constexpr uint64_t kNoLimit = uint64_t{1} << 60;

// What the reader makes of a file that has this header.
Header Read(const PlacedFile& file) {
  uint64_t length = 0;
  for (size_t i = 8; i > 0; --i) length = length << 8 | file.header[i - 1];
  EXPECT_EQ(length + 8, file.header.size());
  const std::string json(file.header.begin() + 8, file.header.end());
  return ParseHeader(json, file.bytes - file.header.size(), file.name);
}

TEST(SafetensorsWriter, WritesWhatTheReaderReads) {
  std::vector<NamedTensor> tensors;
  for (const auto& [name, type] : kDtypes) {
    tensors.push_back({"a tensor of " + std::string(name), type, {3, 5}});
  }
  tensors.push_back({"scalar \"quoted\" \u00e9", TensorType::kF32, {}});
  tensors.push_back({"empty", TensorType::kF16, {0, 7}});
  const Layout layout = LayOut(tensors, kNoLimit);
  ASSERT_EQ(layout.files.size(), 1u);
  EXPECT_EQ(layout.files[0].name, "model.safetensors");
  EXPECT_TRUE(layout.index.empty());
  const Header header = Read(layout.files[0]);
  EXPECT_EQ(header.metadata.GetString("format"), "pt");
  std::map<std::string, TensorInfo> read;
  for (const TensorInfo& tensor : header.tensors) read[tensor.name] = tensor;
  ASSERT_EQ(read.size(), tensors.size());
  for (const PlacedTensor& placed : layout.files[0].tensors) {
    const NamedTensor& tensor = tensors[placed.tensor];
    const TensorInfo& found = read.at(tensor.name);
    EXPECT_EQ(found.type, tensor.type) << tensor.name;
    EXPECT_EQ(found.shape, tensor.shape) << tensor.name;
    EXPECT_EQ(found.offset, placed.offset) << tensor.name;
    EXPECT_EQ(found.bytes, placed.bytes) << tensor.name;
  }
}

TEST(SafetensorsWriter, AlignsDataToItsElements) {
  const std::vector<NamedTensor> tensors = {{"c", TensorType::kI8, {3}},
                                            {"b", TensorType::kBF16, {5}},
                                            {"d", TensorType::kF32, {1}},
                                            {"a", TensorType::kF64, {1}},
                                            {"e", TensorType::kF16, {1}}};
  const PlacedFile file = LayOut(tensors, kNoLimit).files[0];
  EXPECT_EQ(file.header.size() % 8, 0u);
  std::vector<std::string> order;
  for (const PlacedTensor& placed : file.tensors) {
    order.push_back(tensors[placed.tensor].name);
    EXPECT_EQ(placed.offset % Info(tensors[placed.tensor].type).block_bytes, 0u) << order.back();
  }
  EXPECT_THAT(order, ElementsAre("a", "d", "b", "e", "c"));
}

TEST(SafetensorsWriter, CutsShardsInTheGivenOrder) {
  const std::vector<NamedTensor> tensors = {{"z", TensorType::kF32, {10}},   // 40 bytes
                                            {"y", TensorType::kF32, {10}},   // 80: full
                                            {"x", TensorType::kF32, {1}},    // the next
                                            {"w", TensorType::kF32, {100}},  // too large: alone
                                            {"v", TensorType::kF32, {2}}};
  const Layout layout = LayOut(tensors, 80);
  std::vector<std::string> files;
  for (const PlacedFile& file : layout.files) {
    Read(file);
    for (const PlacedTensor& placed : file.tensors) {
      files.push_back(file.name.substr(6, 5) + tensors[placed.tensor].name);
    }
  }
  EXPECT_THAT(files, ElementsAre("00001y", "00001z", "00002x", "00003w", "00004v"));
  EXPECT_EQ(layout.files[3].name, "model-00004-of-00004.safetensors");
  const Json index = ParseJson(layout.index, std::string(kIndexName));
  EXPECT_EQ(index["metadata"]["total_size"], 4 * 123);
  EXPECT_EQ(index["weight_map"]["w"], "model-00003-of-00004.safetensors");
  EXPECT_EQ(index["weight_map"].size(), tensors.size());
}

TEST(SafetensorsWriter, GivesNoTensorsAFile) {
  const Layout layout = LayOut({}, 80);
  ASSERT_EQ(layout.files.size(), 1u);
  EXPECT_TRUE(Read(layout.files[0]).tensors.empty());
}

TEST(SafetensorsWriter, RefusesWhatTheFormatCannotHold) {
  const std::vector<NamedTensor> quantized = {{"q", TensorType::kQ4_K, {256}}};
  EXPECT_QUERN_ERROR(LayOut(quantized, kNoLimit), ErrorCode::kUnsupported);
  const std::vector<NamedTensor> twice = {{"a", TensorType::kF32, {1}},
                                          {"a", TensorType::kF32, {1}}};
  EXPECT_QUERN_ERROR(LayOut(twice, kNoLimit), ErrorCode::kDuplicate);
  const uint64_t huge = uint64_t{1} << 40;
  const std::vector<NamedTensor> overflow = {{"a", TensorType::kF32, {huge, huge}}};
  EXPECT_QUERN_ERROR(LayOut(overflow, kNoLimit), ErrorCode::kBadShape);
  const std::vector<NamedTensor> sum(6, {"", TensorType::kF32, {huge << 20}});
  std::vector<NamedTensor> named = sum;
  for (size_t i = 0; i < named.size(); ++i) named[i].name = std::to_string(i);
  EXPECT_QUERN_ERROR(LayOut(named, ~uint64_t{0}), ErrorCode::kBadShape);
}

}  // namespace
}  // namespace quern::formats::safetensors
