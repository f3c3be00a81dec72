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

}  // namespace quern::quant

#endif  // QUERN_QUANT_CODECS_H_
