#include "verify/against.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <set>

#include "converters/parallel.h"
#include "converters/plan.h"
#include "converters/slab_encoder.h"
#include "formats/gguf/gguf_writer.h"
#include "quant/codec.h"

namespace quern::verify {
namespace {

using converters::Encoding;
using converters::OutputTensor;
using converters::PlannedTensor;
using converters::SlabEncoder;

constexpr uint64_t kSlabWeights = 512 << 10;
// Keys that a quantizer sets, and those that describe files.
constexpr std::array<std::string_view, 5> kOwnKeys = {"general.file_type",
                                                      "general.quantization_version", "quantize.",
                                                      "split.", "general.alignment"};
constexpr size_t kMaxKeyNotes = 40;

// One way in which a writer may have coded a tensor.
struct Coding {
  std::optional<TensorType> via;      // as PlannedTensor::via
  std::span<const float> importance;  // as PlannedTensor::importance

  std::string Describe() const {
    std::string text = via ? fmt::format("through {}", Name(*via)) : "";
    if (!importance.empty()) text += text.empty() ? "with imatrix" : ", with imatrix";
    return text.empty() ? "as it is" : text;
  }
};

struct Scratch {
  SlabEncoder encoder{false};
  std::vector<Encoding> encoding = std::vector<Encoding>(1);
  std::vector<uint8_t> source, found;
  std::vector<float> weights, coded, decoded;
};

// Rows of one tensor of the output, and the same rows made from the source.
class TensorPair {
 public:
  TensorPair(const ModelSource& output, const TensorInfo& found, const ModelSource& source,
             const OutputTensor& made, Scratch& scratch)
      : output_(output), found_(found), source_(source), made_(made), scratch_(scratch) {
    const uint64_t granularity = RowGranularity(made.value);
    const uint64_t rows = std::max<uint64_t>(kSlabWeights / std::max<uint64_t>(columns(), 1), 1);
    step_ = std::max<uint64_t>(rows / granularity, 1) * granularity;
  }

  uint64_t rows() const { return made_.value.rows(); }
  uint64_t columns() const { return made_.value.columns(); }
  uint64_t step() const { return step_; }
  uint64_t row_bytes() const { return *RowBytes(found_.type, columns()); }

  // Whether the output's type can be made of the source's.
  bool CanCode() const {
    if (found_.type == made_.value.type) return true;
    const quant::Codec* decoder = quant::FindCodec(made_.value.type);
    const quant::Codec* encoder = quant::FindCodec(found_.type);
    return decoder != nullptr && decoder->dequantize != nullptr && encoder != nullptr &&
           encoder->quantize != nullptr;
  }

  // Reads rows [first, first + count) of the output into scratch.found and gives what the source
  // makes of them, valid until the next call.
  std::span<const uint8_t> Make(const Coding& coding, uint64_t first, uint64_t count) {
    scratch_.found.resize(count * row_bytes());
    output_.Read(found_, first * row_bytes(), scratch_.found);
    scratch_.source.resize(count * *RowBytes(made_.value.type, columns()));
    EvaluateRows(source_, made_.value, first, count, scratch_.source);
    if (found_.type == made_.value.type) return scratch_.source;
    PlannedTensor planned{.type = found_.type, .via = coding.via, .importance = coding.importance};
    if (planned.importance.empty() && quant::FindCodec(found_.type)->needs_imatrix) {
      const uint64_t matrices = rows() * columns() / MatrixElements();
      equal_importance_.assign(matrices * columns(), 1.0f);
      planned.importance = equal_importance_;
    }
    scratch_.encoding.front().planned = &planned;
    scratch_.encoder.Encode(made_, first, count, scratch_.source, scratch_.encoding,
                            [](const std::string&) {});
    return scratch_.encoding.front().blocks;
  }

  // Floats of what Make() read and gave: of the source, of `coded` and of the output.
  void Decode(std::span<const uint8_t> coded) {
    DecodeInto(made_.value.type, scratch_.source, scratch_.weights);
    DecodeInto(found_.type, coded, scratch_.coded);
    DecodeInto(found_.type, scratch_.found, scratch_.decoded);
  }

 private:
  uint64_t MatrixElements() const {
    const Shape& shape = made_.value.shape;
    return (shape.size() < 2 ? 1 : std::max<uint64_t>(shape[shape.size() - 2], 1)) * columns();
  }

