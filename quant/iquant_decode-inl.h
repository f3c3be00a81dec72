// Decoding of the types with a grid and signs, eight weights at a time: levels are cut out of a
// code by shifts, and looked up in one register of values. Per-target include file of Highway: no
// ordinary include guard.
#if defined(QUERN_QUANT_IQUANT_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT_DECODE_INL_H_
#undef QUERN_QUANT_IQUANT_DECODE_INL_H_
#else
#define QUERN_QUANT_IQUANT_DECODE_INL_H_
#endif

#include "quant/blocks.h"
#include "quant/iquant_lanes-inl.h"
#include "quant/kquant_blocks.h"

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {

// The codes of eight weights, one or two, in the bits of one number.
template <class Shape>
HWY_INLINE uint32_t CodeOfEight(const uint16_t* codes, const uint16_t* index) {
  if constexpr (Shape::kGroup == 8) {
    return codes[index[0]];
  } else {
    return codes[index[0]] | uint32_t{codes[index[1]]} << 12;
  }
}

// DequantizeGrid, for types without a shift.
template <class Shape>
void DecodeGrid(const GridType& type, const uint8_t* blocks, float* weights, size_t count) {
  if constexpr (kGridLanes != 8) {
    DequantizeGrid(type, blocks, weights, count);
  } else {
    const GridFloat df;
    const hn::RebindToUnsigned<GridFloat> du;
    const uint16_t* const codes = CodesOf(type.grid).codes.data();
    HWY_ALIGN float values[8];  // for 2 bits twice, whatever the bit behind them
    for (size_t i = 0; i < 8; ++i) values[i] = type.values[i % Shape::kLevels];
    const auto lookup = hn::Load(df, values);
    const auto lane = hn::Iota(du, 0);
    const auto code_shift = hn::Mul(lane, hn::Set(du, Shape::kBits));
    const auto sign_shift = hn::Sub(hn::Set(du, 31), lane);
    GridQuants quants{};
    for (size_t done = 0; done < count; done += kSuperblock, blocks += type.bytes) {
      type.unpack(blocks, &quants);
      const float d = F16ToF32(quants.d);
      for (size_t i = 0; i < kSuperblock; i += 8, weights += 8) {
        const float level = type.offset + type.step * quants.scale[i / type.scaled];
        const uint32_t code = CodeOfEight<Shape>(codes, quants.index + i / Shape::kGroup);
        const auto levels = hn::And(hn::Shr(hn::Set(du, code), code_shift), hn::Set(du, 7));
        const auto value = hn::TableLookupLanes(lookup, hn::IndicesFromVec(df, levels));
        const auto w = hn::Mul(hn::Set(df, d * level * type.factor), value);
        const auto signs = hn::Shl(hn::Set(du, quants.signs[i / 8]), sign_shift);
        const auto sign = hn::And(signs, hn::Set(du, 0x80000000u));
        hn::StoreU(hn::Xor(w, hn::BitCast(df, sign)), df, weights);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
