#include "converters/tokenizer/gguf_special_tokens.h"

#include <algorithm>
#include <utility>

namespace quern::converters {
namespace {

// isspace of C, whatever the locale.
bool IsSpace(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

constexpr size_t kBeginBytes = 2;

}  // namespace

GgufSpecialTokens::GgufSpecialTokens(const GgufVocabulary& vocabulary) : vocabulary_(vocabulary) {
  const auto& tokens = vocabulary.tokens;
  for (TokenId id = 0; id < tokens.size(); ++id) {
    if (tokens[id].control || tokens[id].user_defined || tokens[id].unknown) order_.push_back(id);
  }
  std::stable_sort(order_.begin(), order_.end(), [&](TokenId a, TokenId b) {
    return tokens[a].text.size() > tokens[b].text.size();
  });
  for (size_t i = 0; i < order_.size(); ++i) {
    const std::string_view text = tokens[order_[i]].text;
    first_bytes_.set(static_cast<unsigned char>(text[0]));
    by_begin_[text.substr(0, kBeginBytes)].push_back(i);
  }
}

std::vector<size_t> GgufSpecialTokens::Present(std::string_view text) const {
  std::vector<bool> seen(order_.size());
  for (size_t at = 0; at < text.size(); ++at) {
    if (!first_bytes_.test(static_cast<unsigned char>(text[at]))) continue;
    for (const size_t bytes : {size_t{1}, kBeginBytes}) {
      const auto found = by_begin_.find(text.substr(at, bytes));
      if (found == by_begin_.end()) continue;
      for (const size_t i : found->second) {
        if (!seen[i] && text.substr(at).starts_with(vocabulary_.tokens[order_[i]].text))
          seen[i] = true;
      }
    }
  }
  std::vector<size_t> present;
  for (size_t i = 0; i < seen.size(); ++i) {
    if (seen[i]) present.push_back(i);
  }
  return present;
}

void GgufSpecialTokens::Cut(TokenId id, std::vector<TextPart>& parts) const {
  const GgufToken& token = vocabulary_.tokens[id];
  std::vector<TextPart> cut;
  const auto add = [&](std::string_view text) {
    if (!text.empty()) cut.push_back({text, std::nullopt});
  };
  for (const TextPart& part : parts) {
    if (part.id) {
      cut.push_back(part);
      continue;
    }
    std::string_view rest = part.text;
    for (size_t at = rest.find(token.text); at != std::string_view::npos;
         at = rest.find(token.text)) {
      std::string_view before = rest.substr(0, at);
      while (token.strip_left && !before.empty() && IsSpace(before.back())) before.remove_suffix(1);
      add(before);
      cut.push_back({rest.substr(at, token.text.size()), id});
      rest.remove_prefix(at + token.text.size());
      while (token.strip_right && !rest.empty() && IsSpace(rest.front())) rest.remove_prefix(1);
    }
    add(rest);
  }
  parts = std::move(cut);
}

std::vector<TextPart> GgufSpecialTokens::Find(std::string_view text, bool parse_special) const {
  if (text.empty()) return {};
  std::vector<TextPart> parts = {{text, std::nullopt}};
  for (const size_t i : Present(text)) {
    const GgufToken& token = vocabulary_.tokens[order_[i]];
    if (parse_special || (!token.control && !token.unknown)) Cut(order_[i], parts);
  }
  return parts;
}

}  // namespace quern::converters
