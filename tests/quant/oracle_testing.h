// The oracle of all codecs: ggml's own quantizers in libggml-base.so (llama.cpp v0.5.0), loaded at
// run time. Present only where QUERN_ORACLE or scripts/install-oracle provides it.
#ifndef QUERN_TESTS_QUANT_ORACLE_TESTING_H_
#define QUERN_TESTS_QUANT_ORACLE_TESTING_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/core/tensor_type.h"

namespace quern::testing {

class Oracle {
 public:
  // Null where there is no library.
  static const Oracle* Get();

  // As quant::QuantizeFn, through ggml_quantize_chunk. The type must have a GGUF id.
  void Quantize(TensorType type, const float* weights, uint8_t* blocks, size_t rows, size_t columns,
                const float* imatrix) const;
  // The same in a child process, for weights that ggml may refuse by aborting: false if it did.
  bool TryQuantize(TensorType type, const float* weights, uint8_t* blocks, size_t rows,
                   size_t columns, const float* imatrix) const;
  // False where ggml has no decoder (F32, F64).
  bool CanDequantize(TensorType type) const;
  void Dequantize(TensorType type, const uint8_t* blocks, float* weights, size_t count) const;

  uint16_t F32ToF16(float value) const { return f32_to_f16_(value); }
  float F16ToF32(uint16_t half) const { return f16_to_f32_(half); }

 private:
  explicit Oracle(void* library);

  // The part of ggml's struct ggml_type_traits (include/ggml.h) that is read here.
  struct TypeTraits {
    const char* type_name;
    int64_t block_elements;
    int64_t interleave;
    size_t block_bytes;
    bool is_quantized;
    void (*to_float)(const void*, float*, int64_t);
  };
  size_t (*quantize_)(int, const float*, void*, int64_t, int64_t, int64_t, const float*);
  void (*init_)(int);
  const TypeTraits* (*traits_)(int);
  uint16_t (*f32_to_f16_)(float);
  float (*f16_to_f32_)(uint16_t);
};

}  // namespace quern::testing

#endif  // QUERN_TESTS_QUANT_ORACLE_TESTING_H_
