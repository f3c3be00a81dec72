#include "converters/tokenizer/native_vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <string_view>
#include <utility>

#include "converters/tokenizer/pre_tokenizer.h"
#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/meta/tiktoken.h"

namespace quern::converters {
namespace {

constexpr uint64_t kSpecialTokens = 256;
constexpr uint32_t kBegin = 0, kEnd = 1, kPad = 4;  // after the last token of the file

// Names by place; the places between are <|reserved_special_token_N|>, N counting from 0.
// (meta-llama/llama-models: models/llama3/api/tokenizer.py; 3.0: meta-llama/llama3)
struct Special {
  uint64_t place;
  std::string_view name;
};
constexpr std::array<Special, 5> kLlama30 = {{{0, "<|begin_of_text|>"},
                                              {1, "<|end_of_text|>"},
                                              {6, "<|start_header_id|>"},
                                              {7, "<|end_header_id|>"},
                                              {9, "<|eot_id|>"}}};
constexpr std::array<Special, 8> kLlama31 = {{{0, "<|begin_of_text|>"},
                                              {1, "<|end_of_text|>"},
                                              {kPad, "<|finetune_right_pad_id|>"},
                                              {6, "<|start_header_id|>"},
                                              {7, "<|end_header_id|>"},
                                              {8, "<|eom_id|>"},
                                              {9, "<|eot_id|>"},
                                              {10, "<|python_tag|>"}}};

void PutSpecialTokens(TokenList& list, uint64_t first, std::span<const Special> names) {
  uint64_t reserved = 0;
  for (uint64_t place = 0; place < kSpecialTokens; ++place) {
    const auto at = std::find_if(names.begin(), names.end(),
                                 [&](const Special& special) { return special.place == place; });
    list.Put(first + place,
             at != names.end() ? std::string(at->name)
                               : fmt::format("<|reserved_special_token_{}|>", reserved++),
             TokenType::kControl);
  }
}

}  // namespace

bool IsTiktokenFile(const std::filesystem::path& path) {
  const File file = File::Open(path);
  constexpr uint64_t kHeadBytes = 1024;  // holds the longest first line
  std::string head(std::min(file.size(), kHeadBytes), '\0');
  file.ReadAt(0, {reinterpret_cast<uint8_t*>(head.data()), head.size()});
  return formats::meta::LooksLikeTiktoken(head);
}

TiktokenVocabulary ReadLlama3Vocabulary(const std::filesystem::path& path, uint64_t size,
                                        bool names_of_31) {
  const std::vector<std::string> tokens = formats::meta::ParseTiktoken(
      ReadTextFile(path, formats::meta::kMaxTiktokenBytes), path.string());
  const uint64_t base = tokens.size();
  if (size == 0) size = base + kSpecialTokens;
  if (size != base && size != base + kSpecialTokens) {
    throw Error(ErrorCode::kMismatch, {path.string(), {}, {}},
                fmt::format("{} tokens and Llama 3's {} special tokens do not fill the embedding's "
                            "{} rows; model and tokenizer do not belong together",
                            base, kSpecialTokens, size));
  }
  TiktokenVocabulary vocabulary{.tokens = TokenList::Padding(size), .merges = {}};
  std::vector<std::string> texts;
  texts.reserve(base);
  for (const std::string& token : tokens) texts.push_back(BytesToCharacters(token));
  for (const auto& merge : formats::meta::TiktokenMerges(tokens)) {
    vocabulary.merges.push_back(texts[merge.left] + " " + texts[merge.right]);
  }
  for (uint64_t id = 0; id < base; ++id) {
    vocabulary.tokens.Put(id, std::move(texts[id]), TokenType::kNormal);
  }
  if (size == base) return vocabulary;
  const auto first = static_cast<uint32_t>(base);
  if (names_of_31) {
    PutSpecialTokens(vocabulary.tokens, base, kLlama31);
    vocabulary.pad = first + kPad;
  } else {
    PutSpecialTokens(vocabulary.tokens, base, kLlama30);
  }
  vocabulary.begin = first + kBegin;
  vocabulary.end = first + kEnd;
  return vocabulary;
}

}  // namespace quern::converters