  static void DecodeInto(TensorType type, std::span<const uint8_t> blocks,
                         std::vector<float>& floats) {
    floats.resize(blocks.size() / Info(type).block_bytes * Info(type).block_elements);
    quant::FindCodec(type)->dequantize(blocks.data(), floats.data(), floats.size());
  }

  const ModelSource& output_;
  const TensorInfo& found_;
  const ModelSource& source_;
  const OutputTensor& made_;
  Scratch& scratch_;
  uint64_t step_;
  std::vector<float> equal_importance_;
};

// Errors of the blocks that differ.
struct Measured {
  uint64_t blocks = 0, different = 0, first_different = 0;
  double squared_error = 0, squared_weights = 0;
  double worst_ratio = 0;  // to what is allowed
  uint64_t worst_block = 0;
};

// What one weight may be off by, relative to its size, whatever coding it here gives: a unit in the
// last place of a float; of blocks, where they are exact here, the rounding of an f16 scale.
double Granularity(TensorType type) {
  switch (type) {
    case TensorType::kF64:
      return 0x1p-52;
    case TensorType::kF32:
      return 0x1p-23;
    case TensorType::kF16:
      return 0x1p-10;
    case TensorType::kBF16:
      return 0x1p-7;
    default:
      return 0x1p-8;
  }
}

class Comparison {
 public:
  Comparison(const ModelSource& output, const ModelSource& source,
             const converters::OutputModel& model, const AgainstOptions& options)
      : output_(output), source_(source), model_(model), options_(options) {
    for (const OutputTensor& tensor : model.tensors) made_.emplace(tensor.name, &tensor);
    for (const TensorInfo& tensor : output.tensors()) progress_.total += tensor.bytes;
    for (const auto& [key, value] : output.metadata().entries()) {
      has_imatrix_keys_ |= key.starts_with("quantize.imatrix.");
    }
  }

  AgainstReport Run() {
    AgainstReport report;
    const auto& tensors = output_.tensors();
    report.tensors.resize(tensors.size());
    report.bytes = progress_.total;
    converters::ForEachInParallel<Scratch>(
        static_cast<int64_t>(tensors.size()), options_.threads, [&](int64_t i, Scratch& scratch) {
          const auto index = static_cast<size_t>(i);
          report.tensors[index] = Compare(tensors[index], scratch);
          Advance(tensors[index]);
        });
    for (const OutputTensor& tensor : model_.tensors) {
      if (output_.FindTensor(tensor.name) != nullptr) continue;
      report.tensors.push_back({.name = tensor.name,
                                .type = tensor.value.type,
                                .verdict = Verdict::kMissing,
                                .detail = "the source has this tensor and the file lacks it"});
    }
    CompareKeys(report.notes);
    return report;
  }

 private:
  TensorComparison Compare(const TensorInfo& found, Scratch& scratch) {
    TensorComparison result{.name = found.name, .type = found.type};
    const auto made = made_.find(found.name);
    if (made == made_.end()) {
      result.verdict = Verdict::kUnexpected;
      result.detail = "the source has nothing that would become this tensor";
      return result;
    }
    const OutputTensor& tensor = *made->second;
    TensorPair pair(output_, found, source_, tensor, scratch);
    const auto plain = formats::gguf::WithoutOuterOnes;
    if (plain(found.shape) != plain(tensor.value.shape)) {
      result.verdict = Verdict::kDiffers;
      result.detail =
          fmt::format("has the shape [{}] and the source gives [{}]", fmt::join(found.shape, ", "),
                      fmt::join(tensor.value.shape, ", "));
      return result;
    }
    if (!pair.CanCode()) {
      result.verdict = Verdict::kDiffers;
      result.detail = fmt::format("is {} and cannot be made of the source's {}", Name(found.type),
                                  Name(tensor.value.type));
      return result;
    }
    result.blocks = found.bytes / Info(found.type).block_bytes;
    const std::vector<Coding> codings = CodingsOf(tensor, found);
    for (const Coding& coding : codings) {
      if (!IsEqual(pair, coding, scratch)) continue;
      result.how = found.type == tensor.value.type ? "copied" : coding.Describe();
      return result;
    }
    Judge(pair, Best(pair, codings, scratch), found, scratch, result);
    return result;
  }

