#include "converters/tokenizer/bpe.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::converters {

Bpe::Bpe(const formats::huggingface::TokenizerModel& model)
    : continuing_subword_prefix_(model.continuing_subword_prefix.value_or("")),
      end_of_word_suffix_(model.end_of_word_suffix.value_or("")),
      unk_(model.unk_id),
      byte_fallback_(model.byte_fallback),
      fuse_unk_(model.fuse_unk),
      ignore_merges_(model.ignore_merges) {
  vocabulary_.reserve(model.vocab.size());
  for (const auto& token : model.vocab) vocabulary_.emplace(token.text, token.id);
  merges_.reserve(model.merges.size());
  for (size_t rank = 0; rank < model.merges.size(); ++rank)
    AddMerge(model.merges[rank], static_cast<uint32_t>(rank));
}

std::optional<TokenId> Bpe::IdOf(const std::string& token) const {
  const auto found = vocabulary_.find(token);
  if (found == vocabulary_.end()) return std::nullopt;
  return found->second;
}

void Bpe::AddMerge(const std::pair<std::string, std::string>& merge, uint32_t rank) {
  const auto id = [&](const std::string& token) {
    if (const auto found = IdOf(token)) return *found;
    throw Error(ErrorCode::kBadValue, {.subject = fmt::format("merges[{}]", rank)},
                fmt::format("names or makes the token \"{}\", which the vocabulary lacks; the "
                            "tokenizer file is damaged",
                            Printable(token)));
  };
  const size_t prefix = continuing_subword_prefix_.size();
  const std::string_view tail =
      std::string_view(merge.second).substr(std::min(prefix, merge.second.size()));
  const TokenId left = id(merge.first);
  const TokenId right = id(merge.second);
  merges_[uint64_t{left} << 32 | right] = {rank, id(merge.first + std::string(tail))};
}

std::optional<Bpe::Merge> Bpe::FindMerge(TokenId left, TokenId right) const {
  const auto found = merges_.find(uint64_t{left} << 32 | right);
  if (found == merges_.end()) return std::nullopt;
  return found->second;
}

bool Bpe::AppendBytes(std::string_view character, std::vector<TokenId>& ids) const {
  std::vector<TokenId> bytes;
  for (const char byte : character) {
    const auto id = IdOf(fmt::format("<0x{:02X}>", static_cast<unsigned char>(byte)));
    if (!id) return false;
    bytes.push_back(*id);
  }
  ids.insert(ids.end(), bytes.begin(), bytes.end());
  return true;
}

std::vector<TokenId> Bpe::Characters(std::string_view word) const {
  std::vector<TokenId> ids;
  bool pending = false;  // an unknown token is due before the next known character
  const auto flush = [&] {
    if (pending) ids.push_back(*unk_);
    pending = false;
  };
  for (size_t at = 0; at < word.size();) {
    const size_t begin = at;
    NextCodePoint(word, at);
    std::string character(word.substr(begin, at - begin));
    if (begin > 0) character.insert(0, continuing_subword_prefix_);
    if (at == word.size()) character += end_of_word_suffix_;
    if (const auto id = IdOf(character)) {
      flush();
      ids.push_back(*id);
    } else if (byte_fallback_ && AppendBytes(character, ids)) {
      // The original does not place a pending unknown token first here either.
    } else if (unk_) {
      if (!fuse_unk_) flush();
      pending = true;
    }
  }
  flush();
  return ids;
}

void Bpe::Tokenize(std::string_view word, std::vector<TokenId>& ids) const {
  if (word.empty()) return;
  if (ignore_merges_) {
    if (const auto whole = IdOf(std::string(word))) {
      ids.push_back(*whole);
      return;
    }
  }
  std::vector<TokenId> symbols = Characters(word);
  MergeBest<uint32_t>(symbols, [&](TokenId left, TokenId right) { return FindMerge(left, right); });
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

}  // namespace quern::converters
