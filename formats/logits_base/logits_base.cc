#include "formats/logits_base/logits_base.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>
#include <string_view>

#include "formats/core/byte_reader.h"
#include "formats/core/checked_math.h"
#include "formats/core/error.h"

namespace quern::formats::logits_base {
namespace {

constexpr std::string_view kMagic = "_logits_";
constexpr uint64_t kSizesBytes = 3 * sizeof(int32_t);
constexpr uint64_t kLargestSize = std::numeric_limits<int32_t>::max();
constexpr uint64_t kLeastContext = 3;  // one position to score
constexpr float kRange = 16;           // nats below the top token that are told apart
constexpr float kSteps = 65535;
// ln p is at most 0, but for the rounding of scale and minimum.
constexpr float kLargestLogProbability = 0.01f;

uint64_t ReadSize(ByteReader& reader, std::string_view field, uint64_t least) {
  const auto size = reader.Read<int32_t>(field);
  if (size < static_cast<int64_t>(least)) {
    throw reader.Fail(
        ErrorCode::kBadValue, field,
        fmt::format("must be at least {}, is {}; make the base file again", least, size));
  }
  return static_cast<uint64_t>(size);
}

void CheckTokens(const std::string& path, std::span<const int32_t> tokens, uint64_t offset,
                 uint64_t vocabulary) {
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] >= 0 && static_cast<uint64_t>(tokens[i]) < vocabulary) continue;
    throw Error(ErrorCode::kBadValue, {path, offset + i * sizeof(int32_t), "tokens"},
                fmt::format("token {} is outside the vocabulary of {}; make the base file again",
                            tokens[i], vocabulary));
  }
}

void CheckSize(const File& file, const Dimensions& dimensions) {
  const auto bytes = dimensions.file_bytes();
  if (!bytes || *bytes > file.size()) {
    throw Error(
        ErrorCode::kTruncated, {file.path(), file.size(), {}},
        fmt::format("{} windows of {} tokens and a vocabulary of {} need {} bytes, the file "
                    "has {}; the run that wrote it was stopped, make it again",
                    dimensions.windows, dimensions.context, dimensions.vocabulary,
                    bytes ? fmt::to_string(*bytes) : "more than 2^64", file.size()));
  }
  if (*bytes < file.size()) {
    throw Error(ErrorCode::kUnusedBytes, {file.path(), *bytes, {}},
                fmt::format("{} bytes follow the last row; make the base file again",
                            file.size() - *bytes));
  }
}

}  // namespace

uint64_t Dimensions::head_bytes() const {
  return kMagic.size() + kSizesBytes + windows * context * sizeof(int32_t);
}

std::optional<uint64_t> Dimensions::file_bytes() const {
  const auto tokens = CheckedProduct(std::array{windows, context, uint64_t{sizeof(int32_t)}});
  const auto rows = CheckedProduct(std::array{windows, scored(), row_bytes()});
  if (!tokens || !rows) return std::nullopt;
  const auto head = CheckedAdd(*tokens, kMagic.size() + kSizesBytes);
  return head ? CheckedAdd(*head, *rows) : std::nullopt;
}

void EncodeRow(std::span<const float> logits, std::span<uint8_t> row) {
  assert(!logits.empty() && 2 * sizeof(float) + logits.size() * sizeof(uint16_t) <= row.size());
  const auto [least, most] = std::minmax_element(logits.begin(), logits.end());
  const float largest = *most;
  const float smallest = std::max(*least, largest - kRange);
  double sum = 0;
  for (const float logit : logits) sum += static_cast<double>(std::exp(logit - largest));
  const float log_sum = static_cast<float>(std::log(sum));
  const float scale = (largest - smallest) / kSteps;
  const float minimum = smallest - largest - log_sum;
  std::memcpy(row.data(), &scale, sizeof(scale));
  std::memcpy(row.data() + sizeof(scale), &minimum, sizeof(minimum));
  uint8_t* out = row.data() + 2 * sizeof(float);
  std::fill(out, row.data() + row.size(), 0);
  if (scale == 0) return;
  const float factor = 1 / scale;
  for (const float logit : logits) {
    const float place = logit > smallest ? std::min(factor * (logit - smallest), kSteps) : 0;
    const auto q = static_cast<uint16_t>(std::lrint(place));  // half to even
    std::memcpy(out, &q, sizeof(q));
    out += sizeof(q);
  }
}

