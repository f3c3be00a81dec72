#include "verify/model_diff.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <mutex>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <unordered_set>

#include "verify/evaluation.h"
#include "verify/reference/parallel.h"
#include "verify/sha256.h"

namespace quern::verify {
namespace {

using converters::OutputTensor;

constexpr std::string_view kFileType = "general.file_type";

std::string HashFile(const std::filesystem::path& path) {
  constexpr uint64_t kPiece = 1 << 20;
  const File file = File::Open(path);
  std::vector<uint8_t> bytes;
  Sha256 hash;
  for (uint64_t offset = 0; offset < file.size(); offset += kPiece) {
    bytes.resize(std::min(kPiece, file.size() - offset));
    file.ReadAt(offset, bytes);
    hash.Update(bytes);
  }
  return hash.HexDigest();
}

Value ToValue(const Json& json) {
  if (json.is_boolean()) return json.get<bool>();
  if (json.is_number_unsigned()) return json.get<uint64_t>();
  if (json.is_number_integer()) return json.get<int64_t>();
  if (json.is_number_float()) return json.get<double>();
  if (json.is_string()) return json.get<std::string>();
  return json.dump();  // null, {} and []
}

// What a folder says beside its tensors.
void AddSideFiles(const ModelSource& source, Metadata& metadata) {
  if (source.config().is_structured()) {
    const Json flat = source.config().flatten();
    for (const auto& [pointer, value] : flat.items()) {
      metadata.Append("config" + pointer, ToValue(value));
    }
  }
  for (const auto& [name, path] : source.side_files()) {
    if (name != "config.json") metadata.Append("file/" + name, "sha256 " + HashFile(path));
  }
}

ComparedModel Prepare(std::unique_ptr<ModelSource> source, bool convert,
                      const converters::ConvertOptions& options) {
  ComparedModel compared{.source = std::move(source), .converted = convert};
  const ModelSource& opened = *compared.source;
  compared.model = convert ? converters::Convert(opened, options) : converters::AsItIs(opened);
  if (!convert) AddSideFiles(opened, compared.model.metadata);
  return compared;
}

template <typename T>
bool SameItem(const T& a, const T& b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (std::isnan(a) && std::isnan(b)) return true;
  }
  return a == b;
}

// The first item that differs, or absent where there is none and the lengths are equal.
std::optional<uint64_t> FirstDifference(const Array& a, const Array& b) {
  return std::visit(
      [&](const auto& items) -> std::optional<uint64_t> {
        using Items = std::decay_t<decltype(items)>;
        if constexpr (std::is_same_v<Items, std::monostate>) {
          return std::nullopt;
        } else {
          using Item = typename Items::value_type;
          const auto& others = std::get<Items>(b.items);
          const size_t common = std::min(items.size(), others.size());
          for (size_t i = 0; i < common; ++i) {
            if (!SameItem<Item>(items[i], others[i])) return i;
          }
          if (items.size() == others.size()) return std::nullopt;
          return common;
        }
      },
      a.items);
}

// Absent where both are the same.
std::optional<MetadataDiff> Compare(const std::string& key, const Value& a, const Value& b) {
  MetadataDiff diff{.key = key, .a = &a, .b = &b};
  if (a.index() != b.index()) return diff;
  if (const auto* array = std::get_if<Array>(&a)) {
    const auto& other = std::get<Array>(b);
    if (array->type() != other.type()) return diff;
    diff.first = FirstDifference(*array, other);
    return diff.first ? std::optional(diff) : std::nullopt;
  }
  const bool same = std::visit(
      [&](const auto& value) {
        return SameItem(value, std::get<std::decay_t<decltype(value)>>(b));
      },
      a);
  return same ? std::nullopt : std::optional(diff);
}

using Index = std::unordered_map<std::string_view, const OutputTensor*>;

Index IndexOf(const converters::OutputModel& model) {
  Index index;
  for (const OutputTensor& tensor : model.tensors) index.emplace(tensor.name, &tensor);
  return index;
}

// Pairs by name, and what is left of either side.
std::vector<TensorDiff> PairByName(const ModelView& a, const ModelView& b) {
  std::vector<TensorDiff> pairs;
  const Index in_a = IndexOf(a.model), in_b = IndexOf(b.model);
  for (const OutputTensor& tensor : a.model.tensors) {
    const auto other = in_b.find(tensor.name);
    pairs.push_back({.a = &tensor, .b = other == in_b.end() ? nullptr : other->second});
  }
  for (const OutputTensor& tensor : b.model.tensors) {
    if (!in_a.contains(tensor.name)) pairs.push_back({.b = &tensor});
  }
  return pairs;
}

uint64_t Weights(const OutputTensor& tensor) {
  return tensor.value.rows() * tensor.value.columns();
}

uint64_t Weights(const TensorDiff& pair) { return Weights(pair.a ? *pair.a : *pair.b); }

// One run over all tensors.
class Differ {
 public:
  Differ(const ModelView& a, const ModelView& b, const DiffOptions& options)
      : a_(a), b_(b), options_(options), compare_(options.compare) {
    compare_.step = [this] { Step(); };
  }

  std::vector<TensorDiff> Run() {
    std::vector<TensorDiff> pairs = PairByName(a_, b_);
    for (const TensorDiff& pair : pairs) total_ += Weights(pair);
    FindRenamed(pairs);
    for (TensorDiff& pair : pairs) {
      pair.relation = RelationOf(pair);
      done_ += Weights(pair);
    }
    Step();
    return pairs;
  }

 private:
  void Step() {
    const std::lock_guard lock(mutex_);
    if (!options_.progress) return;
    options_.progress(total_ > 0 ? static_cast<double>(done_) / static_cast<double>(total_) : 1);
  }

