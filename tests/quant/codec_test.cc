// Every codec of the registry against its definition, on every instruction set of this CPU, and the
// definition against ggml. Nothing here names a type: a new codec is tested unwritten.
#include "quant/codec.h"

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <ostream>
#include <string>
#include <vector>

#include "tests/quant/oracle_testing.h"
#include "tests/quant/weights_testing.h"
#include "tests/support/fixtures.h"

namespace quern::quant {

// Found by GoogleTest.
void PrintTo(const Codec& codec, std::ostream* out) { *out << Name(codec.type); }

namespace {

using testing::Distribution;
using testing::HardRows;
using testing::Importance;
using testing::Oracle;

// Runs the test's body once per instruction set.
template <typename Body>
void ForEachTarget(const Body& body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    SCOPED_TRACE(std::string("target ") + hwy::TargetName(target));
    body();
    hwy::SetSupportedTargetsForTest(0);
    if (::testing::Test::HasFailure()) return;
  }
}

struct Matrix {
  std::vector<float> weights;
  size_t rows;
  size_t columns;
  std::vector<float> imatrix;  // empty: none

  const float* importance() const { return imatrix.empty() ? nullptr : imatrix.data(); }
};

class CodecTest : public ::testing::TestWithParam<Codec> {
 protected:
  const Codec& codec() const { return GetParam(); }
  size_t Block() const { return Info(codec().type).block_elements; }
  size_t Bytes(size_t count) const { return count / Block() * Info(codec().type).block_bytes; }

  // A few blocks in a row, at least 256 weights.
  size_t Columns() const { return Block() < 256 ? 256 : 2 * Block(); }

  std::vector<uint8_t> Run(QuantizeFn quantize, const Matrix& matrix) const {
    // One byte more than is asked for, to see that it is not touched.
    std::vector<uint8_t> blocks(Bytes(matrix.rows * matrix.columns) + 1, 0xA5);
    quantize(matrix.weights.data(), blocks.data(), matrix.rows, matrix.columns,
             matrix.importance());
    EXPECT_EQ(blocks.back(), 0xA5) << "wrote behind the end";
    blocks.pop_back();
    return blocks;
  }

  std::vector<float> Run(DequantizeFn dequantize, const std::vector<uint8_t>& blocks) const {
    const size_t count = blocks.size() / Info(codec().type).block_bytes * Block();
    std::vector<float> weights(count + 1, 12345.0f);
    dequantize(blocks.data(), weights.data(), count);
    EXPECT_EQ(weights.back(), 12345.0f) << "wrote behind the end";
    weights.pop_back();
    return weights;
  }

  // Every kind of importance this codec accepts, as imatrix vectors; empty = none.
  std::vector<std::vector<float>> Importances(size_t columns) const {
    std::vector<std::vector<float>> all;
    if (!codec().needs_imatrix) all.emplace_back();
    for (const Importance importance : testing::kImportances) {
      all.push_back(testing::MakeImportance(importance, 7, columns));
    }
    return all;
  }

  void ExpectSameBlocks(const std::vector<uint8_t>& expected, const std::vector<uint8_t>& actual,
                        const Matrix& matrix) const {
    ASSERT_EQ(expected.size(), actual.size());
    if (expected == actual) return;
    const size_t block_bytes = Info(codec().type).block_bytes;
    size_t first = 0;
    while (expected[first] == actual[first]) ++first;
    const size_t block = first / block_bytes;
    size_t differing = 0;
    for (size_t b = 0; b * block_bytes < expected.size(); ++b) {
      differing +=
          std::memcmp(&expected[b * block_bytes], &actual[b * block_bytes], block_bytes) != 0;
    }
    FAIL() << differing << " blocks differ, the first is block " << block << " (row "
           << block * Block() / matrix.columns << "), byte " << first % block_bytes << ": "
           << int{expected[first]} << " expected, " << int{actual[first]} << " written; weights "
           << ::testing::PrintToString(std::vector<float>(
                  matrix.weights.begin() + static_cast<ptrdiff_t>(block * Block()),
                  matrix.weights.begin() + static_cast<ptrdiff_t>((block + 1) * Block())));
  }

  // Equal bits, except that any NaN equals any other: which operand's NaN a sum hands on is the
  // compiler's choice.
  static void ExpectSameWeights(const std::vector<float>& expected,
                                const std::vector<float>& actual) {
    ASSERT_EQ(expected.size(), actual.size());
    for (size_t i = 0; i < expected.size(); ++i) {
      if (std::isnan(expected[i]) && std::isnan(actual[i])) continue;
      ASSERT_EQ(std::bit_cast<uint32_t>(expected[i]), std::bit_cast<uint32_t>(actual[i]))
          << "weight " << i << ": " << expected[i] << " expected, " << actual[i] << " decoded";
    }
  }

  void ExpectKernelsEqualReference(const Matrix& matrix) const {
    const std::vector<uint8_t> expected = Run(codec().quantize_reference, matrix);
    ForEachTarget([&] { ExpectSameBlocks(expected, Run(codec().quantize, matrix), matrix); });
  }

