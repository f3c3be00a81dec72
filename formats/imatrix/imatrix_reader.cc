#include "formats/imatrix/imatrix_reader.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/reader.h"

namespace quern::formats::imatrix {
namespace {

constexpr std::string_view kRemake = "; make the importance matrix again";

std::string Advise(std::string_view problem) { return std::string(problem) += kRemake; }

bool AllFinite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

// A count that the format stores as i32.
uint32_t ReadCount(ByteReader& reader, std::string_view field, int32_t least) {
  const auto count = reader.Read<int32_t>(field);
  if (count < least) {
    throw reader.Fail(ErrorCode::kBadValue, field, Advise("this count is too small"));
  }
  return static_cast<uint32_t>(count);
}

void ReadLegacyEntry(ByteReader& reader, Imatrix& imatrix) {
  std::string name = reader.ReadString(ReadCount(reader, "length of a name", 1), "name");
  const auto calls = reader.Read<int32_t>("calls");
  ImatrixEntry entry;
  entry.values = reader.ReadArray<float>(ReadCount(reader, "count of values", 1), "values");
  entry.counts = {calls};
  if (calls > 0) {
    for (float& value : entry.values) value /= static_cast<float>(calls);
  }
  if (!AllFinite(entry.values)) {
    throw reader.Fail(ErrorCode::kNonFinite, name, Advise("its values are not all finite"));
  }
  const auto [at, is_new] = imatrix.entries.emplace(std::move(name), std::move(entry));
  if (!is_new)
    throw reader.Fail(ErrorCode::kDuplicate, at->first, Advise("this entry is there twice"));
}

// Everything below reads the GGUF form.

Error FailIn(const ModelSource& model, ErrorCode code, std::string_view subject,
             std::string_view problem) {
  return Error(code, {model.path().string(), {}, std::string(subject)}, Advise(problem));
}

std::vector<float> ReadFloats(const ModelSource& model, const TensorInfo& tensor) {
  if (tensor.type != TensorType::kF32) {
    throw FailIn(model, ErrorCode::kBadType, tensor.name, "this tensor must be F32");
  }
  std::vector<float> values(tensor.bytes / sizeof(float));
  model.Read(tensor, 0, {reinterpret_cast<uint8_t*>(values.data()), values.size() * sizeof(float)});
  if (!AllFinite(values)) {
    throw FailIn(model, ErrorCode::kNonFinite, tensor.name, "its values are not all finite");
  }
  return values;
}

// The sums of each row divided by its count, in single precision, as llama-quantize divides.
ImatrixEntry Average(const ModelSource& model, const TensorInfo& sums, const TensorInfo& counts) {
  ImatrixEntry entry;
  entry.values = ReadFloats(model, sums);
  const std::vector<float> stored_counts = ReadFloats(model, counts);
  const size_t rows = stored_counts.size();
  if (rows == 0 || entry.values.empty() || entry.values.size() % rows != 0) {
    throw FailIn(model, ErrorCode::kBadShape, sums.name, "sums and counts do not fit together");
  }
  const size_t columns = entry.values.size() / rows;
  for (size_t row = 0; row < rows; ++row) {
    constexpr float kMaxCount = 9e18f;  // below 2^63
    if (std::abs(stored_counts[row]) > kMaxCount) {
      throw FailIn(model, ErrorCode::kBadValue, counts.name, "this count is out of range");
    }
    const int64_t count = std::llround(stored_counts[row]);
    entry.counts.push_back(count);
    for (size_t i = row * columns; i < (row + 1) * columns; ++i) {
      entry.values[i] = count > 0 ? entry.values[i] / static_cast<float>(count) : 1.0f;
    }
  }
  return entry;
}

uint32_t RequireCount(const ModelSource& model, const char* key) {
  const auto value = model.metadata().GetInteger(key);
  if (!value) throw FailIn(model, ErrorCode::kMissing, key, "this key must be there, an integer");
  if (*value < 0 || *value > std::numeric_limits<uint32_t>::max()) {
    throw FailIn(model, ErrorCode::kBadValue, key, "this count is out of range");
  }
  return static_cast<uint32_t>(*value);
}

std::vector<std::string> RequireTexts(const ModelSource& model, const char* key) {
  const Array* array = model.metadata().Get<Array>(key);
  const auto* texts = array ? std::get_if<std::vector<std::string>>(&array->items) : nullptr;
  if (!texts) throw FailIn(model, ErrorCode::kMissing, key, "this list of texts must be there");
  return *texts;
}

// The name without its suffix; absent where it ends in none.
std::optional<std::string> Stem(const std::string& name, std::string_view suffix) {
  if (!name.ends_with(suffix) || name.size() == suffix.size()) return std::nullopt;
  return name.substr(0, name.size() - suffix.size());
}

}  // namespace

Imatrix ReadLegacyImatrix(ByteReader& reader) {
  Imatrix imatrix;
  imatrix.counts_chunks = true;
  const uint32_t count = ReadCount(reader, "count of entries", 1);
  constexpr uint64_t kLeastEntryBytes = 4 + 1 + 4 + 4 + 4;
  reader.Require(count, kLeastEntryBytes, "count of entries");
  for (uint32_t i = 0; i < count; ++i) ReadLegacyEntry(reader, imatrix);
  if (reader.remaining() > 0) imatrix.chunk_count = ReadCount(reader, "count of chunks", 0);
  if (reader.remaining() > 0) {
    const uint32_t length = ReadCount(reader, "length of the text's name", 0);
    std::string text = reader.ReadString(length, "name of the text");
    if (!text.empty()) imatrix.datasets.push_back(std::move(text));
  }
  if (reader.remaining() > 0) {
    throw reader.Fail(ErrorCode::kUnusedBytes, "", Advise("bytes follow the importance matrix"));
  }
  return imatrix;
}

Imatrix ImatrixFromModel(const ModelSource& model) {
  Imatrix imatrix;
  imatrix.datasets = RequireTexts(model, "imatrix.datasets");
  imatrix.chunk_count = RequireCount(model, "imatrix.chunk_count");
  imatrix.chunk_size = RequireCount(model, "imatrix.chunk_size");
  for (const TensorInfo& tensor : model.tensors()) {
    if (const auto name = Stem(tensor.name, ".in_sum2")) {
      const TensorInfo* counts = model.FindTensor(*name + ".counts");
      if (!counts) throw FailIn(model, ErrorCode::kMissing, *name, "there are sums but no counts");
      imatrix.entries[*name] = Average(model, tensor, *counts);
    } else if (const auto counted = Stem(tensor.name, ".counts")) {
      if (!model.FindTensor(*counted + ".in_sum2")) {
        throw FailIn(model, ErrorCode::kMissing, *counted, "there are counts but no sums");
      }
    } else if (!Stem(tensor.name, ".in_sum")) {  // plain sums: written since 2026, not needed
      throw FailIn(model, ErrorCode::kUnexpected, tensor.name,
                   "this tensor does not belong in an importance matrix");
    }
  }
  if (imatrix.entries.empty()) throw FailIn(model, ErrorCode::kMissing, "", "there are no entries");
  return imatrix;
}

Imatrix ReadImatrix(const std::filesystem::path& path) {
  const File file = File::Open(path);
  ByteReader reader(file);
  // As a count of entries these four letters would be more than a thousand million.
  if (file.size() >= 4 && reader.ReadString(4, "magic") == "GGUF") {
    return ImatrixFromModel(*OpenModel(path));
  }
  ByteReader from_start(file);
  return ReadLegacyImatrix(from_start);
}

}  // namespace quern::formats::imatrix
