#include "formats/imatrix/imatrix_reader.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <random>

#include "formats/reader.h"
#include "tests/support/fixtures.h"

namespace quern::formats::imatrix {
namespace {

using quern::testing::Bytes;

Imatrix Parse(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes, "test.dat");
  return ReadLegacyImatrix(reader);
}

Bytes& PutText(Bytes& bytes, std::string_view text) {
  return bytes.Put(static_cast<int32_t>(text.size())).Text(text);
}

Bytes& PutEntry(Bytes& bytes, std::string_view name, int32_t calls,
                const std::vector<float>& values) {
  PutText(bytes, name).Put(calls).Put(static_cast<int32_t>(values.size()));
  for (const float value : values) bytes.Put(value);
  return bytes;
}

Bytes TwoEntries() {
  Bytes bytes;
  bytes.Put(int32_t{2});
  PutEntry(bytes, "blk.0.attn_k.weight", 3, {1.0f, 2.0f, 10.0f});
  PutEntry(bytes, "blk.0.ffn_up.weight", 0, {5.0f});
  PutText(bytes.Put(int32_t{40}), "wiki.txt");
  return bytes;
}

TEST(LegacyImatrix, DividesSumsByCallsAndKeepsThoseOfNoCalls) {
  const Imatrix imatrix = Parse(TwoEntries());
  ASSERT_EQ(imatrix.entries.size(), 2u);
  EXPECT_EQ(imatrix.entries.at("blk.0.attn_k.weight").values,
            (std::vector<float>{1.0f / 3.0f, 2.0f / 3.0f, 10.0f / 3.0f}));
  EXPECT_EQ(imatrix.entries.at("blk.0.attn_k.weight").counts, std::vector<int64_t>{3});
  EXPECT_EQ(imatrix.entries.at("blk.0.ffn_up.weight").values, std::vector<float>{5.0f});
  EXPECT_EQ(imatrix.datasets, std::vector<std::string>{"wiki.txt"});
  EXPECT_EQ(imatrix.chunk_count, 40u);
  EXPECT_EQ(imatrix.chunk_size, 0u);
}

TEST(LegacyImatrix, NeedsNoTrailer) {
  Bytes bytes;
  PutEntry(bytes.Put(int32_t{1}), "a", 1, {2.0f});
  EXPECT_EQ(Parse(bytes).chunk_count, 0u);
  EXPECT_TRUE(Parse(bytes).datasets.empty());
  bytes.Put(int32_t{7});
  EXPECT_EQ(Parse(bytes).chunk_count, 7u);
  EXPECT_TRUE(Parse(bytes).datasets.empty());
  bytes.Put(int32_t{0});
  EXPECT_TRUE(Parse(bytes).datasets.empty());
}

TEST(LegacyImatrix, RejectsEveryTruncation) {
  const std::vector<uint8_t> whole = TwoEntries().data();
  const size_t trailer = whole.size() - 4 - 4 - 8;
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::span<const uint8_t> part(whole.data(), size);
    if (size == trailer || size == trailer + 4) {
      EXPECT_EQ(Parse(part).entries.size(), 2u);
    } else {
      EXPECT_QUERN_ERROR((void)Parse(part), ErrorCode::kTruncated);
    }
  }
}