  // Joins tensors that only one side has, whose shape and contents are the same: each with the
  // first one of the other side that has no partner yet.
  void FindRenamed(std::vector<TensorDiff>& pairs) {
    std::map<Shape, std::array<std::vector<size_t>, 2>> alone;  // by shape: in a, in b
    for (size_t i = 0; i < pairs.size(); ++i) {
      if (pairs[i].a && pairs[i].b) continue;
      const OutputTensor& tensor = pairs[i].a ? *pairs[i].a : *pairs[i].b;
      alone[tensor.value.shape][pairs[i].a ? 0 : 1].push_back(i);
    }
    std::vector<size_t> candidates;
    for (const auto& [shape, sides] : alone) {
      if (sides[0].empty() || sides[1].empty()) continue;
      for (const auto& side : sides) candidates.insert(candidates.end(), side.begin(), side.end());
    }
    std::sort(candidates.begin(), candidates.end());  // all of a's stand before b's
    const std::vector<std::string> hashes = Hash(pairs, candidates);
    std::multimap<std::pair<Shape, std::string>, size_t> waiting;
    for (size_t i = 0; i < candidates.size(); ++i) {
      TensorDiff& pair = pairs[candidates[i]];
      const Shape& shape = (pair.a ? pair.a : pair.b)->value.shape;
      if (pair.a) {
        waiting.emplace(std::pair(shape, hashes[i]), candidates[i]);
      } else if (const auto [at, end] = waiting.equal_range({shape, hashes[i]}); at != end) {
        pairs[at->second].b = pair.b;
        pair.b = nullptr;
        waiting.erase(at);
      }
    }
    std::erase_if(pairs, [](const TensorDiff& pair) { return !pair.a && !pair.b; });
  }

  std::vector<std::string> Hash(const std::vector<TensorDiff>& pairs,
                                const std::vector<size_t>& candidates) {
    std::vector<std::string> hashes(candidates.size());
    ParallelFor(ThreadCount(compare_.threads), candidates.size(), [&](size_t i) {
      const TensorDiff& pair = pairs[candidates[i]];
      hashes[i] = HashValues(pair.a ? InA(*pair.a) : InB(*pair.b), compare_);
    });
    return hashes;
  }

  TensorRelation RelationOf(TensorDiff& pair) {
    if (!pair.b) return TensorRelation::kOnlyInA;
    if (!pair.a) return TensorRelation::kOnlyInB;
    const auto &a = pair.a->value, &b = pair.b->value;
    if (a.shape != b.shape) return TensorRelation::kDifferentShape;
    const Comparand one = InA(*pair.a), other = InB(*pair.b);
    if (a.type == b.type && SameBytes(one, other, compare_)) return TensorRelation::kEqualBytes;
    if (!HasValues(a.type) || !HasValues(b.type)) return TensorRelation::kDifferentBytes;
    pair.error = MeasureTensorError(one, other, compare_);
    return pair.error->different == 0 ? TensorRelation::kEqualValues
                                      : TensorRelation::kDifferentValues;
  }

  Comparand InA(const OutputTensor& tensor) const { return {&a_.source, &tensor.value}; }
  Comparand InB(const OutputTensor& tensor) const { return {&b_.source, &tensor.value}; }

  const ModelView& a_;
  const ModelView& b_;
  const DiffOptions& options_;
  CompareOptions compare_;
  std::mutex mutex_;
  uint64_t done_ = 0, total_ = 0;
};

}  // namespace

std::pair<ComparedModel, ComparedModel> OpenForDiff(const std::filesystem::path& a,
                                                    const std::filesystem::path& b,
                                                    const formats::OpenOptions& open,
                                                    const converters::ConvertOptions& convert) {
  auto source_a = formats::OpenModel(a, open), source_b = formats::OpenModel(b, open);
  const bool mixed = source_a->layout() != source_b->layout();
  const auto prepare = [&](std::unique_ptr<ModelSource> source) {
    const bool converted = mixed && source->layout() != "gguf";
    return Prepare(std::move(source), converted, convert);
  };
  std::pair<ComparedModel, ComparedModel> models(prepare(std::move(source_a)),
                                                 prepare(std::move(source_b)));
  if (mixed) {
    models.first.model.metadata.Remove(kFileType);
    models.second.model.metadata.Remove(kFileType);
  }
  return models;
}

std::vector<MetadataDiff> DiffMetadata(const Metadata& a, const Metadata& b) {
  std::unordered_map<std::string_view, const Value*> in_b;
  for (const auto& [key, value] : b.entries()) in_b.emplace(key, &value);
  std::vector<MetadataDiff> diffs;
  std::unordered_set<std::string_view> seen;
  for (const auto& [key, value] : a.entries()) {
    seen.insert(key);
    const auto other = in_b.find(key);
    if (other == in_b.end()) {
      diffs.push_back({.key = key, .a = &value});
    } else if (auto diff = Compare(key, value, *other->second)) {
      diffs.push_back(std::move(*diff));
    }
  }
  for (const auto& [key, value] : b.entries()) {
    if (!seen.contains(key)) diffs.push_back({.key = key, .b = &value});
  }
  return diffs;
}

std::string_view RelationName(TensorRelation relation) {
  constexpr std::array<std::string_view, 7> kNames = {
      "equal",           "equal_values", "different_values", "different_bytes",
      "different_shape", "only_in_a",    "only_in_b"};
  return kNames[static_cast<size_t>(relation)];
}

std::vector<TensorDiff> DiffTensors(const ModelView& a, const ModelView& b,
                                    const DiffOptions& options) {
  return Differ(a, b, options).Run();
}

}  // namespace quern::verify
