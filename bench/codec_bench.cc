// Speed of every codec on one thread, beside ggml's own quantizers where QUERN_ORACLE names
// llama.cpp's libraries. Counters: weights/s.
//
//   cmake --preset release -DQUERN_BUILD_BENCH=ON && cmake --build build/release --target
//   codec_bench QUERN_ORACLE=... build/release/bin/codec_bench --benchmark_filter=Q4_K
//
// Rows are read from 16 MiB of weights, four times the last-level cache of a small machine, so that
// types which are limited by memory are measured as such.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <string>
#include <vector>

#include "quant/codec.h"
#include "tests/quant/oracle_testing.h"
#include "tests/quant/weights_testing.h"

namespace quern {
namespace {

using quant::Codec;
using testing::Oracle;

constexpr size_t kColumns = 4096;
constexpr size_t kRows = 1024;
// One iteration handles this many rows; slow codecs would otherwise take seconds for one.
constexpr size_t kRowsAtOnce = 16;

const std::vector<float>& Weights() {
  static const std::vector<float> weights = [] {
    std::vector<float> values(kRows * kColumns);
    testing::FillWeights(testing::Distribution::kNormal, 1, values);
    return values;
  }();
  return weights;
}

size_t RowBytes(const Codec& codec) {
  const TensorTypeInfo& info = Info(codec.type);
  return kColumns / info.block_elements * info.block_bytes;
}

template <typename Run>
void Measure(benchmark::State& state, const Run& run) {
  size_t row = 0;
  for (auto _ : state) {
    run(row);
    benchmark::ClobberMemory();
    row = (row + kRowsAtOnce) % kRows;
  }
  state.counters["weights"] =
      benchmark::Counter(static_cast<double>(state.iterations() * kRowsAtOnce * kColumns),
                         benchmark::Counter::kIsRate);
}

void Quantize(benchmark::State& state, const Codec& codec, bool use_oracle, bool use_imatrix) {
  const std::vector<float>& weights = Weights();
  const std::vector<float> imatrix =
      testing::MakeImportance(testing::Importance::kSquares, 2, kColumns);
  const float* importance = use_imatrix ? imatrix.data() : nullptr;
  std::vector<uint8_t> blocks(kRows * RowBytes(codec));
  Measure(state, [&](size_t row) {
    const float* from = weights.data() + row * kColumns;
    uint8_t* to = blocks.data() + row * RowBytes(codec);
    if (use_oracle) {
      Oracle::Get()->Quantize(codec.type, from, to, kRowsAtOnce, kColumns, importance);
    } else {
      codec.quantize(from, to, kRowsAtOnce, kColumns, importance);
    }
  });
}

void Dequantize(benchmark::State& state, const Codec& codec, bool use_oracle) {
  std::vector<uint8_t> blocks(kRows * RowBytes(codec));
  testing::Random random(3);
  for (uint8_t& byte : blocks) byte = static_cast<uint8_t>(random.Bits() >> 56);
  std::vector<float> weights(kRows * kColumns);
  Measure(state, [&](size_t row) {
    const uint8_t* from = blocks.data() + row * RowBytes(codec);
    float* to = weights.data() + row * kColumns;
    if (use_oracle) {
      Oracle::Get()->Dequantize(codec.type, from, to, kRowsAtOnce * kColumns);
    } else {
      codec.dequantize(from, to, kRowsAtOnce * kColumns);
    }
  });
}

void RegisterCodec(const Codec& codec) {
  const std::string name(Name(codec.type));
  const auto add = [&](const std::string& what, auto run) {
    benchmark::RegisterBenchmark((name + what).c_str(), run);
  };
  for (const bool use_oracle : {false, true}) {
    if (use_oracle && !Oracle::Get()) continue;
    const std::string who = use_oracle ? "/ggml" : "/quern";
    for (const bool use_imatrix : {false, true}) {
      if (!codec.quantize || (codec.needs_imatrix && !use_imatrix)) continue;
      add((use_imatrix ? "/imatrix" : "/quantize") + who,
          [=](benchmark::State& state) { Quantize(state, codec, use_oracle, use_imatrix); });
    }
    if (use_oracle && !Oracle::Get()->CanDequantize(codec.type)) continue;
    add("/dequantize" + who,
        [=](benchmark::State& state) { Dequantize(state, codec, use_oracle); });
  }
}

}  // namespace
}  // namespace quern

int main(int argc, char** argv) {
  for (const quern::quant::Codec& codec : quern::quant::Codecs()) quern::RegisterCodec(codec);
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
