// What an output tensor is made of: a small tree over source tensors, evaluated by ranges of rows.
//
// A row is the innermost dimension; a tensor of shape [a, b, c] has a*b rows of c elements, a
// vector and a scalar have one row. An expression is plain data, so that the plan can print it, a
// journal can hash it and a library user can build one. Evaluation reads what it needs through
// ModelSource::Read into scratch memory that is O(rows asked for), except for Transpose, which
// reads strips of the source (see transforms.cc).
#ifndef QUERN_CONVERTERS_EXPRESSION_H_
#define QUERN_CONVERTERS_EXPRESSION_H_

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "formats/core/model.h"

namespace quern::converters {

enum class Op : uint8_t {
  kSource,       // a source tensor as it is
  kConstant,     // `constant`, F32
  kReshape,      // same elements, other shape
  kRows,         // rows [first, first + count) of the input
  kConcat,       // inputs one after the other along the outermost dimension
  kColumns,      // matrices side by side: row r is row r of each input, one after the other
  kStack,        // inputs of equal shape under a new outermost dimension
  kTranspose,    // of a matrix
  kPermuteRope,  // rows of a projection, per head: from two halves to interleaved pairs
  kAddOne,       // x + 1 in f32 (norm weights that are stored minus one)
  // The way back:
  kUnpermuteRope,  // the inverse of kPermuteRope
  kSubtractOne,    // x - 1 in f32
  kDecode,         // f32 values of blocks
};

struct Expression {
  Op op = Op::kSource;
  TensorType type = TensorType::kF32;  // of the elements that evaluation gives
  Shape shape;
  std::vector<Expression> inputs;
  const TensorInfo* source = nullptr;  // kSource; owned by the ModelSource
  uint64_t first = 0;                  // kRows: first row along the outermost dimension
  uint64_t heads = 0;                  // kPermuteRope, kUnpermuteRope
  std::vector<float> constant;         // kConstant

  uint64_t rows() const;
  uint64_t columns() const;
};

// Builders. They throw kBadShape (with the tensors' names) where shapes do not fit.
Expression Source(const TensorInfo& tensor);
Expression Constant(std::vector<float> values);
Expression Reshape(Expression input, Shape shape);
Expression Rows(Expression input, uint64_t first, uint64_t count);
Expression Concat(std::vector<Expression> inputs);
Expression ConcatColumns(std::vector<Expression> inputs);
Expression Stack(std::vector<Expression> inputs);
Expression Transpose(Expression input);
// For a weight [heads * d, columns] or a bias [heads * d]: row h*d + 2*i + k of the result is row
// h*d + k*(d/2) + i of the input. What llama.cpp's rotary kernel needs of Llama's q and k.
Expression PermuteRope(Expression input, uint64_t heads);
Expression AddOne(Expression input);
// Row h*d + k*(d/2) + i of the result is row h*d + 2*i + k of the input.
Expression UnpermuteRope(Expression input, uint64_t heads);
Expression SubtractOne(Expression input);
// The input itself where its type is plain.
Expression Decode(Expression input);

// Evaluates rows [first, first + count) into `out` (count * RowBytes(type, columns) bytes).
// Thread-safe.
void EvaluateRows(const ModelSource& source, const Expression& expression, uint64_t first,
                  uint64_t count, std::span<uint8_t> out);

// Read-ahead for rows that will be evaluated soon.
void Prefetch(const ModelSource& source, const Expression& expression, uint64_t first,
              uint64_t count);

// Rows come cheapest in multiples of this many, aligned to it (a head where heads are permuted,
// else 1).
uint64_t RowGranularity(const Expression& expression);

// "permute_rope(model.layers.0.self_attn.q_proj.weight, heads=4)"
std::string Describe(const Expression& expression);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_EXPRESSION_H_
