// Elementwise kernels on rows of f32 (Google Highway, instruction set chosen at run time).
//
// Exponentials are Highway's, at most 1 ulp off; sums are accumulated in f64.
#ifndef QUERN_VERIFY_REFERENCE_VECTOR_MATH_H_
#define QUERN_VERIFY_REFERENCE_VECTOR_MATH_H_

#include <cstddef>

namespace quern::verify {

// The largest of n > 0 values.
float Largest(const float* x, size_t n);

// x[i] = exp(x[i] - shift); the sum of the results.
double ExponentiateAndSum(float* x, size_t n, float shift);

// Sum of exp(x[i] - shift).
double SumOfExponentials(const float* x, size_t n, float shift);

// Sum of exp(x[i] - shift) * (x[i] - y[i]).
double WeightedDifference(const float* x, const float* y, size_t n, float shift);

// x[i] *= factor.
void Scale(float* x, size_t n, float factor);

double Sum(const float* x, size_t n);
// Sum of (x[i] - mean)^2.
double SumOfSquares(const float* x, size_t n, float mean);
// out[i] = (x[i] - mean) * factor * weight[i] + bias[i]; bias may be null. out may be x.
void Normalize(const float* x, size_t n, float mean, float factor, const float* weight,
               const float* bias, float* out);

// gate[i] = gate[i] * sigmoid(gate[i]) * up[i]; up may be null (then 1).
void Silu(float* gate, const float* up, size_t n);
// gate[i] = gelu(gate[i]) * up[i], in the tanh approximation
// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))); up may be null.
void Gelu(float* gate, const float* up, size_t n);

// y[i] += factor * x[i].
void AddScaled(const float* x, float factor, float* y, size_t n);

// sums[i] += x[i]^2, in f64.
void AddSquares(const float* x, size_t n, double* sums);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_REFERENCE_VECTOR_MATH_H_
