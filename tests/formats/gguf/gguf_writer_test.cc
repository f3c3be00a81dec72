#include "formats/gguf/gguf_writer.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <optional>
#include <random>

#include "formats/core/file.h"
#include "formats/gguf/gguf_format.h"
#include "formats/gguf/gguf_reader.h"
#include "tests/formats/gguf/gguf_testing.h"
#include "tests/support/fixtures.h"

namespace quern::formats::gguf {
namespace {

namespace fs = std::filesystem;

std::vector<TensorSpec> SpecsOf(const std::vector<TensorInfo>& tensors) {
  std::vector<TensorSpec> specs;
  for (const auto& tensor : tensors) specs.push_back({tensor.name, tensor.shape, tensor.type});
  return specs;
}

std::vector<uint8_t> FileOf(const Layout& layout) {
  std::vector<uint8_t> file = layout.header;
  file.resize(layout.file_bytes);
  return file;
}

void ExpectRoundTrip(const Metadata& metadata, const std::vector<TensorSpec>& specs) {
  const Layout layout = LayOut(metadata, specs);
  const std::vector<uint8_t> file = FileOf(layout);
  const Header header = ParseBytes(file);
  EXPECT_EQ(header.version, 3u);
  EXPECT_EQ(header.metadata, metadata);
  EXPECT_EQ(header.data_begin, layout.header.size());
  ASSERT_EQ(header.tensors.size(), specs.size());
  for (size_t i = 0; i < specs.size(); ++i) {
    EXPECT_EQ(header.tensors[i].name, specs[i].name);
    EXPECT_EQ(header.tensors[i].shape, specs[i].shape);
    EXPECT_EQ(header.tensors[i].type, specs[i].type);
    EXPECT_EQ(header.tensors[i].offset, layout.offsets[i]);
    EXPECT_EQ(header.tensors[i].bytes, layout.bytes[i]);
  }
}

TEST(GgufWriter, RoundTripsEveryValueType) { ExpectRoundTrip(MetadataOfAllTypes(), {}); }

TEST(GgufWriter, RoundTripsEveryTensorType) {
  std::vector<TensorSpec> specs;
  for (const auto& info : TensorTypes()) {
    if (info.gguf_id < 0) continue;
    specs.push_back({std::string(info.name), {3, 2 * info.block_elements}, info.type});
  }
  for (const uint32_t alignment : {8u, 32u, 4096u}) {
    Metadata metadata;
    metadata.Set("general.alignment", alignment);
    ExpectRoundTrip(metadata, specs);
  }
}

TEST(GgufWriter, LaysOutByteForByte) {
  Metadata metadata;
  metadata.Set("k", std::string("vv"));
  const std::vector<TensorSpec> specs = {{"a", {2, 3}, TensorType::kF32},
                                         {"b", {5}, TensorType::kF16}};
  const Layout layout = LayOut(metadata, specs);
  const GgufBytes expected = GgufBytes()
                                 .Head(2, 1)
                                 .Key("k", std::string("vv"))
                                 .Tensor("a", {3, 2}, 0, 0)
                                 .Tensor("b", {5}, 1, 32)
                                 .Pad();
  const std::span<const uint8_t> bytes = expected;
  EXPECT_EQ(layout.header, std::vector<uint8_t>(bytes.begin(), bytes.end()));
  EXPECT_EQ(layout.offsets, (std::vector<uint64_t>{bytes.size(), bytes.size() + 32}));
  EXPECT_EQ(layout.bytes, (std::vector<uint64_t>{24, 10}));
  EXPECT_EQ(layout.file_bytes, bytes.size() + 64);
}

class RandomMetadata {
 public:
  explicit RandomMetadata(uint32_t seed) : random_(seed) {}

