#include "converters/tokenizer/stored_vocabulary.h"

#include <fmt/format.h>

#include <array>
#include <unordered_set>

#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

template <typename T>
const std::vector<T>* ItemsOf(const Metadata& metadata, std::string_view key) {
  const Value* value = metadata.Find(key);
  if (value == nullptr) return nullptr;
  const auto* array = std::get_if<Array>(value);
  const auto* items = array != nullptr ? std::get_if<std::vector<T>>(&array->items) : nullptr;
  if (items == nullptr) {
    throw Error(ErrorCode::kBadType, {{}, {}, std::string(key)},
                "is no list of the type that it must have; the file is damaged");
  }
  return items;
}

void RequireSize(size_t size, size_t expected, const char* key) {
  if (size == expected) return;
  throw Error(ErrorCode::kBadValue, {{}, {}, key},
              fmt::format("has {} entries for {} tokens; the file is damaged", size, expected));
}

std::vector<TokenType> ReadTypes(const Metadata& metadata, size_t size) {
  constexpr const char* kKey = "tokenizer.ggml.token_type";
  std::vector<TokenType> types(size, TokenType::kNormal);
  const auto* stored = ItemsOf<int32_t>(metadata, kKey);
  if (stored == nullptr) return types;
  RequireSize(stored->size(), size, kKey);
  for (size_t id = 0; id < size; ++id) {
    const int32_t type = (*stored)[id];
    if (type < static_cast<int32_t>(TokenType::kNormal) ||
        type > static_cast<int32_t>(TokenType::kByte)) {
      throw Error(ErrorCode::kBadValue, {{}, {}, kKey},
                  fmt::format("token {} has type {}, which does not exist", id, type));
    }
    types[id] = static_cast<TokenType>(type);
  }
  return types;
}

void RequireDistinctTexts(const StoredVocabulary& vocabulary) {
  constexpr const char* kKey = "tokenizer.ggml.tokens";
  std::unordered_set<std::string_view> seen;
  seen.reserve(vocabulary.end);
  for (size_t id = 0; id < vocabulary.end; ++id) {
    if (vocabulary.IsPadding(id)) continue;
    const std::string& text = vocabulary.texts[id];
    if (!IsValidUtf8(text)) {
      throw Error(ErrorCode::kBadText, {{}, {}, kKey},
                  fmt::format("token {} is no valid UTF-8; the file is damaged", id));
    }
    if (!seen.insert(text).second) {
      throw Error(ErrorCode::kDuplicate, {{}, {}, kKey},
                  fmt::format("\"{}\" is there twice, the second time with id {}; Hugging Face's "
                              "files cannot say that",
                              Printable(text), id));
    }
  }
}

}  // namespace

bool StoredVocabulary::IsPadding(size_t id) const {
  return types[id] == TokenType::kUnused && texts[id] == fmt::format("[PAD{}]", id);
}

StoredVocabulary ReadStoredVocabulary(const Metadata& metadata) {
  StoredVocabulary vocabulary;
  const auto* texts = ItemsOf<std::string>(metadata, "tokenizer.ggml.tokens");
  if (texts == nullptr) {
    throw Error(ErrorCode::kMissing, {{}, {}, "tokenizer.ggml.tokens"},
                "the GGUF has a tokenizer without tokens; the file is damaged");
  }
  vocabulary.texts = *texts;
  vocabulary.types = ReadTypes(metadata, texts->size());
  if (const auto* scores = ItemsOf<float>(metadata, "tokenizer.ggml.scores")) {
    RequireSize(scores->size(), texts->size(), "tokenizer.ggml.scores");
    vocabulary.scores = *scores;
  }
  if (const auto* merges = ItemsOf<std::string>(metadata, "tokenizer.ggml.merges")) {
    vocabulary.merges = *merges;
  }
  vocabulary.end = vocabulary.texts.size();
  while (vocabulary.end > 0 && vocabulary.IsPadding(vocabulary.end - 1)) --vocabulary.end;
  RequireDistinctTexts(vocabulary);
  return vocabulary;
}

std::vector<SpecialToken> StoredSpecialTokens(const Metadata& metadata) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kTypes = {{
      {"bos", "tokenizer.ggml.bos_token_id"},
      {"eos", "tokenizer.ggml.eos_token_id"},
      {"unk", "tokenizer.ggml.unknown_token_id"},
      {"sep", "tokenizer.ggml.seperator_token_id"},
      {"pad", "tokenizer.ggml.padding_token_id"},
      {"mask", "tokenizer.ggml.mask_token_id"},
  }};
  std::vector<SpecialToken> tokens;
  for (const auto& [type, key] : kTypes) {
    if (const auto* id = metadata.Get<uint32_t>(key)) tokens.push_back({type, *id});
  }
  return tokens;
}

}  // namespace quern::converters