TEST(LegacyImatrix, RejectsWhatCannotBe) {
  struct Case {
    Bytes bytes;
    ErrorCode code;
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float inf = std::numeric_limits<float>::infinity();
  const auto one = [](int32_t calls, const std::vector<float>& values) {
    Bytes bytes;
    PutEntry(bytes.Put(int32_t{1}), "a", calls, values);
    return bytes;
  };
  Bytes twice;
  PutEntry(PutEntry(twice.Put(int32_t{2}), "a", 1, {1}), "a", 1, {1});
  const int32_t max = std::numeric_limits<int32_t>::max();
  const Case cases[] = {
      {Bytes().Put(int32_t{0}).Zeros(64), ErrorCode::kBadValue},
      {Bytes().Put(int32_t{-1}).Zeros(64), ErrorCode::kBadValue},
      {Bytes().Put(max).Zeros(64), ErrorCode::kTruncated},
      {Bytes().Put(int32_t{1}).Put(int32_t{-1}).Zeros(64), ErrorCode::kBadValue},
      {Bytes().Put(int32_t{1}).Put(int32_t{0}).Zeros(64), ErrorCode::kBadValue},
      {Bytes().Put(int32_t{1}).Put(max).Zeros(64), ErrorCode::kTruncated},
      {PutText(Bytes().Put(int32_t{1}), "a").Put(int32_t{1}).Put(max).Zeros(64),
       ErrorCode::kTruncated},
      {PutText(Bytes().Put(int32_t{1}), "a").Put(int32_t{1}).Put(int32_t{-5}).Zeros(64),
       ErrorCode::kBadValue},
      {one(1, {}).Zeros(8), ErrorCode::kBadValue},
      {one(1, {1, nan}), ErrorCode::kNonFinite},
      {one(0, {inf}), ErrorCode::kNonFinite},
      {twice, ErrorCode::kDuplicate},
      {one(1, {1}).Put(int32_t{-1}), ErrorCode::kBadValue},
      {one(1, {1}).Put(int32_t{1}).Put(int32_t{-1}), ErrorCode::kBadValue},
      {one(1, {1}).Put(int32_t{1}).Put(max), ErrorCode::kTruncated},
      {one(1, {1}).Put(int32_t{1}).Put(int32_t{0}).Zeros(1), ErrorCode::kUnusedBytes},
  };
  for (size_t i = 0; i < std::size(cases); ++i) {
    SCOPED_TRACE(i);
    EXPECT_QUERN_ERROR((void)Parse(cases[i].bytes), cases[i].code);
  }
}

TEST(LegacyImatrix, SurvivesAnyChangedByte) {
  const std::vector<uint8_t> whole = TwoEntries().data();
  std::mt19937 random(1);
  for (int i = 0; i < 20000; ++i) {
    std::vector<uint8_t> changed = whole;
    for (int n = 0; n <= i % 3; ++n) {
      changed[random() % changed.size()] = static_cast<uint8_t>(random());
    }
    try {
      (void)Parse(changed);
    } catch (const Error&) {
    }
  }
}

// A model in memory, standing for a GGUF file.
class MemoryModel : public ModelSource {
 public:
  MemoryModel() : ModelSource("test.gguf") {
    metadata_.Set("general.type", std::string("imatrix"));
    metadata_.Set("imatrix.datasets", Array{std::vector<std::string>{"a.txt", "b.txt"}});
    metadata_.Set("imatrix.chunk_count", uint32_t{4});
    metadata_.Set("imatrix.chunk_size", uint32_t{512});
  }
  std::string_view format() const override { return "memory"; }
  void Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const override {
    const auto* bytes = reinterpret_cast<const uint8_t*>(data_.at(tensor.name).data());
    std::copy_n(bytes + offset, out.size(), out.data());
  }
  MemoryModel& Add(const std::string& name, Shape shape, std::vector<float> values,
                   TensorType type = TensorType::kF32) {
    AddTensor({name, type, std::move(shape), values.size() * sizeof(float)});
    data_[name] = std::move(values);
    return *this;
  }
  Metadata& keys() { return metadata_; }

 private:
  std::map<std::string, std::vector<float>> data_;
};

TEST(GgufImatrix, DividesEachExpertsSumsByItsCount) {
  MemoryModel model;
  model.Add("blk.0.ffn_up_exps.weight.in_sum2", {3, 2}, {1, 2, 3, 4, 5, 6});
  model.Add("blk.0.ffn_up_exps.weight.counts", {3, 1}, {3, 0, 7});
  model.Add("blk.0.attn_q.weight.counts", {1, 1}, {2});
  model.Add("blk.0.attn_q.weight.in_sum2", {1, 2}, {1, 5});
  model.Add("blk.0.attn_q.weight.in_sum", {1, 2}, {1, 1});
  const Imatrix imatrix = ImatrixFromModel(model);
  ASSERT_EQ(imatrix.entries.size(), 2u);
  const ImatrixEntry& experts = imatrix.entries.at("blk.0.ffn_up_exps.weight");
  EXPECT_EQ(experts.values,
            (std::vector<float>{1.0f / 3.0f, 2.0f / 3.0f, 1.0f, 1.0f, 5.0f / 7.0f, 6.0f / 7.0f}));
  EXPECT_EQ(experts.counts, (std::vector<int64_t>{3, 0, 7}));
  EXPECT_EQ(imatrix.entries.at("blk.0.attn_q.weight").values, (std::vector<float>{0.5f, 2.5f}));
  EXPECT_EQ(imatrix.datasets, (std::vector<std::string>{"a.txt", "b.txt"}));
  EXPECT_EQ(imatrix.chunk_count, 4u);
  EXPECT_EQ(imatrix.chunk_size, 512u);
}

TEST(GgufImatrix, RejectsWhatDoesNotFitTogether) {
  const auto code = [](MemoryModel& model) {
    return quern::testing::ErrorOf([&] { (void)ImatrixFromModel(model); }).code();
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(code(MemoryModel().Add("a.in_sum2", {2}, {1, 2})), ErrorCode::kMissing);
  EXPECT_EQ(code(MemoryModel().Add("a.counts", {1}, {1})), ErrorCode::kMissing);
  EXPECT_EQ(code(MemoryModel().Add("a.in_sum", {1}, {1})), ErrorCode::kMissing);
  EXPECT_EQ(code(MemoryModel().Add("a.weight", {1}, {1})), ErrorCode::kUnexpected);
  EXPECT_EQ(code(MemoryModel().Add(".in_sum2", {1}, {1})), ErrorCode::kUnexpected);
  const auto pair = [&](std::vector<float> sums, std::vector<float> counts,
                        TensorType type = TensorType::kF32) {
    MemoryModel model;
    model.Add("a.in_sum2", {sums.size()}, sums, type).Add("a.counts", {counts.size()}, counts);
    return code(model);
  };
  EXPECT_EQ(pair({1, 2, 3}, {1, 1}), ErrorCode::kBadShape);
  EXPECT_EQ(pair({}, {1}), ErrorCode::kBadShape);
  EXPECT_EQ(pair({1}, {}), ErrorCode::kBadShape);
  EXPECT_EQ(pair({1, nan}, {1}), ErrorCode::kNonFinite);
  EXPECT_EQ(pair({1, 2}, {nan}), ErrorCode::kNonFinite);
  EXPECT_EQ(pair({1, 2}, {1e30f}), ErrorCode::kBadValue);
  EXPECT_EQ(pair({1, 2}, {1}, TensorType::kI32), ErrorCode::kBadType);
  for (const char* key : {"imatrix.datasets", "imatrix.chunk_count", "imatrix.chunk_size"}) {
    MemoryModel model;
    model.Add("a.in_sum2", {1}, {1}).Add("a.counts", {1}, {1});
    model.keys().Set(key, std::string("text"));
    EXPECT_EQ(code(model), ErrorCode::kMissing);
    model.keys().Remove(key);
    EXPECT_EQ(code(model), ErrorCode::kMissing);
  }
}

// FNV-1a 64 over names and values, to compare with what Python read and divided.
std::string Digest(const Imatrix& imatrix) {
  uint64_t value = 0xcbf29ce484222325;
  const auto add = [&](const void* data, size_t size) {
    for (size_t i = 0; i < size; ++i) {
      value = (value ^ static_cast<const uint8_t*>(data)[i]) * 0x100000001b3;
    }
  };
  for (const auto& [name, entry] : imatrix.entries) {
    add(name.data(), name.size());
    add(entry.values.data(), entry.values.size() * sizeof(float));
  }
  return fmt::format("{:016x}", value);
}

TEST(ReadImatrix, GivesTheBundledModelsValuesInTheLegacyForm) {
  QUERN_SHARED_OR_SKIP(path, "models/kjv-4m/imatrix.dat");
  const Imatrix imatrix = ReadImatrix(path);
  EXPECT_EQ(imatrix.entries.size(), 28u);
  EXPECT_EQ(imatrix.chunk_count, 40u);
  EXPECT_EQ(imatrix.datasets, std::vector<std::string>{"/tmp/lab/kjv/heldout.txt"});
  EXPECT_EQ(Digest(imatrix), "bd42ed610c908fb3");  // read_imatrix of oracle_quantize.py
}

TEST(ReadImatrix, GivesTheBundledModelsValuesInTheGgufForm) {
  QUERN_SHARED_OR_SKIP(path, "models/kjv-4m/imatrix.gguf");
  if (Formats().empty()) GTEST_SKIP() << "this build has no GGUF reader";
  const Imatrix imatrix = ReadImatrix(path);
  EXPECT_EQ(imatrix.entries.size(), 28u);
  EXPECT_EQ(imatrix.chunk_count, 40u);
  EXPECT_EQ(imatrix.chunk_size, 256u);
  EXPECT_EQ(imatrix.datasets, std::vector<std::string>{"/tmp/lab/kjv/heldout.txt"});
  EXPECT_EQ(Digest(imatrix), "bd42ed610c908fb3");  // numpy: float32 in_sum2 / float32 counts
}

}  // namespace
}  // namespace quern::formats::imatrix
