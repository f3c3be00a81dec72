// Internal to quant/: what each family's files offer to registry.cc.
#ifndef QUERN_QUANT_CODECS_H_
#define QUERN_QUANT_CODECS_H_

#include "quant/codec.h"

namespace quern::quant {

// float_{ref,simd}.cc
extern const Codec kF32Codec, kF16Codec, kBF16Codec, kF64Codec;
// legacy_{ref,simd}.cc, legacy_search_simd.cc
extern const Codec kQ4_0Codec, kQ4_1Codec, kQ5_0Codec, kQ5_1Codec, kQ8_0Codec;
// kquant_{ref,simd}.cc
extern const Codec kQ2KCodec, kQ3KCodec, kQ4KCodec, kQ5KCodec, kQ6KCodec;
// iquant1_{ref,simd}.cc
extern const Codec kIQ1SCodec, kIQ1MCodec;
// iquant_{ref,simd}.cc
extern const Codec kIQ2XXSCodec, kIQ2XSCodec, kIQ2SCodec, kIQ3XXSCodec, kIQ3SCodec;
// nonlinear_{ref,simd}.cc
extern const Codec kIQ4NLCodec, kIQ4XSCodec;
// lowbit_{ref,simd}.cc
extern const Codec kTQ1_0Codec, kTQ2_0Codec, kMXFP4Codec, kNVFP4Codec, kQ1_0Codec, kQ2_0Codec,
    kQ8_1Codec, kQ8_KCodec;

}  // namespace quern::quant

#endif  // QUERN_QUANT_CODECS_H_
