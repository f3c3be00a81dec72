#include <vector>

#include "quant/codec.h"
#include "quant/codecs.h"

namespace quern::quant {
namespace {

// The explicit list of codecs, in the order of TensorType.
const std::vector<Codec> kCodecs = {};

}  // namespace

std::span<const Codec> Codecs() { return kCodecs; }

const Codec* FindCodec(TensorType type) {
  for (const Codec& codec : kCodecs) {
    if (codec.type == type) return &codec;
  }
  return nullptr;
}

}  // namespace quern::quant
