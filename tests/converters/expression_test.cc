#include "converters/expression.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "quant/codec.h"
#include "tests/converters/fake_source.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using Raw = std::vector<uint8_t>;

Raw All(const ModelSource& source, const Expression& expression) {
  Raw out(TensorBytes(expression.type, expression.shape).value());
  EvaluateRows(source, expression, 0, expression.rows(), out);
  return out;
}

// Whole evaluation equals `expected`, and so does every range of rows.
void ExpectEverywhere(const ModelSource& source, const Expression& expression,
                      const Raw& expected) {
  ASSERT_EQ(All(source, expression), expected);
  const uint64_t rows = expression.rows();
  const uint64_t row_bytes = expected.size() / rows;
  std::mt19937 random(7);
  for (int trial = 0; trial < 50; ++trial) {
    const uint64_t first = random() % rows, count = 1 + random() % (rows - first);
    Raw out(count * row_bytes);
    EvaluateRows(source, expression, first, count, out);
    const auto from = expected.begin() + static_cast<ptrdiff_t>(first * row_bytes);
    ASSERT_TRUE(std::equal(out.begin(), out.end(), from)) << first << " + " << count;
    Prefetch(source, expression, first, count);
  }
}

// Element `index` of `from` becomes the next element of the result.
template <typename Index>
Raw Gather(const Raw& from, size_t element_bytes, uint64_t count, const Index& index) {
  Raw out(count * element_bytes);
  for (uint64_t i = 0; i < count; ++i) {
    std::memcpy(out.data() + i * element_bytes, from.data() + index(i) * element_bytes,
                element_bytes);
  }
  return out;
}

class ExpressionOfEveryWidth : public ::testing::TestWithParam<TensorType> {
 protected:
  size_t width() const { return Info(GetParam()).block_bytes; }
  const TensorInfo& Tensor(Shape shape) {
    const std::string name = "t" + std::to_string(source_.tensors().size());
    source_.Add(name, std::move(shape), GetParam());
    return *source_.FindTensor(name);
  }
  FakeSource source_;
};

TEST_P(ExpressionOfEveryWidth, SourceReadsWhatItIsAskedFor) {
  Tensor({5, 3, 7});
  ExpectEverywhere(source_, Source(source_.tensors()[0]), source_.data("t0"));
}

TEST_P(ExpressionOfEveryWidth, TransposeEqualsTheNaiveOne) {
  for (const auto& [rows, columns] :
       {std::pair<uint64_t, uint64_t>{1, 9}, {9, 1}, {64, 64}, {65, 130}, {200, 33}}) {
    const TensorInfo& tensor = Tensor({rows, columns});
    const Expression expression = Transpose(Source(tensor));
    EXPECT_EQ(expression.shape, (Shape{columns, rows}));
    const auto index = [r = rows, c = columns](uint64_t i) { return i % r * c + i / r; };
    ExpectEverywhere(source_, expression,
                     Gather(source_.data(tensor.name), width(), rows * columns, index));
  }
}

TEST_P(ExpressionOfEveryWidth, PermuteRopeEqualsTheNaiveOne) {
  for (const Shape& shape : {Shape{24, 5}, Shape{24}, Shape{8, 3, 2}}) {
    for (const uint64_t heads : {1, 2, 4}) {
      const TensorInfo& tensor = Tensor(shape);
      const uint64_t d = shape[0] / heads;
      uint64_t unit = 1;
      for (size_t k = 1; k < shape.size(); ++k) unit *= shape[k];
      const auto index = [&](uint64_t i) {
        const uint64_t row = i / unit, head = row / d, within = row % d;
        return (head * d + within % 2 * (d / 2) + within / 2) * unit + i % unit;
      };
      ExpectEverywhere(source_, PermuteRope(Source(tensor), heads),
                       Gather(source_.data(tensor.name), width(), shape[0] * unit, index));
    }
  }
}

TEST_P(ExpressionOfEveryWidth, StackConcatRowsAndReshapeCombine) {
  Tensor({4, 6});
  Tensor({4, 6});  // before pointers into the list are taken
  const Expression a = Source(source_.tensors()[0]), b = Source(source_.tensors()[1]);
  Raw both = source_.data("t0");
  both.insert(both.end(), source_.data("t1").begin(), source_.data("t1").end());
  const Expression stack = Stack({a, b});
  EXPECT_EQ(stack.shape, (Shape{2, 4, 6}));
  ExpectEverywhere(source_, stack, both);
  const Expression concat = Concat({a, b});
  EXPECT_EQ(concat.shape, (Shape{8, 6}));
  ExpectEverywhere(source_, concat, both);
  const Raw middle(both.begin() + static_cast<ptrdiff_t>(3 * 6 * width()),
                   both.begin() + static_cast<ptrdiff_t>(6 * 6 * width()));
  ExpectEverywhere(source_, Rows(concat, 3, 3), middle);
  ExpectEverywhere(source_, Reshape(Rows(concat, 3, 3), {9, 2}), middle);
}

TEST_P(ExpressionOfEveryWidth, NestedTransformsEvaluateOnRangesThatCutRows) {
  const TensorInfo& tensor = Tensor({6, 10});
  const Expression twice = Transpose(Transpose(Source(tensor)));
  ExpectEverywhere(source_, twice, source_.data(tensor.name));
  // Rows of 4 elements cut through the transposed rows of 6.
  const auto index = [](uint64_t i) { return i % 6 * 10 + i / 6; };
  ExpectEverywhere(source_, Reshape(Transpose(Source(tensor)), {15, 4}),
                   Gather(source_.data(tensor.name), width(), 60, index));
}