LogitsBaseReader::LogitsBaseReader(const std::filesystem::path& path) : file_(File::Open(path)) {
  ByteReader reader(file_);
  if (reader.remaining() < kMagic.size() || reader.ReadString(kMagic.size(), "magic") != kMagic) {
    throw Error(ErrorCode::kBadMagic, {file_.path(), 0, {}},
                "is no base file; make one with quern perplexity --kl-divergence-base, or with "
                "llama-perplexity's option of that name");
  }
  dimensions_.context = ReadSize(reader, "context", kLeastContext);
  if (dimensions_.context > kMaxContext) {
    throw reader.Fail(ErrorCode::kLimitExceeded, "context",
                      fmt::format("is {}, above the limit of {}; make the base file again",
                                  dimensions_.context, kMaxContext));
  }
  dimensions_.vocabulary = ReadSize(reader, "vocabulary", 1);
  dimensions_.windows = ReadSize(reader, "windows", 1);
  CheckSize(file_, dimensions_);
  const uint64_t offset = reader.offset();
  tokens_ = reader.ReadArray<int32_t>(dimensions_.windows * dimensions_.context, "tokens");
  CheckTokens(file_.path(), tokens_, offset, dimensions_.vocabulary);
}

void LogitsBaseReader::Read(uint64_t position, std::span<float> out) const {
  thread_local std::vector<uint8_t> row;
  row.resize(dimensions_.row_bytes());
  const uint64_t offset = dimensions_.head_bytes() + position * row.size();
  file_.ReadAt(offset, row);
  float scale, minimum;
  std::memcpy(&scale, row.data(), sizeof(scale));
  std::memcpy(&minimum, row.data() + sizeof(scale), sizeof(minimum));
  // Written so that NaN fails.
  const bool valid =
      scale >= 0 && std::isfinite(minimum) && scale * kSteps + minimum <= kLargestLogProbability;
  if (!valid) {
    throw Error(ErrorCode::kBadValue, {file_.path(), offset, "scale and minimum"},
                fmt::format("{} and {} are no log-probabilities' at scored position {}; make the "
                            "base file again",
                            scale, minimum, position));
  }
  const uint8_t* in = row.data() + 2 * sizeof(float);
  for (float& log_probability : out) {
    uint16_t q;
    std::memcpy(&q, in, sizeof(q));
    in += sizeof(q);
    log_probability = scale * static_cast<float>(q) + minimum;
  }
}

LogitsBaseWriter::LogitsBaseWriter(const std::filesystem::path& path, const Dimensions& dimensions,
                                   std::span<const int32_t> tokens, const OutputOptions& options)
    : dimensions_(dimensions),
      file_(
          path,
          [&] {
            const auto bytes = dimensions.file_bytes();
            const uint64_t largest =
                std::max({dimensions.context, dimensions.vocabulary, dimensions.windows});
            if (bytes && largest <= kLargestSize) return *bytes;
            throw Error(ErrorCode::kUsage, {path.string(), {}, {}},
                        "a base file cannot be that large; evaluate fewer windows (--chunks)");
          }(),
          options) {
  std::vector<uint8_t> head(kMagic.begin(), kMagic.end());
  for (const uint64_t size : {dimensions.context, dimensions.vocabulary, dimensions.windows}) {
    const auto stored = static_cast<int32_t>(size);
    const auto* raw = reinterpret_cast<const uint8_t*>(&stored);
    head.insert(head.end(), raw, raw + sizeof(stored));
  }
  const auto* raw = reinterpret_cast<const uint8_t*>(tokens.data());
  head.insert(head.end(), raw, raw + tokens.size_bytes());
  file_.WriteAt(0, head);
}

void LogitsBaseWriter::Write(uint64_t position, std::span<const float> logits) {
  thread_local std::vector<uint8_t> row;
  row.resize(dimensions_.row_bytes());
  EncodeRow(logits, row);
  file_.WriteAt(dimensions_.head_bytes() + position * row.size(), row);
}

}  // namespace quern::formats::logits_base