  Metadata Make() {
    Metadata metadata;
    const size_t count = Below(40);
    for (size_t i = 0; i < count; ++i) {
      metadata.Set("key." + std::to_string(i) + std::string(Below(30), 'x'), MakeValue());
    }
    return metadata;
  }
  std::vector<TensorSpec> MakeTensors() {
    std::vector<TensorSpec> specs(Below(20));
    for (size_t i = 0; i < specs.size(); ++i) {
      do {
        specs[i].type = TensorTypes()[Below(TensorTypes().size())].type;
      } while (Info(specs[i].type).gguf_id < 0);
      specs[i].name = "t" + std::to_string(i);
      for (size_t dims = Below(4); dims > 0; --dims) specs[i].shape.push_back(1 + Below(5));
      specs[i].shape.push_back(Info(specs[i].type).block_elements * (1 + Below(4)));
    }
    return specs;
  }

 private:
  size_t Below(size_t limit) {
    return std::uniform_int_distribution<size_t>(0, limit - 1)(random_);
  }
  std::string Text() {
    std::string text(Below(20), '\0');
    for (char& c : text) c = static_cast<char>(Below(256));
    return text;
  }
  Value MakeValue() {
    switch (Below(6)) {
      case 0:
        return static_cast<uint8_t>(Below(256));
      case 1:
        return Below(2) == 1;
      case 2:
        return static_cast<double>(Below(1000)) / 7;
      case 3:
        return Text();
      case 4: {
        std::vector<std::string> items(Below(50));
        for (auto& item : items) item = Text();
        return Array{items};
      }
      default: {
        std::vector<int64_t> items(Below(50));
        for (auto& item : items) item = static_cast<int64_t>(random_());
        return Array{items};
      }
    }
  }

  std::mt19937 random_;
};

TEST(GgufWriter, RoundTripsRandomModels) {
  for (uint32_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE(seed);
    RandomMetadata random(seed);
    const Metadata metadata = random.Make();
    ExpectRoundTrip(metadata, random.MakeTensors());
  }
}

TEST(GgufWriter, RefusesWhatTheReaderRefuses) {
  using enum ErrorCode;
  const auto tensors = [](const std::vector<TensorSpec>& specs) { return LayOut({}, specs); };
  const auto one = [&](std::string name, Shape shape, TensorType type) {
    return tensors({{std::move(name), std::move(shape), type}});
  };
  const auto key = [](std::string name, Value value) {
    Metadata metadata;
    metadata.Append(std::move(name), std::move(value));
    return LayOut(metadata, {});
  };
  EXPECT_QUERN_ERROR(one("", {1}, TensorType::kF32), kBadValue);
  EXPECT_QUERN_ERROR(one(std::string(64, 'n'), {1}, TensorType::kF32), kLimitExceeded);
  EXPECT_QUERN_ERROR(one("t", {}, TensorType::kF32), kBadShape);
  EXPECT_QUERN_ERROR(one("t", {1, 1, 1, 1, 1}, TensorType::kF32), kBadShape);
  EXPECT_QUERN_ERROR(one("t", {0, 4}, TensorType::kF32), kBadShape);
  EXPECT_QUERN_ERROR(one("t", {288}, TensorType::kQ4_K), kBadShape);
  EXPECT_QUERN_ERROR(one("t", {1ull << 62}, TensorType::kF32), kBadShape);
  EXPECT_QUERN_ERROR(one("t", {4}, TensorType::kU16), kBadType);
  EXPECT_QUERN_ERROR(tensors({{"t", {4}, TensorType::kF32}, {"t", {4}, TensorType::kF32}}),
                     kDuplicate);
  EXPECT_QUERN_ERROR(
      tensors({{"a", {1ull << 62}, TensorType::kI8}, {"b", {1ull << 62}, TensorType::kI8}}),
      kLimitExceeded);
  EXPECT_QUERN_ERROR(key("", 1u), kBadValue);
  EXPECT_QUERN_ERROR(key("a\xff", 1u), kBadText);
  EXPECT_QUERN_ERROR(key(std::string(kMaxKeyBytes + 1, 'k'), 1u), kLimitExceeded);
  EXPECT_QUERN_ERROR(key("k", Array{std::monostate()}), kBadType);
  EXPECT_QUERN_ERROR(key("general.alignment", 13u), kBadValue);
  EXPECT_QUERN_ERROR(key("general.alignment", 32), kBadType);
  Metadata twice;
  twice.Append("k", 1u);
  twice.Append("k", 1u);
  EXPECT_QUERN_ERROR(LayOut(twice, {}), kDuplicate);
}

TEST(GgufWriter, DropsOuterOnesAsLlamaCppDoes) {
  EXPECT_EQ(WithoutOuterOnes({1, 1, 8}), (Shape{8}));
  EXPECT_EQ(WithoutOuterOnes({1, 3, 1}), (Shape{3, 1}));
  EXPECT_EQ(WithoutOuterOnes({1, 1}), (Shape{1}));
  EXPECT_EQ(WithoutOuterOnes({2, 1}), (Shape{2, 1}));
  EXPECT_EQ(WithoutOuterOnes({}), (Shape{}));
}

// What llama.cpp's own library makes of GGUF files when it quantizes them to F32.
class GgufWriterOracleSlow : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto script = testing::Shared("conformance/oracle_quantize.py");
    const auto libraries = testing::OracleLibraries();
    input_ = testing::Shared("fixtures/gguf/llama-2-tiny-random.gguf");
    if (!script || !input_) GTEST_SKIP() << "no shared/ beside this clone";
    if (!libraries) GTEST_SKIP() << "no llama.cpp libraries; scripts/install-oracle brings them";
    command_ = "python3 '" + script->string() + "' '" + libraries->string() + "' ";
  }