  std::vector<uint8_t> RandomBlocks(size_t blocks, uint64_t seed) const {
    testing::Random random(seed);
    std::vector<uint8_t> bytes(blocks * Info(codec().type).block_bytes);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.Bits() >> 56);
    return bytes;
  }
};

TEST_P(CodecTest, KernelsEqualReferenceOnRandomRows) {
  if (!codec().quantize) GTEST_SKIP() << "decoded only";
  for (const Distribution distribution : testing::kDistributions) {
    SCOPED_TRACE(testing::Name(distribution));
    const size_t rows = Block() < 256 ? 12 : 5;
    Matrix matrix{std::vector<float>(rows * Columns()), rows, Columns(), {}};
    testing::FillWeights(distribution, 1, matrix.weights);
    for (std::vector<float>& imatrix : Importances(matrix.columns)) {
      matrix.imatrix = std::move(imatrix);
      ExpectKernelsEqualReference(matrix);
      if (HasFailure()) return;
    }
  }
}

TEST_P(CodecTest, KernelsEqualReferenceOnHardRows) {
  if (!codec().quantize) GTEST_SKIP() << "decoded only";
  for (const HardRows& hard :
       {testing::MakeHardRows(Columns()), testing::MakeNonFiniteRows(Columns())}) {
    for (size_t row = 0; row < hard.names.size(); ++row) {
      SCOPED_TRACE(hard.names[row]);
      const auto begin = hard.weights.begin() + static_cast<ptrdiff_t>(row * Columns());
      Matrix matrix{{begin, begin + static_cast<ptrdiff_t>(Columns())}, 1, Columns(), {}};
      for (std::vector<float>& imatrix : Importances(matrix.columns)) {
        matrix.imatrix = std::move(imatrix);
        ExpectKernelsEqualReference(matrix);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(CodecTest, KernelsEqualReferenceForOddCounts) {
  if (!codec().quantize) GTEST_SKIP() << "decoded only";
  for (const size_t blocks : {0, 1, 3, 7, 9, 17, 33, 67}) {
    for (const size_t rows : {0, 1, 2, 5}) {
      if (rows * blocks * Block() > 20'000) continue;  // takes too long
      SCOPED_TRACE(std::to_string(rows) + " rows of " + std::to_string(blocks) + " blocks");
      Matrix matrix{std::vector<float>(rows * blocks * Block()), rows, blocks * Block(), {}};
      testing::FillWeights(Distribution::kNormal, blocks, matrix.weights);
      for (std::vector<float>& imatrix : Importances(matrix.columns)) {
        matrix.imatrix = std::move(imatrix);
        ExpectKernelsEqualReference(matrix);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(CodecTest, RowsAreIndependent) {
  if (!codec().quantize) GTEST_SKIP() << "decoded only";
  constexpr size_t kRows = 8;
  Matrix all{std::vector<float>(kRows * Columns()), kRows, Columns(), {}};
  testing::FillWeights(Distribution::kLaplace, 3, all.weights);
  for (std::vector<float>& imatrix : Importances(Columns())) {
    all.imatrix = std::move(imatrix);
    const std::vector<uint8_t> expected = Run(codec().quantize_reference, all);
    ForEachTarget([&] {
      for (const size_t split : {1, 3, 5}) {
        std::vector<uint8_t> joined;
        for (size_t row = 0; row < kRows; row += split) {
          const size_t rows = std::min(split, kRows - row);
          const auto begin = all.weights.begin() + static_cast<ptrdiff_t>(row * Columns());
          const Matrix part{{begin, begin + static_cast<ptrdiff_t>(rows * Columns())},
                            rows,
                            Columns(),
                            all.imatrix};
          const std::vector<uint8_t> blocks = Run(codec().quantize, part);
          joined.insert(joined.end(), blocks.begin(), blocks.end());
        }
        ExpectSameBlocks(expected, joined, all);
      }
    });
  }
}

TEST_P(CodecTest, KernelsDecodeLikeReference) {
  for (const size_t blocks : {0, 1, 3, 7, 31, 1000}) {
    const std::vector<uint8_t> bytes = RandomBlocks(blocks, blocks);
    const std::vector<float> expected = Run(codec().dequantize_reference, bytes);
    ForEachTarget([&] { ExpectSameWeights(expected, Run(codec().dequantize, bytes)); });
  }
}

TEST_P(CodecTest, AcceptsUnalignedBlocks) {
  const std::vector<uint8_t> blocks = RandomBlocks(9, 5);
  const std::vector<float> expected = Run(codec().dequantize_reference, blocks);
  std::vector<uint8_t> shifted(blocks.size() + 1);
  std::copy(blocks.begin(), blocks.end(), shifted.begin() + 1);
  ForEachTarget([&] {
    std::vector<float> weights(expected.size());
    codec().dequantize(shifted.data() + 1, weights.data(), weights.size());
    ExpectSameWeights(expected, weights);
    if (!codec().quantize) return;
    Matrix matrix{std::vector<float>(9 * Block()), 1, 9 * Block(), {}};
    testing::FillWeights(Distribution::kNormal, 1, matrix.weights);
    if (codec().needs_imatrix) matrix.imatrix.assign(matrix.columns, 1.0f);
    const std::vector<uint8_t> aligned = Run(codec().quantize_reference, matrix);
    std::vector<uint8_t> written(aligned.size() + 1);
    codec().quantize(matrix.weights.data(), written.data() + 1, 1, matrix.columns,
                     matrix.importance());
    ExpectSameBlocks(aligned, {written.begin() + 1, written.end()}, matrix);
  });
}

TEST_P(CodecTest, ReferenceDecodesLikeGgml) {
  const Oracle* oracle = Oracle::Get();
  if (!oracle) GTEST_SKIP() << "no libggml-base.so (QUERN_ORACLE)";
  if (!oracle->CanDequantize(codec().type)) GTEST_SKIP() << "ggml has no decoder";
  const std::vector<uint8_t> blocks = RandomBlocks(10000, 11);
  std::vector<float> expected(10000 * Block());
  oracle->Dequantize(codec().type, blocks.data(), expected.data(), expected.size());
  ExpectSameWeights(expected, Run(codec().dequantize_reference, blocks));
}

class CodecSlowTest : public CodecTest {};

// Slow because ggml takes seconds to set a grid up.
TEST_P(CodecSlowTest, ReferenceEqualsGgmlOnHardRows) {
  const Oracle* oracle = Oracle::Get();
  if (!oracle) GTEST_SKIP() << "no libggml-base.so (QUERN_ORACLE)";
  if (!codec().quantize) GTEST_SKIP() << "decoded only";
  const HardRows hard = testing::MakeHardRows(Columns());
  for (size_t row = 0; row < hard.names.size(); ++row) {
    SCOPED_TRACE(hard.names[row]);
    const auto begin = hard.weights.begin() + static_cast<ptrdiff_t>(row * Columns());
    Matrix matrix{{begin, begin + static_cast<ptrdiff_t>(Columns())}, 1, Columns(), {}};
    for (std::vector<float>& imatrix : Importances(matrix.columns)) {
      SCOPED_TRACE(imatrix.empty() ? "no imatrix" : "imatrix");
      matrix.imatrix = std::move(imatrix);
      std::vector<uint8_t> expected(Bytes(Columns()));
      // The grid types of ggml abort where sums overflow; ours only have to give something.
      const std::vector<uint8_t> actual = Run(codec().quantize_reference, matrix);
      if (!oracle->TryQuantize(codec().type, matrix.weights.data(), expected.data(), 1,
                               matrix.columns, matrix.importance())) {
        continue;
      }
      ExpectSameBlocks(expected, actual, matrix);
    }
  }
}

// Ten million weights without and ten million with an importance matrix, 2^15 at a time,
// all distributions in turn. The kernel of the best target takes part: it costs little.
TEST_P(CodecSlowTest, ReferenceEqualsGgmlOnTenMillionWeights) {
  constexpr size_t kWeights = 10'000'000;
  constexpr size_t kColumns = 1024;
  constexpr size_t kRows = 32;
  const Oracle* oracle = Oracle::Get();
  if (!oracle) GTEST_SKIP() << "no libggml-base.so (QUERN_ORACLE)";
  if (!codec().quantize) GTEST_SKIP() << "decoded only";
  Matrix matrix{std::vector<float>(kRows * kColumns), kRows, kColumns, {}};
  std::vector<uint8_t> expected(Bytes(kRows * kColumns));
  for (const bool with_imatrix : {false, true}) {
    if (!with_imatrix && codec().needs_imatrix) continue;
    for (uint64_t seed = 0; seed * kRows * kColumns < kWeights; ++seed) {
      const Distribution distribution =
          testing::kDistributions[seed % std::size(testing::kDistributions)];
      SCOPED_TRACE(std::string(testing::Name(distribution)) + ", seed " + std::to_string(seed));
      testing::FillWeights(distribution, seed, matrix.weights);
      if (with_imatrix) {
        // Eight distributions and five importances: every pair occurs.
        const Importance importance =
            testing::kImportances[seed % std::size(testing::kImportances)];
        matrix.imatrix = testing::MakeImportance(importance, seed, kColumns);
      }
      oracle->Quantize(codec().type, matrix.weights.data(), expected.data(), kRows, kColumns,
                       matrix.importance());
      ExpectSameBlocks(expected, Run(codec().quantize_reference, matrix), matrix);
      ExpectSameBlocks(expected, Run(codec().quantize, matrix), matrix);
      if (HasFailure()) return;
    }
  }
}

std::string CodecName(const ::testing::TestParamInfo<Codec>& info) {
  return std::string(Name(info.param.type));
}

INSTANTIATE_TEST_SUITE_P(Codecs, CodecTest, ::testing::ValuesIn(Codecs().begin(), Codecs().end()),
                         CodecName);
INSTANTIATE_TEST_SUITE_P(Codecs, CodecSlowTest,
                         ::testing::ValuesIn(Codecs().begin(), Codecs().end()), CodecName);

}  // namespace
}  // namespace quern::quant
