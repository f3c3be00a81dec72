// Sorts the weights of IQ1 blocks; a lane is a block.
//
// A float, made a double, leaves 29 bits of its mantissa zero; the place in the block goes
// there, so that min and max of doubles keep weight and place together, and equal weights in order.
//
// Per-target include file of Highway: no ordinary include guard.
#if defined(QUERN_QUANT_IQUANT1_SORT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef QUERN_QUANT_IQUANT1_SORT_INL_H_
#undef QUERN_QUANT_IQUANT1_SORT_INL_H_
#else
#define QUERN_QUANT_IQUANT1_SORT_INL_H_
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

#ifndef QUERN_QUANT_IQUANT1_SORT_ONCE_
#define QUERN_QUANT_IQUANT1_SORT_ONCE_
namespace quern::quant {

struct Comparator {
  uint8_t low;
  uint8_t high;
};

// Batcher's odd-even merge sort of n = 2^k values.
template <size_t kN, typename Visit>
constexpr void ForEachComparator(const Visit& visit) {
  for (size_t p = 1; p < kN; p *= 2) {
    for (size_t k = p; k >= 1; k /= 2) {
      for (size_t j = k % p; j + k < kN; j += 2 * k) {
        for (size_t i = j; i < std::min(j + k, kN - k); ++i) {
          if (i / (2 * p) == (i + k) / (2 * p)) visit(i, i + k);
        }
      }
    }
  }
}

template <size_t kN>
constexpr size_t CountComparators() {
  size_t count = 0;
  ForEachComparator<kN>([&](size_t, size_t) { ++count; });
  return count;
}

template <size_t kN>
inline constexpr auto kComparators = [] {
  std::array<Comparator, CountComparators<kN>()> all{};
  size_t count = 0;
  ForEachComparator<kN>([&](size_t low, size_t high) {
    all[count++] = {static_cast<uint8_t>(low), static_cast<uint8_t>(high)};
  });
  return all;
}();

}  // namespace quern::quant
#endif  // QUERN_QUANT_IQUANT1_SORT_ONCE_

HWY_BEFORE_NAMESPACE();
namespace quern::quant {
namespace HWY_NAMESPACE {
namespace iq1 {
namespace hn = hwy::HWY_NAMESPACE;

using DF = hn::CappedTag<float, 8>;
using DI = hn::RebindToSigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;
using MF = hn::Mask<DF>;
constexpr size_t kLanes = hn::MaxLanes(DF());

// Doubles, and what becomes of as many lanes.
using DD = hn::CappedTag<double, 4>;
using DU64 = hn::RebindToUnsigned<DD>;
using DU32 = hn::Rebind<uint32_t, DD>;
using DFHalf = hn::Rebind<float, DD>;
constexpr size_t kDoubles = hn::MaxLanes(DD());
static_assert(kLanes % kDoubles == 0);

HWY_INLINE VF LoadLanes(const float* p, size_t i) { return hn::Load(DF(), p + i * kLanes); }
HWY_INLINE void StoreLanes(VF v, float* p, size_t i) { hn::Store(v, DF(), p + i * kLanes); }

// kLanes blocks of kN weights, weight i of block j at i * kLanes + j.
template <size_t kN>
struct Sorted {
  HWY_ALIGN double keys[kN * kLanes];
  HWY_ALIGN float x[kN * kLanes];
  HWY_ALIGN float weights[kN * kLanes];
  HWY_ALIGN int32_t places[kN * kLanes];  // in the block
};

HWY_INLINE void PutInOrder(hn::Vec<DD>& low, hn::Vec<DD>& high) {
  const auto smaller = hn::Min(low, high);
  high = hn::Max(low, high);
  low = smaller;
}

// kDoubles blocks. Unrolled, so that most keys stay in registers.
template <size_t kN, size_t... c>
HWY_INLINE void SortKeys(double* keys, std::index_sequence<c...>) {
  hn::Vec<DD> v[kN];
  for (size_t i = 0; i < kN; ++i) v[i] = hn::Load(DD(), keys + i * kLanes);
  (PutInOrder(v[kComparators<kN>[c].low], v[kComparators<kN>[c].high]), ...);
  for (size_t i = 0; i < kN; ++i) hn::Store(v[i], DD(), keys + i * kLanes);
}

// Sorts x. No weight is NaN or infinite.
template <size_t kN>
HWY_NOINLINE void Sort(const float* x, const float* weights, Sorted<kN>* sorted) {
  const DD dd;
  const DU64 du64;
  double* keys = sorted->keys;
  for (size_t i = 0; i < kN; ++i) {
    for (size_t l = i * kLanes; l < (i + 1) * kLanes; l += kDoubles) {
      // + 0: zeros of both signs are equal. The larger the place, the less a negative number.
      const auto value = hn::PromoteTo(dd, hn::Add(hn::Load(DFHalf(), x + l), hn::Zero(DFHalf())));
      const auto negative = hn::RebindMask(du64, hn::Lt(value, hn::Zero(dd)));
      const auto place = hn::IfThenElse(negative, hn::Set(du64, kN - 1 - i), hn::Set(du64, i));
      hn::Store(hn::BitCast(dd, hn::Or(hn::BitCast(du64, value), place)), dd, keys + l);
    }
  }
  for (size_t l = 0; l < kLanes; l += kDoubles) {
    SortKeys<kN>(keys + l, std::make_index_sequence<kComparators<kN>.size()>());
  }
  const DI di;
  const auto mask = hn::Set(du64, kN - 1);
  for (size_t l = 0; l < kN * kLanes; l += kDoubles) {
    const auto key = hn::Load(dd, keys + l);
    const auto bits = hn::BitCast(du64, key);
    const auto negative = hn::RebindMask(du64, hn::Lt(key, hn::Zero(dd)));
    const auto place = hn::And(hn::Xor(bits, hn::IfThenElseZero(negative, mask)), mask);
    hn::Store(hn::DemoteTo(DFHalf(), hn::BitCast(dd, hn::AndNot(mask, bits))), DFHalf(),
              sorted->x + l);
    hn::Store(hn::TruncateTo(DU32(), place), DU32(),
              reinterpret_cast<uint32_t*>(sorted->places) + l);
  }
  const VI lane = hn::Iota(di, 0);
  for (size_t l = 0; l < kN * kLanes; l += kLanes) {
    const VI place = hn::Load(di, sorted->places + l);
    const VI at = hn::Add(hn::Mul(place, hn::Set(di, static_cast<int32_t>(kLanes))), lane);
    hn::Store(hn::GatherIndex(DF(), weights, at), DF(), sorted->weights + l);
  }
}

}  // namespace iq1
}  // namespace HWY_NAMESPACE
}  // namespace quern::quant
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
