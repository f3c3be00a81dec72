#include "converters/expression.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>
#include <xtensor/xadapt.hpp>

#include "converters/transforms.h"
#include "formats/core/checked_math.h"
#include "formats/core/error.h"
#include "quant/codec.h"

namespace quern::converters {
namespace {

uint64_t Elements(const Shape& shape) {
  uint64_t count = 1;
  for (const uint64_t n : shape) count *= n;
  return count;
}

// Elements that one step along the outermost dimension takes.
uint64_t Stride(const Shape& shape) {
  return shape.empty() ? 1 : Elements(Shape(shape.begin() + 1, shape.end()));
}

[[noreturn]] void Fail(const std::string& subject, std::string_view message) {
  throw Error(ErrorCode::kBadShape, {{}, {}, subject}, message);
}

std::string ShapeText(const Shape& shape) { return fmt::format("[{}]", fmt::join(shape, ", ")); }

uint64_t CheckedElements(const Shape& shape, const std::string& subject) {
  const auto count = CheckedProduct(shape);
  if (!count) Fail(subject, "the shape has more than 2^64 elements; the file is damaged");
  return *count;
}

uint64_t ByteCount(TensorType type, uint64_t elements) {
  const auto bytes = RowBytes(type, elements);
  if (!bytes) {
    throw Error(ErrorCode::kBadShape, {},
                fmt::format("{} elements are no whole number of {} blocks; ask for whole rows",
                            elements, Name(type)));
  }
  return *bytes;
}

// Ops that only choose and place ranges of their inputs: calls
// `piece(input, first, count, position)` for each, in order, where `position` counts from the
// beginning of the range asked for.
using Piece =
    std::function<void(const Expression& input, uint64_t first, uint64_t count, uint64_t position)>;

void ForEachPiece(const Expression& expression, uint64_t first, uint64_t count,
                  const Piece& piece) {
  if (expression.op == Op::kReshape) return piece(expression.inputs[0], first, count, 0);
  if (expression.op == Op::kRows) {
    return piece(expression.inputs[0], first + expression.first * Stride(expression.shape), count,
                 0);
  }
  uint64_t begin = 0;  // of the current input
  for (const auto& input : expression.inputs) {
    const uint64_t size = Elements(input.shape);
    const uint64_t from = std::max(first, begin), to = std::min(first + count, begin + size);
    if (from < to) piece(input, from - begin, to - from, from - first);
    begin += size;
  }
}

void Evaluate(const ModelSource& source, const Expression& expression, uint64_t first,
              uint64_t count, std::span<uint8_t> out);

// Calls `piece(input, columns before it)` for each input that has columns.
void ForEachColumnBlock(const Expression& expression,
                        const std::function<void(const Expression&, uint64_t)>& piece) {
  uint64_t before = 0;
  for (const auto& input : expression.inputs) {
    if (input.columns() > 0) piece(input, before);
    before += input.columns();
  }
}

// Whole rows of each input into scratch memory, a batch at a time, and from there into place.
void EvaluateColumns(const ModelSource& source, const Expression& expression, uint64_t first,
                     uint64_t count, std::span<uint8_t> out) {
  const uint64_t columns = expression.columns();
  const uint64_t item = Info(expression.type).block_bytes;
  const uint64_t batch = std::max<uint64_t>(kTransformScratchBytes / (columns * item), 1);
  const uint64_t end = first + count;
  std::vector<uint8_t> scratch;
  for (uint64_t row = first / columns; row * columns < end; row += batch) {
    const uint64_t rows = std::min(batch, (end + columns - 1) / columns - row);
    ForEachColumnBlock(expression, [&](const Expression& input, uint64_t before) {
      const uint64_t width = input.columns();
      scratch.resize(rows * width * item);
      Evaluate(source, input, row * width, rows * width, scratch);
      for (uint64_t r = 0; r < rows; ++r) {
        // Of the result's elements: this input's part of the row, cut to the range asked for.
        const uint64_t begin = (row + r) * columns + before;
        const uint64_t from = std::max(begin, first), to = std::min(begin + width, end);
        if (from >= to) continue;
        std::memcpy(out.data() + (from - first) * item,
                    scratch.data() + (r * width + from - begin) * item, (to - from) * item);
      }
    });
  }
}

// x + `addend`.
void EvaluateAdd(const ModelSource& source, const Expression& expression, float addend,
                 uint64_t first, uint64_t count, std::span<uint8_t> out) {
  const Expression& input = expression.inputs[0];
  if (input.type == TensorType::kF32) {
    Evaluate(source, input, first, count, out);
  } else {
    std::vector<uint8_t> raw(ByteCount(input.type, count));
    Evaluate(source, input, first, count, raw);
    quant::FindCodec(input.type)
        ->dequantize(raw.data(), reinterpret_cast<float*>(out.data()), count);
  }
  auto values = xt::adapt(reinterpret_cast<float*>(out.data()), count, xt::no_ownership(),
                          std::array<size_t, 1>{size_t{count}});
  values += addend;
}

// Whole blocks are decoded and what was asked for is taken out of them.
void EvaluateDecode(const ModelSource& source, const Expression& expression, uint64_t first,
                    uint64_t count, std::span<uint8_t> out) {
  const Expression& input = expression.inputs[0];
  const uint64_t block = Info(input.type).block_elements;
  const uint64_t begin = first / block * block;
  const uint64_t size = (first + count + block - 1) / block * block - begin;
  std::vector<uint8_t> raw(ByteCount(input.type, size));
  Evaluate(source, input, begin, size, raw);
  const quant::Codec& codec = *quant::FindCodec(input.type);
  if (size == count) {
    return codec.dequantize(raw.data(), reinterpret_cast<float*>(out.data()), count);
  }
  std::vector<float> whole(size);
  codec.dequantize(raw.data(), whole.data(), size);
  std::memcpy(out.data(), whole.data() + (first - begin), out.size());
}

void Evaluate(const ModelSource& source, const Expression& expression, uint64_t first,
              uint64_t count, std::span<uint8_t> out) {
  const auto read_input = [&](uint64_t from, uint64_t n, std::span<uint8_t> to) {
    Evaluate(source, expression.inputs[0], from, n, to);
  };
  switch (expression.op) {
    case Op::kSource:
      return source.Read(*expression.source, ByteCount(expression.type, first), out);
    case Op::kConstant:
      std::memcpy(out.data(), expression.constant.data() + first, out.size());
      return;
    case Op::kReshape:
    case Op::kRows:
    case Op::kConcat:
    case Op::kStack:
      return ForEachPiece(
          expression, first, count,
          [&](const Expression& input, uint64_t from, uint64_t n, uint64_t position) {
            Evaluate(
                source, input, from, n,
                out.subspan(ByteCount(expression.type, position), ByteCount(expression.type, n)));
          });
    case Op::kColumns:
      return EvaluateColumns(source, expression, first, count, out);
    case Op::kTranspose: {
      const Shape& shape = expression.inputs[0].shape;
      return TransposeElements(shape[0], shape[1], Info(expression.type).block_bytes, read_input,
                               first, count, out);
    }
    case Op::kPermuteRope:
      return PermuteRopeElements({expression.heads, expression.shape[0], Stride(expression.shape),
                                  Info(expression.type).block_bytes},
                                 read_input, first, count, out);
    case Op::kUnpermuteRope:
      return UnpermuteRopeElements({expression.heads, expression.shape[0], Stride(expression.shape),
                                    Info(expression.type).block_bytes},
                                   read_input, first, count, out);
    case Op::kAddOne:
      return EvaluateAdd(source, expression, 1.0f, first, count, out);
    case Op::kSubtractOne:
      return EvaluateAdd(source, expression, -1.0f, first, count, out);
    case Op::kDecode:
      return EvaluateDecode(source, expression, first, count, out);
  }
}

void PrefetchElements(const ModelSource& source, const Expression& expression, uint64_t first,
                      uint64_t count) {
  switch (expression.op) {
    case Op::kSource:
      return source.WillNeed(*expression.source, ByteCount(expression.type, first),
                             ByteCount(expression.type, count));
    case Op::kConstant:
      return;
    case Op::kReshape:
    case Op::kRows:
    case Op::kConcat:
    case Op::kStack:
      return ForEachPiece(expression, first, count,
                          [&](const Expression& input, uint64_t from, uint64_t n, uint64_t) {
                            PrefetchElements(source, input, from, n);
                          });
    case Op::kColumns: {
      const uint64_t row = first / expression.columns();
      const uint64_t rows = (first + count - 1) / expression.columns() + 1 - row;
      return ForEachColumnBlock(expression, [&](const Expression& input, uint64_t) {
        PrefetchElements(source, input, row * input.columns(), rows * input.columns());
      });
    }
    case Op::kTranspose:  // touches every row of the input
      return PrefetchElements(source, expression.inputs[0], 0, Elements(expression.shape));
    case Op::kPermuteRope:
    case Op::kUnpermuteRope: {
      const uint64_t head = Elements(expression.shape) / expression.heads;
      const uint64_t begin = first / head * head;
      return PrefetchElements(source, expression.inputs[0], begin,
                              AlignUp(first + count, head) - begin);
    }
    case Op::kAddOne:
    case Op::kSubtractOne:
      return PrefetchElements(source, expression.inputs[0], first, count);
    case Op::kDecode: {
      const Expression& input = expression.inputs[0];
      const uint64_t block = Info(input.type).block_elements;
      const uint64_t begin = first / block * block;
      return PrefetchElements(source, input, begin,
                              (first + count + block - 1) / block * block - begin);
    }
  }
}

void RequirePlain(const Expression& input, std::string_view what) {
  const auto& info = Info(input.type);
  const uint32_t bytes = info.block_bytes;
  if (info.block_elements == 1 && (bytes == 1 || bytes == 2 || bytes == 4 || bytes == 8)) return;
  throw Error(
      ErrorCode::kUnsupported, {{}, {}, Describe(input)},
      fmt::format("{} needs elements of 1, 2, 4 or 8 bytes, not {}; convert from a source with "
                  "plain weights",
                  what, info.name));
}

std::string Call(std::string_view name, const Expression& expression, std::string_view arguments) {
  std::string text = fmt::format("{}(", name);
  constexpr size_t kListed = 4;  // stacks of 128 experts would fill a screen
  for (size_t i = 0; i < expression.inputs.size(); ++i) {
    if (i == kListed && expression.inputs.size() > kListed + 1) {
      text += fmt::format(", ... {} in all", expression.inputs.size());
      break;
    }
    text += (i > 0 ? ", " : "") + Describe(expression.inputs[i]);
  }
  return text + std::string(arguments) + ")";
}

// Inputs that are joined: one type, and one shape but for the `free` first dimensions.
void RequireAlike(const std::vector<Expression>& inputs, size_t free, std::string_view what) {
  if (inputs.empty()) Fail(std::string(what), "needs at least one tensor");
  for (const auto& input : inputs) {
    const Shape &a = inputs[0].shape, &b = input.shape;
    if (a.size() != b.size() || a.size() < free ||
        !std::equal(a.begin() + static_cast<ptrdiff_t>(free), a.end(),
                    b.begin() + static_cast<ptrdiff_t>(free))) {
      Fail(Describe(input),
           fmt::format("{}: shape {} does not fit {} of {}; the checkpoint mixes sizes", what,
                       ShapeText(b), ShapeText(a), Describe(inputs[0])));
    }
    if (inputs[0].type != input.type) {
      throw Error(ErrorCode::kBadType, {{}, {}, Describe(input)},
                  fmt::format("{}: {} differs from {} of {}; the checkpoint mixes types", what,
                              Name(input.type), Name(inputs[0].type), Describe(inputs[0])));
    }
  }
}

}  // namespace

uint64_t Expression::columns() const { return shape.empty() ? 1 : shape.back(); }

uint64_t Expression::rows() const {
  return shape.empty() ? 1 : Elements(Shape(shape.begin(), shape.end() - 1));
}

Expression Source(const TensorInfo& tensor) {
  CheckedElements(tensor.shape, tensor.name);
  return {.op = Op::kSource, .type = tensor.type, .shape = tensor.shape, .source = &tensor};
}

Expression Constant(std::vector<float> values) {
  const Shape shape = {values.size()};
  return {.op = Op::kConstant, .shape = shape, .constant = std::move(values)};
}

Expression Reshape(Expression input, Shape shape) {
  if (CheckedElements(shape, Describe(input)) != Elements(input.shape)) {
    Fail(Describe(input),
         fmt::format("cannot be reshaped from {} to {}", ShapeText(input.shape), ShapeText(shape)));
  }
  const TensorType type = input.type;
  return {
      .op = Op::kReshape, .type = type, .shape = std::move(shape), .inputs = {std::move(input)}};
}

Expression Rows(Expression input, uint64_t first, uint64_t count) {
  if (input.shape.empty() || first > input.shape[0] || count > input.shape[0] - first) {
    Fail(Describe(input), fmt::format("has no rows {} to {}; its shape is {}", first, first + count,
                                      ShapeText(input.shape)));
  }
  Shape shape = input.shape;
  shape[0] = count;
  const TensorType type = input.type;
  return {.op = Op::kRows,
          .type = type,
          .shape = std::move(shape),
          .inputs = {std::move(input)},
          .first = first};
}

Expression Concat(std::vector<Expression> inputs) {
  RequireAlike(inputs, 1, "concat");
  Shape shape = inputs[0].shape;
  shape[0] = 0;
  for (const auto& input : inputs) shape[0] += input.shape[0];
  CheckedElements(shape, Describe(inputs[0]));
  const TensorType type = inputs[0].type;
  return {.op = Op::kConcat, .type = type, .shape = std::move(shape), .inputs = std::move(inputs)};
}

Expression ConcatColumns(std::vector<Expression> inputs) {
  for (const auto& input : inputs) {
    if (input.shape.size() != 2) {
      Fail(Describe(input),
           fmt::format("only matrices have columns to put side by side; its shape is {}",
                       ShapeText(input.shape)));
    }
    RequirePlain(input, "columns");
  }
  RequireAlike(inputs, 2, "columns");  // number and types; the rows follow
  Shape shape = {inputs[0].shape[0], 0};
  for (const auto& input : inputs) {
    if (input.shape[0] != shape[0]) {
      Fail(Describe(input), fmt::format("columns: {} rows do not fit the {} of {}; the checkpoint "
                                        "mixes sizes",
                                        input.shape[0], shape[0], Describe(inputs[0])));
    }
    shape[1] += input.shape[1];
  }
  CheckedElements(shape, Describe(inputs[0]));
  const TensorType type = inputs[0].type;
  return {.op = Op::kColumns, .type = type, .shape = std::move(shape), .inputs = std::move(inputs)};
}

Expression Stack(std::vector<Expression> inputs) {
  RequireAlike(inputs, 0, "stack");
  Shape shape = inputs[0].shape;
  shape.insert(shape.begin(), inputs.size());
  CheckedElements(shape, Describe(inputs[0]));
  const TensorType type = inputs[0].type;
  return {.op = Op::kStack, .type = type, .shape = std::move(shape), .inputs = std::move(inputs)};
}

Expression Transpose(Expression input) {
  if (input.shape.size() != 2) {
    Fail(Describe(input),
         fmt::format("only a matrix can be transposed; its shape is {}", ShapeText(input.shape)));
  }
  RequirePlain(input, "transpose");
  const TensorType type = input.type;
  Shape shape = {input.shape[1], input.shape[0]};
  return {
      .op = Op::kTranspose, .type = type, .shape = std::move(shape), .inputs = {std::move(input)}};
}

namespace {

Expression Permuted(Op op, Expression input, uint64_t heads) {
  if (input.shape.empty() || heads == 0 || input.shape[0] % heads != 0 ||
      input.shape[0] / heads % 2 != 0) {
    Fail(Describe(input),
         fmt::format("shape {} does not hold {} heads of an even size; check the head counts in "
                     "the model's config",
                     ShapeText(input.shape), heads));
  }
  RequirePlain(input, "permute_rope");
  const TensorType type = input.type;
  Shape shape = input.shape;
  return {.op = op,
          .type = type,
          .shape = std::move(shape),
          .inputs = {std::move(input)},
          .heads = heads};
}

// An op whose result is f32 whatever the input's type is.
Expression InF32(Op op, Expression input, std::string_view what) {
  if (input.type != TensorType::kF32 && !quant::FindCodec(input.type)) {
    throw Error(ErrorCode::kUnsupported, {{}, {}, Describe(input)},
                fmt::format("{} cannot read {} weights", what, Name(input.type)));
  }
  Shape shape = input.shape;
  return {.op = op, .shape = std::move(shape), .inputs = {std::move(input)}};
}

}  // namespace

Expression PermuteRope(Expression input, uint64_t heads) {
  return Permuted(Op::kPermuteRope, std::move(input), heads);
}

Expression UnpermuteRope(Expression input, uint64_t heads) {
  return Permuted(Op::kUnpermuteRope, std::move(input), heads);
}

Expression AddOne(Expression input) { return InF32(Op::kAddOne, std::move(input), "add_one"); }

Expression SubtractOne(Expression input) {
  return InF32(Op::kSubtractOne, std::move(input), "subtract_one");
}

Expression Decode(Expression input) {
  if (Info(input.type).type_class != TypeClass::kQuantized) return input;
  return InF32(Op::kDecode, std::move(input), "decode");
}

void EvaluateRows(const ModelSource& source, const Expression& expression, uint64_t first,
                  uint64_t count, std::span<uint8_t> out) {
  const uint64_t columns = expression.columns();
  if (count == 0 || columns == 0) return;
  Evaluate(source, expression, first * columns, count * columns, out);
}

void Prefetch(const ModelSource& source, const Expression& expression, uint64_t first,
              uint64_t count) {
  const uint64_t columns = expression.columns();
  if (count == 0 || columns == 0) return;
  PrefetchElements(source, expression, first * columns, count * columns);
}

uint64_t RowGranularity(const Expression& expression) {
  const bool permutes = expression.op == Op::kPermuteRope || expression.op == Op::kUnpermuteRope;
  if (permutes && expression.shape.size() > 1) {
    return expression.rows() / expression.heads;
  }
  return 1;
}

std::string Describe(const Expression& expression) {
  switch (expression.op) {
    case Op::kSource:
      return Printable(expression.source->name);
    case Op::kConstant:
      return fmt::format("constant[{}]", expression.constant.size());
    case Op::kReshape:
      return Call("reshape", expression, ", " + ShapeText(expression.shape));
    case Op::kRows:
      return Call(
          "rows", expression,
          fmt::format(", {}..{}", expression.first, expression.first + expression.shape[0]));
    case Op::kConcat:
      return Call("concat", expression, "");
    case Op::kColumns:
      return Call("columns", expression, "");
    case Op::kStack:
      return Call("stack", expression, "");
    case Op::kTranspose:
      return Call("transpose", expression, "");
    case Op::kPermuteRope:
      return Call("permute_rope", expression, fmt::format(", heads={}", expression.heads));
    case Op::kUnpermuteRope:
      return Call("unpermute_rope", expression, fmt::format(", heads={}", expression.heads));
    case Op::kAddOne:
      return Call("add_one", expression, "");
    case Op::kSubtractOne:
      return Call("subtract_one", expression, "");
    case Op::kDecode:
      return Call("decode", expression, "");
  }
  return {};
}

}  // namespace quern::converters
