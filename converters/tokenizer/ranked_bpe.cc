#include "converters/tokenizer/ranked_bpe.h"

#include <fmt/format.h>

#include "converters/tokenizer/pre_tokenizer.h"
#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

constexpr TokenId kNoSymbol = ~TokenId{0};
constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";

// Its tokenizer has none of its own; a file without them is not damaged.
constexpr std::string_view kWithoutMerges = "kimi-k2";

const std::vector<std::string>* FindMerges(const Metadata& metadata, const PreRule& pre) {
  const Value* value = metadata.Find(kMergesKey);
  if (value == nullptr) {
    if (pre.names == kWithoutMerges) return nullptr;
    throw Error(ErrorCode::kMissing, {.subject = std::string(kMergesKey)},
                "is missing; the file is damaged");
  }
  const Array* array = std::get_if<Array>(value);
  const auto* merges =
      array == nullptr ? nullptr : std::get_if<std::vector<std::string>>(&array->items);
  if (merges == nullptr) {
    throw Error(ErrorCode::kBadType, {.subject = std::string(kMergesKey)},
                "is no array of strings; the file is damaged");
  }
  return merges;
}

}  // namespace

RankedBpe::RankedBpe(const GgufVocabulary& vocabulary, const Metadata& metadata)
    : vocabulary_(vocabulary) {
  const auto* merges = FindMerges(metadata, *vocabulary.pre);
  if (merges == nullptr) return;
  merges_.reserve(merges->size());
  for (size_t rank = 0; rank < merges->size(); ++rank) {
    const std::string_view merge = (*merges)[rank];
    const size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos) continue;
    const TokenId left = Intern(merge.substr(0, space));
    const TokenId right = Intern(merge.substr(space + 1));
    const TokenId both =
        Intern(std::string(merge.substr(0, space)).append(merge.substr(space + 1)));
    merges_.try_emplace(uint64_t{left} << 32 | right, Merge{static_cast<uint32_t>(rank), both});
  }
}

TokenId RankedBpe::Lookup(std::string_view text) const {
  if (const auto id = vocabulary_.Find(text)) return *id;
  const auto part = parts_.find(text);
  return part == parts_.end() ? kNoSymbol : part->second;
}

TokenId RankedBpe::Intern(std::string_view text) {
  const TokenId known = Lookup(text);
  if (known != kNoSymbol) return known;
  const auto id = static_cast<TokenId>(vocabulary_.tokens.size() + parts_.size());
  parts_.emplace(std::string(text), id);
  return id;
}

std::vector<RankedBpe::Symbol> RankedBpe::Characters(std::string_view word) const {
  std::vector<Symbol> symbols;
  for (size_t at = 0; at < word.size();) {
    const size_t begin = at;
    NextCodePoint(word, at);
    symbols.push_back({Lookup(word.substr(begin, at - begin)), begin, at});
  }
  return symbols;
}

void RankedBpe::AppendBytes(std::string_view text, std::vector<TokenId>& ids) const {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto id =
        vocabulary_.pre->raw_text
            ? vocabulary_.Find(fmt::format("<0x{:02X}>", static_cast<unsigned char>(text[i])))
            : vocabulary_.Find(text.substr(i, 1));
    if (id) ids.push_back(*id);
  }
}

void RankedBpe::Tokenize(std::string_view raw, std::vector<TokenId>& ids) const {
  const PreRule& pre = *vocabulary_.pre;
  const std::string word = pre.raw_text ? std::string(raw) : BytesToCharacters(raw);
  if (pre.ignore_merges ||
      (pre.whole_newlines && word.find_first_not_of('\n') == std::string::npos)) {
    if (const auto whole = vocabulary_.Find(word)) {
      ids.push_back(*whole);
      return;
    }
  }
  std::vector<Symbol> symbols = Characters(word);
  using Possible = PossibleMerge<uint32_t, Symbol>;
  MergeBest<uint32_t>(
      symbols, [&](const Symbol& left, const Symbol& right) -> std::optional<Possible> {
        const auto merge = merges_.find(uint64_t{left.id} << 32 | right.id);
        if (merge == merges_.end()) return std::nullopt;
        return Possible{merge->second.order, {merge->second.result, left.begin, right.end}};
      });
  for (const Symbol& symbol : symbols) {
    if (symbol.id < vocabulary_.tokens.size()) {
      ids.push_back(symbol.id);
    } else {
      AppendBytes(std::string_view(word).substr(symbol.begin, symbol.end - symbol.begin), ids);
    }
  }
}

}  // namespace quern::converters