  // The likeliest first: what quern and llama.cpp do.
  std::vector<Coding> CodingsOf(const OutputTensor& tensor, const TensorInfo& found) const {
    if (found.type == tensor.value.type) return {{}};
    std::vector<std::optional<TensorType>> vias;
    const auto add = [&](std::optional<TensorType> via) {
      if (via == found.type) via.reset();  // the last rounding does it
      if (std::find(vias.begin(), vias.end(), via) == vias.end()) vias.push_back(via);
    };
    if (model_.auto_type) {
      const TensorType stored = tensor.keep_f32 ? TensorType::kF32 : *model_.auto_type;
      add(converters::RoundingBefore(tensor.value.type, stored));
    }
    add(std::nullopt);
    if (model_.auto_type && !tensor.keep_f32) {
      for (const TensorType type : {TensorType::kF16, TensorType::kBF16}) {
        add(converters::RoundingBefore(tensor.value.type, type));
      }
    }
    const std::span<const float> importance = ImportanceOf(tensor, found.type);
    std::vector<Coding> codings;
    for (const auto& via : vias) {
      if (!importance.empty()) codings.push_back({via, importance});
      codings.push_back({via, {}});
    }
    return codings;
  }

  std::span<const float> ImportanceOf(const OutputTensor& tensor, TensorType type) const {
    if (options_.imatrix == nullptr || !IsQuantized(type)) return {};
    return quant::ImportanceOf(*options_.imatrix,
                               {tensor.name, tensor.value.shape, tensor.value.type},
                               {.type = type, .reason = {}});
  }

  static bool IsEqual(TensorPair& pair, const Coding& coding, Scratch& scratch) {
    for (uint64_t row = 0; row < pair.rows(); row += pair.step()) {
      const auto coded = pair.Make(coding, row, std::min(pair.step(), pair.rows() - row));
      if (!std::equal(coded.begin(), coded.end(), scratch.found.begin())) return false;
    }
    return true;
  }

  // The coding that gives most of the first rows' blocks.
  static const Coding& Best(TensorPair& pair, const std::vector<Coding>& codings,
                            Scratch& scratch) {
    size_t best = 0;
    uint64_t most = 0;
    for (size_t i = 0; i < codings.size(); ++i) {
      const auto coded = pair.Make(codings[i], 0, std::min(pair.step(), pair.rows()));
      uint64_t equal = 0;
      for (size_t at = 0; at < scratch.found.size(); ++at) {
        equal += scratch.found[at] == coded[at];
      }
      if (equal > most) {
        most = equal;
        best = i;
      }
    }
    return codings[best];
  }

  void Judge(TensorPair& pair, const Coding& coding, const TensorInfo& found, Scratch& scratch,
             TensorComparison& result) const {
    if (quant::FindCodec(found.type) == nullptr) {  // integers
      result.verdict = Verdict::kDiffers;
      result.detail = "has other values than the source";
      return;
    }
    Measured measured;
    for (uint64_t row = 0; row < pair.rows(); row += pair.step()) {
      const auto coded = pair.Make(coding, row, std::min(pair.step(), pair.rows() - row));
      pair.Decode(coded);
      Measure(found.type, coded, scratch, measured);
    }
    result.different_blocks = measured.different;
    result.relative_rmse = measured.squared_weights > 0
                               ? std::sqrt(measured.squared_error / measured.squared_weights)
                               : 0;
    const bool mostly_equal = 2 * measured.different <= measured.blocks;
    const bool unknown_imatrix = has_imatrix_keys_ && options_.imatrix == nullptr;
    const auto place = [&](uint64_t block) { return DescribeBlock(found.type, block, pair); };
    if (!(measured.worst_ratio <= 1)) {  // NaN too
      result.verdict = Verdict::kDiffers;
      result.detail =
          fmt::format("{} of {} blocks differ; {} has {:.3g} times the error that {} allows",
                      measured.different, measured.blocks, place(measured.worst_block),
                      measured.worst_ratio, Name(found.type));
    } else if (mostly_equal && !unknown_imatrix) {
      result.verdict = Verdict::kDiffers;
      result.detail = fmt::format(
          "{} of {} blocks differ, the first is {}; the others are byte for byte what the source "
          "gives, so these or their weights were changed",
          measured.different, measured.blocks, place(measured.first_different));
    } else {
      result.verdict = Verdict::kWithinBound;
      result.detail = fmt::format(
          "{} of {} blocks have other bytes; the error of each is at most {:.2f} times what "
          "coding it here gives (allowed: {}), {:.3g} % in all",
          measured.different, measured.blocks, measured.worst_ratio * kBoundFactor, kBoundFactor,
          100 * result.relative_rmse);
    }
  }