  // Quantizes `input`, reads the result, lays it out again and expects the same header and size.
  std::unique_ptr<GgufSource> ExpectSameLayout(const fs::path& input) const {
    const fs::path output = folder_.path() / "out.gguf";
    const std::string command = command_ + "'" + input.string() + "' '" + output.string() +
                                "' 0 --allow-requantize --threads 1 >/dev/null 2>&1";
    EXPECT_EQ(std::system(command.c_str()), 0) << command;
    auto source = std::make_unique<GgufSource>(output);
    const Layout layout = LayOut(source->metadata(), SpecsOf(source->tensors()));
    EXPECT_EQ(layout.file_bytes, source->files()[0].size());
    std::vector<uint8_t> header(layout.header.size());
    source->files()[0].ReadAt(0, header);
    EXPECT_EQ(layout.header, header);
    for (size_t i = 0; i < layout.offsets.size(); ++i) {
      EXPECT_EQ(layout.offsets[i], source->tensors()[i].offset);
    }
    return source;
  }

  testing::TempFolder folder_;
  std::optional<fs::path> input_;
  std::string command_;
};

TEST_F(GgufWriterOracleSlow, GivesTheSameHeaderAndSize) { ExpectSameLayout(*input_); }

TEST_F(GgufWriterOracleSlow, PadsTheLastTensorAndDropsOuterOnes) {
  const GgufSource model(*input_);
  std::vector<TensorSpec> specs = SpecsOf(model.tensors());
  specs.push_back({"blk.0.zz_a.weight", {1, 1, 3}, TensorType::kF32});
  specs.push_back({"blk.0.zz_b.weight", {1, 1}, TensorType::kF32});
  const auto path = folder_.Write("in.gguf", FileOf(LayOut(model.metadata(), specs)));
  const auto source = ExpectSameLayout(path);
  for (const auto& spec : specs) {
    const TensorInfo* tensor = source->FindTensor(spec.name);
    ASSERT_NE(tensor, nullptr) << spec.name;
    EXPECT_EQ(tensor->shape, WithoutOuterOnes(spec.shape));
  }
  const TensorInfo& last = source->tensors().back();
  EXPECT_EQ(last.bytes, 4u);
  EXPECT_EQ(source->files()[0].size(), last.offset + 32);
}

}  // namespace
}  // namespace quern::formats::gguf
