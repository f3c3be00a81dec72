// Base files of llama-perplexity --kl-divergence-base: a text's tokens and a model's
// log-probabilities after each scored one, rounded to 16 bits.
//
//  offset  size              content (little-endian)
//       0  8                 "_logits_"
//       8  i32               context: tokens of a window
//      12  i32               vocabulary
//      16  i32               windows
//      20  windows x context tokens, i32, as the tokenizer gave them (no beginning put over the
//                            first of each window)
//          windows x scored  rows, where scored = context - 1 - context / 2: the positions
//                            context / 2 .. context - 2 of each window, in order
// A row: f32 scale, f32 min, vocabulary x u16 q, and a u16 of zero where the vocabulary is odd;
// ln p = scale * q + min. What is less likely than e^-16 times the top token is stored as that.
// Source: https://github.com/ggml-org/llama.cpp, tools/perplexity/perplexity.cpp.
// Non-goals: where the numbers come from, and what follows from them (verify/logits_base.h).
#ifndef QUERN_FORMATS_LOGITS_BASE_LOGITS_BASE_H_
#define QUERN_FORMATS_LOGITS_BASE_LOGITS_BASE_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <vector>

#include "formats/core/file.h"
#include "formats/core/output_file.h"

namespace quern::formats::logits_base {

inline constexpr uint64_t kMaxContext = uint64_t{1} << 20;

struct Dimensions {
  uint64_t context = 0, vocabulary = 0, windows = 0;

  uint64_t scored() const { return context - 1 - context / 2; }  // positions of a window
  uint64_t positions() const { return windows * scored(); }
  uint64_t row_bytes() const { return 2 * sizeof(float) + (vocabulary + 1) / 2 * 4; }
  uint64_t head_bytes() const;
  // Of the whole file; absent on overflow.
  std::optional<uint64_t> file_bytes() const;
};

// Writes one row: llama-perplexity's bytes for these logits (all finite), in its order of float
// operations. `row` has Dimensions::row_bytes().
void EncodeRow(std::span<const float> logits, std::span<uint8_t> row);

class LogitsBaseReader {
 public:
  // Reads the tokens; rows are read when they are asked for. Throws kBadMagic, kBadValue (sizes
  // below 1, windows with nothing to score, token ids outside the vocabulary), kLimitExceeded (a
  // context above kMaxContext), kTruncated, kUnusedBytes, and what File::Open throws.
  explicit LogitsBaseReader(const std::filesystem::path& path);

  const std::string& path() const { return file_.path(); }
  const Dimensions& dimensions() const { return dimensions_; }
  const std::vector<int32_t>& tokens() const { return tokens_; }  // windows * context

  // ln p of all tokens at a scored position (counted over all windows); `out` has the vocabulary's
  // size. Thread-safe. Throws kBadValue where the scale and the minimum are no log-probabilities'.
  void Read(uint64_t position, std::span<float> out) const;

 private:
  File file_;
  Dimensions dimensions_;
  std::vector<int32_t> tokens_;
};

class LogitsBaseWriter {
 public:
  // `tokens` are those of all windows. The file appears under its name with Commit(). Throws kUsage
  // where sizes do not fit the format, and as OutputFile.
  LogitsBaseWriter(const std::filesystem::path& path, const Dimensions& dimensions,
                   std::span<const int32_t> tokens, const OutputOptions& options);

  // The row of a scored position, each once. Thread-safe.
  void Write(uint64_t position, std::span<const float> logits);
  void Commit() { file_.Commit(); }

 private:
  Dimensions dimensions_;
  OutputFile file_;
};

}  // namespace quern::formats::logits_base

#endif  // QUERN_FORMATS_LOGITS_BASE_LOGITS_BASE_H_