INSTANTIATE_TEST_SUITE_P(Widths, ExpressionOfEveryWidth,
                         ::testing::Values(TensorType::kI8, TensorType::kBF16, TensorType::kF32,
                                           TensorType::kF64),
                         [](const auto& param) { return std::string(Name(param.param)); });

TEST(Expression, AddOneAddsInSinglePrecision) {
  FakeSource source;
  std::vector<float> values = {0.0f, -1.0f, 0.1f, 1e-9f, 3e8f};
  Raw raw(values.size() * 4);
  std::memcpy(raw.data(), values.data(), raw.size());
  source.Add("norm", {5}, TensorType::kF32, raw);
  for (auto& value : values) value += 1.0f;
  std::memcpy(raw.data(), values.data(), raw.size());
  ExpectEverywhere(source, AddOne(Source(source.tensors()[0])), raw);
}

TEST(Expression, AddOneDecodesOtherFloats) {
  if (!quant::FindCodec(TensorType::kBF16)) GTEST_SKIP() << "no BF16 codec in this build";
  FakeSource source;
  source.Add("norm", {2}, TensorType::kBF16, Raw{0x80, 0x3f, 0x00, 0xc0});  // 1, -2
  const Expression expression = AddOne(Source(source.tensors()[0]));
  EXPECT_EQ(expression.type, TensorType::kF32);
  std::vector<float> values(2);
  EvaluateRows(source, expression, 0, 1, {reinterpret_cast<uint8_t*>(values.data()), 8});
  EXPECT_EQ(values, (std::vector<float>{2.0f, -1.0f}));
}

TEST(Expression, ConstantHoldsItsValues) {
  FakeSource source;
  const std::vector<float> values = {1.5f, 2.5f, -3.0f};
  Raw raw(12);
  std::memcpy(raw.data(), values.data(), 12);
  ExpectEverywhere(source, Constant(values), raw);
}

TEST(Expression, QuantizedRowsPassThrough) {
  FakeSource source;
  source.Add("q", {4, 512}, TensorType::kQ4_K);
  ExpectEverywhere(source, Source(source.tensors()[0]), source.data("q"));
  EXPECT_QUERN_ERROR(Transpose(Source(source.tensors()[0])), ErrorCode::kUnsupported);
  EXPECT_QUERN_ERROR(PermuteRope(Source(source.tensors()[0]), 2), ErrorCode::kUnsupported);
}

TEST(Expression, PermuteRopeReadsOnlyWhatItGives) {
  FakeSource source;
  source.Add("q", {512, 64});
  const Expression expression = PermuteRope(Source(source.tensors()[0]), 4);
  EXPECT_EQ(RowGranularity(expression), 128);
  Raw out(128 * 64 * 4);
  EvaluateRows(source, expression, 128, 128, out);
  EXPECT_EQ(source.bytes_read(), out.size());
}

TEST(Expression, TransposeInStripsReadsEachElementOnceForAFullSlab) {
  FakeSource source;
  source.Add("w", {3000, 2000});  // 24 MB: three strips
  const Expression expression = Transpose(Source(source.tensors()[0]));
  Raw out(2000 * 3000 * 4);
  EvaluateRows(source, expression, 0, 2000, out);
  EXPECT_EQ(source.bytes_read(), out.size());
  EXPECT_EQ(All(source, Transpose(Source(source.tensors()[0]))), out);
  std::vector<uint8_t> again(100 * 3000 * 4);  // few columns: segments of rows
  EvaluateRows(source, expression, 700, 100, again);
  EXPECT_TRUE(std::equal(again.begin(), again.end(), out.begin() + 700 * 3000 * 4));
}

TEST(Expression, BuildersRefuseShapesThatDoNotFit) {
  FakeSource source;
  source.Add("a", {4, 6});
  source.Add("b", {4, 5});
  source.Add("c", {4, 6}, TensorType::kF16);
  const Expression a = Source(source.tensors()[0]), b = Source(source.tensors()[1]),
                   c = Source(source.tensors()[2]);
  EXPECT_QUERN_ERROR(Stack({a, b}), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(Concat({a, b}), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(Stack({a, c}), ErrorCode::kBadType);
  EXPECT_QUERN_ERROR(Stack({}), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(Reshape(a, {5, 5}), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(Reshape(a, {UINT64_MAX, UINT64_MAX}), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(Rows(a, 3, 2), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(Rows(a, 2, UINT64_MAX), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(PermuteRope(a, 3), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(PermuteRope(a, 4), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(PermuteRope(a, 0), ErrorCode::kBadShape);
  EXPECT_QUERN_ERROR(Transpose(Constant({1, 2})), ErrorCode::kBadShape);
}

TEST(Expression, DescribesItself) {
  FakeSource source;
  source.Add("model.q.weight", {8, 6});
  const Expression q = Source(source.tensors()[0]);
  EXPECT_EQ(Describe(PermuteRope(q, 4)), "permute_rope(model.q.weight, heads=4)");
  EXPECT_EQ(Describe(Transpose(Rows(q, 1, 2))), "transpose(rows(model.q.weight, 1..3))");
  EXPECT_EQ(Describe(Reshape(q, {48})), "reshape(model.q.weight, [48])");
  EXPECT_EQ(Describe(Stack(std::vector<Expression>(8, q))),
            "stack(model.q.weight, model.q.weight, model.q.weight, model.q.weight, ... 8 in all)");
  EXPECT_EQ(Describe(Constant({1, 2})), "constant[2]");
}

}  // namespace
}  // namespace quern::converters