  static std::string DescribeBlock(TensorType type, uint64_t block, const TensorPair& pair) {
    const uint64_t elements = Info(type).block_elements;
    const uint64_t column = block * elements % pair.columns();
    const std::string place = elements == 1
                                  ? fmt::format("column {}", column)
                                  : fmt::format("columns {} to {}", column, column + elements - 1);
    return fmt::format("row {}, {}", block * elements / pair.columns(), place);
  }

  static void Measure(TensorType type, std::span<const uint8_t> coded, const Scratch& scratch,
                      Measured& measured) {
    const size_t elements = Info(type).block_elements, bytes = Info(type).block_bytes;
    const double granularity = Granularity(type);
    for (size_t block = 0; block * bytes < scratch.found.size(); ++block) {
      double error = 0, reference = 0, weights = 0;
      for (size_t i = block * elements; i < (block + 1) * elements; ++i) {
        const double weight = scratch.weights[i];
        error += (weight - scratch.decoded[i]) * (weight - scratch.decoded[i]);
        reference += (weight - scratch.coded[i]) * (weight - scratch.coded[i]);
        weights += weight * weight;
      }
      const uint64_t number = measured.blocks++;
      measured.squared_error += error;
      measured.squared_weights += weights;
      if (std::memcmp(&scratch.found[block * bytes], &coded[block * bytes], bytes) == 0) {
        continue;
      }
      if (measured.different++ == 0) measured.first_different = number;
      const double allowed = kBoundFactor * std::sqrt(reference) + granularity * std::sqrt(weights);
      const double ratio = error == 0 ? 0 : std::sqrt(error) / allowed;
      if (ratio > measured.worst_ratio || std::isnan(ratio)) {
        measured.worst_ratio = ratio;
        measured.worst_block = number;
      }
    }
  }

  void CompareKeys(std::vector<std::string>& notes) const {
    const auto is_own = [](std::string_view key) {
      return std::any_of(kOwnKeys.begin(), kOwnKeys.end(),
                         [&](std::string_view own) { return key.starts_with(own); });
    };
    size_t more = 0;
    const auto add = [&](std::string_view key, std::string_view what) {
      if (notes.size() == kMaxKeyNotes) {
        ++more;
      } else {
        notes.push_back(fmt::format("key {} {}", Printable(key), what));
      }
    };
    for (const auto& [key, value] : output_.metadata().entries()) {
      if (is_own(key)) continue;
      const Value* made = model_.metadata.Find(key);
      if (made == nullptr) {
        add(key, "is in the file only");
      } else if (!(*made == value)) {
        add(key, "has another value than the source gives");
      }
    }
    for (const auto& [key, value] : model_.metadata.entries()) {
      if (!is_own(key) && !output_.metadata().Has(key)) add(key, "is missing in the file");
    }
    if (more > 0) notes.push_back(fmt::format("and {} more keys", more));
    if (has_imatrix_keys_ && options_.imatrix == nullptr) {
      notes.push_back(
          "the file was made with an importance matrix; with --imatrix its bytes can "
          "be compared");
    }
  }

  void Advance(const TensorInfo& tensor) {
    if (!options_.progress) return;
    const std::lock_guard lock(mutex_);
    progress_.done += tensor.bytes;
    progress_.tensor = tensor.name;
    options_.progress(progress_);
  }

  const ModelSource& output_;
  const ModelSource& source_;
  const converters::OutputModel& model_;
  const AgainstOptions& options_;
  std::map<std::string, const OutputTensor*, std::less<>> made_;
  bool has_imatrix_keys_ = false;
  std::mutex mutex_;
  converters::Progress progress_;  // of bytes here
};

}  // namespace

std::string_view VerdictName(Verdict verdict) {
  constexpr std::array<std::string_view, 5> kNames = {"equal", "within_bound", "differs", "missing",
                                                      "unexpected"};
  return kNames[static_cast<size_t>(verdict)];
}

bool AgainstReport::Holds() const {
  return std::all_of(tensors.begin(), tensors.end(),
                     [](const auto& tensor) { return verify::Holds(tensor.verdict); });
}

AgainstReport CompareWithSource(const ModelSource& output, const ModelSource& source,
                                const converters::OutputModel& model,
                                const AgainstOptions& options) {
  return Comparison(output, source, model, options).Run();
}

}  // namespace quern::verify
