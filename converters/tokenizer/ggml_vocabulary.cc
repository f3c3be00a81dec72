#include "converters/tokenizer/ggml_vocabulary.h"

#include <fmt/format.h>

#include <cstdint>
#include <utility>

#include "converters/tokenizer/vocabulary.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

constexpr size_t kUnknown = 0, kBegin = 1, kEnd = 2;
constexpr size_t kFirstByte = 3, kLastByte = 258;

struct TypedToken {
  std::string text;
  TokenType type;
};

TypedToken Classify(size_t id, const std::string& raw) {
  if (id == kUnknown) return {"<unk>", TokenType::kUnknown};
  if (id == kBegin) return {"<s>", TokenType::kControl};
  if (id == kEnd) return {"</s>", TokenType::kControl};
  if (raw.empty()) return {raw, TokenType::kControl};
  if (id >= kFirstByte && id <= kLastByte && raw.size() == 1) {
    return {fmt::format("<0x{:02X}>", static_cast<unsigned char>(raw[0])), TokenType::kByte};
  }
  std::string text;
  for (const char c : raw) {
    if (c == ' ') {
      text += "\u2581";
    } else {
      text += c;
    }
  }
  return {std::move(text), TokenType::kNormal};
}

}  // namespace

void AddGgmlVocabulary(const ModelSource& source, Metadata& metadata,
                       std::vector<std::string>& notes) {
  const Where where{source.path().string(), {}, "vocabulary"};
  const Array* tokens = source.metadata().Get<Array>("ggml.tokens");
  if (!tokens) {
    throw Error(ErrorCode::kMissing, where,
                "the file has none; name a source of one with --vocab-from");
  }
  const auto& texts = std::get<std::vector<std::string>>(tokens->items);
  if (texts.size() <= kEnd) {
    throw Error(ErrorCode::kBadValue, where,
                fmt::format("{} tokens cannot be a whole vocabulary; name a source of one with "
                            "--vocab-from",
                            texts.size()));
  }
  TokenList list;
  for (size_t id = 0; id < texts.size(); ++id) {
    auto [text, type] = Classify(id, texts[id]);
    list.texts.push_back(std::move(text));
    list.types.push_back(static_cast<int32_t>(type));
  }
  if (const Array* scores = source.metadata().Get<Array>("ggml.scores")) {
    list.scores = std::get<std::vector<float>>(scores->items);
  } else {
    list.scores.assign(texts.size(), 0.0f);
    notes.push_back(
        "the file is too old to have token scores, so text is split worse than it was trained; "
        "name a source of the vocabulary with --vocab-from");
  }
  metadata.Set("tokenizer.ggml.model", std::string("llama"));
  metadata.Set("tokenizer.ggml.pre", std::string("default"));
  list.AppendTo(metadata);
  metadata.Set("tokenizer.ggml.unknown_token_id", static_cast<uint32_t>(kUnknown));
  metadata.Set("tokenizer.ggml.bos_token_id", static_cast<uint32_t>(kBegin));
  metadata.Set("tokenizer.ggml.eos_token_id", static_cast<uint32_t>(kEnd));
}

}  // namespace quern::converters
