#include "formats/imatrix/imatrix_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "formats/core/error.h"
#include "formats/gguf/gguf_writer.h"

namespace quern::formats::imatrix {
namespace {

template <typename Limit, typename T>
Limit Narrow(T count, const std::string& subject) {
  if (count > std::numeric_limits<Limit>::max()) {
    throw Error(ErrorCode::kLimitExceeded, {{}, {}, Printable(subject)},
                "is too much for this form of file; merge less, or use larger chunks (--ctx)");
  }
  return static_cast<Limit>(count);
}

[[noreturn]] void FailOnOverflow(const std::string& name) {
  throw Error(ErrorCode::kNonFinite, {{}, {}, Printable(name)},
              "the activations' squares became NaN or too large for a float; the weights are "
              "damaged");
}

std::vector<float> FloatSums(const std::string& name, const SumsEntry& entry) {
  std::vector<float> floats(entry.sums.size());
  for (size_t i = 0; i < floats.size(); ++i) {
    // Compared before it is narrowed, which would be undefined above the largest float.
    if (!(std::abs(entry.sums[i]) <= static_cast<double>(std::numeric_limits<float>::max()))) {
      FailOnOverflow(name);
    }
    floats[i] = static_cast<float>(entry.sums[i]);
  }
  return floats;
}

void CopyFloats(const std::vector<float>& floats, uint64_t offset, std::vector<uint8_t>& bytes) {
  std::memcpy(bytes.data() + offset, floats.data(), floats.size() * sizeof(float));
}

std::vector<uint8_t> EncodeGguf(const ImatrixSums& sums) {
  Metadata metadata;
  metadata.Set("general.type", std::string("imatrix"));
  metadata.Set("imatrix.datasets", Array{sums.datasets});
  metadata.Set("imatrix.chunk_count", Narrow<uint32_t>(sums.ChunkCount(), "the number of chunks"));
  metadata.Set("imatrix.chunk_size", sums.chunk_size);
  std::vector<gguf::TensorSpec> specs;
  for (const auto& [name, entry] : sums.entries) {
    const uint64_t rows = entry.counts.size();
    specs.push_back(
        {name + ".in_sum2", gguf::WithoutOuterOnes({rows, entry.columns()}), TensorType::kF32});
    specs.push_back({name + ".counts", gguf::WithoutOuterOnes({rows, 1}), TensorType::kF32});
  }
  const gguf::Layout layout = gguf::LayOut(metadata, specs);
  std::vector<uint8_t> bytes(layout.file_bytes);
  std::copy(layout.header.begin(), layout.header.end(), bytes.begin());
  size_t tensor = 0;
  for (const auto& [name, entry] : sums.entries) {
    CopyFloats(FloatSums(name, entry), layout.offsets[tensor++], bytes);
    const std::vector<float> counts(entry.counts.begin(), entry.counts.end());
    CopyFloats(counts, layout.offsets[tensor++], bytes);
  }
  return bytes;
}

class LegacyBytes {
 public:
  void PutNumber(int32_t number) { Append(&number, sizeof(number)); }
  void PutText(const std::string& text) {
    PutNumber(Narrow<int32_t>(text.size(), text));
    Append(text.data(), text.size());
  }
  void PutFloats(const std::vector<float>& floats) {
    Append(floats.data(), floats.size() * sizeof(float));
  }
  std::vector<uint8_t> Take() { return std::move(bytes_); }

 private:
  void Append(const void* data, size_t size) {
    const auto* first = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), first, first + size);
  }

  std::vector<uint8_t> bytes_;
};

bool HasData(const SumsEntry& entry) {
  return std::any_of(entry.counts.begin(), entry.counts.end(), [](int64_t n) { return n > 0; });
}

// Means times calls, in single precision and in llama-imatrix's order.
void PutEntry(const std::string& name, const SumsEntry& entry, uint32_t chunk_size,
              LegacyBytes& bytes) {
  const int64_t most = *std::max_element(entry.counts.begin(), entry.counts.end());
  // Rounded up, so that a part of a chunk is not none.
  const auto calls = Narrow<int32_t>((most - 1) / chunk_size + 1, name);
  std::vector<float> values = FloatSums(name, entry);
  for (size_t i = 0; i < values.size(); ++i) {
    const int64_t count = entry.counts[i / entry.columns()];
    const float mean = count > 0 ? values[i] / static_cast<float>(count) : 1.0f;
    values[i] = mean * static_cast<float>(calls);
    if (!std::isfinite(values[i])) FailOnOverflow(name);
  }
  bytes.PutText(name);
  bytes.PutNumber(calls);
  bytes.PutNumber(Narrow<int32_t>(values.size(), name));
  bytes.PutFloats(values);
}

std::vector<uint8_t> EncodeLegacy(const ImatrixSums& sums) {
  const auto stored = std::count_if(sums.entries.begin(), sums.entries.end(),
                                    [](const auto& entry) { return HasData(entry.second); });
  LegacyBytes bytes;
  bytes.PutNumber(Narrow<int32_t>(stored, "the number of entries"));
  for (const auto& [name, entry] : sums.entries) {
    if (HasData(entry)) PutEntry(name, entry, sums.chunk_size, bytes);
  }
  bytes.PutNumber(Narrow<int32_t>(sums.ChunkCount(), "the number of chunks"));
  bytes.PutText(sums.datasets.empty() ? "" : sums.datasets.back());
  return bytes.Take();
}

}  // namespace

std::vector<uint8_t> EncodeImatrix(const ImatrixSums& sums, ImatrixForm form) {
  if (std::none_of(sums.entries.begin(), sums.entries.end(),
                   [](const auto& entry) { return HasData(entry.second); })) {
    throw Error(ErrorCode::kMissing, {},
                "no tensor has any importance values; collect some with -f TEXT");
  }
  return form == ImatrixForm::kGguf ? EncodeGguf(sums) : EncodeLegacy(sums);
}

void WriteImatrix(const ImatrixSums& sums, ImatrixForm form, const std::filesystem::path& path,
                  const OutputOptions& options) {
  const std::vector<uint8_t> bytes = EncodeImatrix(sums, form);
  OutputFile file(path, bytes.size(), options);
  file.WriteAt(0, bytes);
  file.Commit();
}

}  // namespace quern::formats::imatrix
