#include "quant/codec.h"
#include "quant/codecs.h"

namespace quern::quant {

// The explicit list of codecs, in the order of TensorType.
std::span<const Codec> Codecs() {
  static const Codec kCodecs[] = {
      kF32Codec,    kF16Codec,  kBF16Codec,  kF64Codec,   kQ4_0Codec,   kQ4_1Codec,  kQ5_0Codec,
      kQ5_1Codec,   kQ8_0Codec, kQ8_1Codec,  kQ2KCodec,   kQ3KCodec,    kQ4KCodec,   kQ5KCodec,
      kQ6KCodec,    kQ8_KCodec, kIQ1SCodec,  kIQ1MCodec,  kIQ2XXSCodec, kIQ2XSCodec, kIQ2SCodec,
      kIQ3XXSCodec, kIQ3SCodec, kIQ4NLCodec, kIQ4XSCodec, kTQ1_0Codec,  kTQ2_0Codec, kMXFP4Codec,
      kNVFP4Codec,  kQ1_0Codec, kQ2_0Codec,
  };
  return kCodecs;
}

const Codec* FindCodec(TensorType type) {
  for (const Codec& codec : Codecs()) {
    if (codec.type == type) return &codec;
  }
  return nullptr;
}

}  // namespace quern::quant
