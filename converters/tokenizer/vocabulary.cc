#include "converters/tokenizer/vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "converters/tokenizer/json_fields.h"
#include "converters/tokenizer/pre_tokenizer.h"
#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

using formats::huggingface::AddedToken;
using formats::huggingface::Piece;
using formats::huggingface::PieceType;

// A token list of this many entries is beyond any model; it bounds what a config can make us
// allocate.
constexpr uint64_t kMaxTokens = uint64_t{formats::huggingface::kMaxTokenId} + 1;

constexpr float kPaddingScore = -10000.0f;
constexpr float kAddedScore = -1000.0f;

std::string WithPlainSpaces(std::string_view text) {
  constexpr std::string_view kMark = "\u2581";
  std::string plain;
  while (!text.empty()) {
    const size_t mark = std::min(text.find(kMark), text.size());
    plain += text.substr(0, mark);
    text.remove_prefix(mark);
    if (text.empty()) break;
    plain += ' ';
    text.remove_prefix(kMark.size());
  }
  return plain;
}

bool Between(std::string_view text, std::string_view begin, std::string_view end) {
  return text.starts_with(begin) && text.ends_with(end);
}

TokenType TypeOf(PieceType type) {
  switch (type) {
    case PieceType::kUnknown:
      return TokenType::kUnknown;
    case PieceType::kControl:
      return TokenType::kControl;
    case PieceType::kUnused:
      return TokenType::kUnused;
    case PieceType::kByte:
      return TokenType::kByte;
    case PieceType::kNormal:
    case PieceType::kUserDefined:  // as llama.cpp's converter has it
      break;
  }
  return TokenType::kNormal;
}

// What transformers makes of an added token by encoding and decoding it.
std::string Decoded(const AddedToken& token, const Json& decoder) {
  const Json one = Json::array({decoder});
  const bool sequence = StringField(decoder, "type") == "Sequence";
  for (const Json& step : sequence ? ArrayField(decoder, "decoders") : one) {
    if (StringField(step, "type") == "ByteLevel")
      return ReplaceInvalidUtf8(CharactersToBytes(token.content));
  }
  return token.content;
}

void PutAdded(TokenList& list, uint64_t id, std::string content, bool special) {
  if (special || LooksSpecial(content)) {
    list.Put(id, std::move(content), TokenType::kControl);
  } else {
    list.Put(id, WithPlainSpaces(content), TokenType::kUserDefined);
  }
}

void CheckSize(uint64_t size) {
  if (size <= kMaxTokens) return;
  throw Error(ErrorCode::kLimitExceeded, {.subject = "vocab_size"},
              fmt::format("{} tokens are more than the limit of {}; correct config.json", size,
                          kMaxTokens));
}

// Places the tokens of the two JSON files over the pieces.
class Overlay {
 public:
  Overlay(TokenList& list, std::vector<std::string>& notes) : list_(list), notes_(notes) {}

  void AddedTokensFile(const Json& added) {
    for (const auto& [content, value] : added.items()) {
      const auto id = IntegerId(value);
      if (!id) Fail("added_tokens.json", content);
      if (!InRange(*id, content)) continue;
      list_.Put(static_cast<uint64_t>(*id), content, TokenType::kUserDefined);
      list_.scores[static_cast<size_t>(*id)] = kAddedScore;
    }
  }

  void Decoder(const Json& decoder) {
    if (!decoder.is_object()) return;
    for (const auto& [key, token] : decoder.items()) {
      int64_t id = -1;
      const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
      if (error != std::errc() || end != key.data() + key.size()) Fail("added_tokens_decoder", key);
      const Json& content = Member(token, "content");
      if (!content.is_string()) Fail("added_tokens_decoder", key);
      if (!InRange(id, content.get_ref<const std::string&>())) continue;
      PutAdded(list_, static_cast<uint64_t>(id), content.get<std::string>(),
               BoolField(token, "special", false));
      list_.scores[static_cast<size_t>(id)] = kAddedScore;
    }
  }

 private:
  [[noreturn]] static void Fail(std::string_view where, std::string_view entry) {
    throw Error(ErrorCode::kBadValue, {.subject = std::string(where)},
                fmt::format("the entry \"{}\" is no token with an id; the file is damaged",
                            Printable(entry)));
  }

  bool InRange(int64_t id, std::string_view content) {
    if (id < 0) Fail("added tokens", content);
    if (static_cast<uint64_t>(id) < list_.texts.size()) return true;
    notes_.push_back(
        fmt::format("token \"{}\" is left out: its id {} is beyond the {} rows of the "
                    "embedding",
                    Printable(content), id, list_.texts.size()));
    return false;
  }

  TokenList& list_;
  std::vector<std::string>& notes_;
};

bool IsByteToken(std::string_view text) {
  const auto hex = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  };
  return text.size() == 6 && Between(text, "<0x", ">") && hex(text[3]) && hex(text[4]);
}

}  // namespace

TokenList TokenList::Padding(uint64_t size) {
  CheckSize(size);
  TokenList list;
  list.types.assign(size, static_cast<int32_t>(TokenType::kUnused));
  list.texts.reserve(size);
  for (uint64_t id = 0; id < size; ++id) list.texts.push_back(fmt::format("[PAD{}]", id));
  return list;
}

void TokenList::Put(uint64_t id, std::string text, TokenType type) {
  texts[id] = std::move(text);
  types[id] = static_cast<int32_t>(type);
}

void TokenList::AppendTo(Metadata& metadata) const {
  metadata.Set("tokenizer.ggml.tokens", Array{texts});
  if (!scores.empty()) metadata.Set("tokenizer.ggml.scores", Array{scores});
  metadata.Set("tokenizer.ggml.token_type", Array{types});
}

bool LooksSpecial(std::string_view token) {
  // deepseek-coder; gemma and gemma 2
  for (const std::string_view name : {"<pad>", "<mask>", "<2mass>", "[@BOS@]"}) {
    if (token == name) return true;
  }
  return Between(token, "<|", "|>") || Between(token, "<｜", "｜>") ||
         Between(token, "<unused", ">");
}

TokenList PieceTokens(const std::vector<Piece>& pieces, uint64_t size,
                      std::vector<std::string>& notes) {
  if (size == 0) size = pieces.size();
  TokenList list = TokenList::Padding(size);
  list.scores.assign(size, kPaddingScore);
  const size_t known = std::min<size_t>(size, pieces.size());
  for (size_t id = 0; id < known; ++id) {
    list.Put(id, pieces[id].text, TypeOf(pieces[id].type));
    list.scores[id] = pieces[id].score;
  }
  if (known < pieces.size()) {
    notes.push_back(
        fmt::format("{} tokens of the tokenizer are beyond the {} rows of the "
                    "embedding and left out",
                    pieces.size() - known, size));
  }
  return list;
}

TokenList SentencePieceTokens(const TokenizerFiles& files, uint64_t size,
                              std::vector<std::string>& notes) {
  const auto model = formats::huggingface::ReadSentencePieceModel(files.Path("tokenizer.model"));
  TokenList list = PieceTokens(model.pieces, size, notes);
  Overlay overlay(list, notes);
  overlay.AddedTokensFile(files.added_tokens);
  overlay.Decoder(Member(files.tokenizer_config, "added_tokens_decoder"));
  return list;
}

TokenList ByteLevelTokens(const TransformersTokenizer& tokenizer, uint64_t size) {
  uint64_t end = 0;
  for (const auto& token : tokenizer.json.model.vocab) end = std::max<uint64_t>(end, token.id + 1);
  for (const auto& token : tokenizer.json.added_tokens) end = std::max<uint64_t>(end, token.id + 1);
  if (size == 0) size = end;
  if (end > size) {
    throw Error(ErrorCode::kBadValue, {.subject = "vocab_size"},
                fmt::format("the tokenizer has token ids up to {}, the model's vocabulary has only "
                            "{} entries; tokenizer and model do not belong together",
                            end - 1, size));
  }
  TokenList list = TokenList::Padding(size);
  for (const auto& token : tokenizer.json.model.vocab)
    list.Put(token.id, token.text, TokenType::kNormal);
  for (const AddedToken& token : tokenizer.json.added_tokens) {
    PutAdded(list, token.id,
             token.normalized ? token.content : Decoded(token, tokenizer.json.decoder),
             token.special);
  }
  return list;
}

TokenList ByteFallbackTokens(const TransformersTokenizer& tokenizer, uint64_t size) {
  const auto& json = tokenizer.json;
  const uint64_t base = json.model.vocab.size();
  uint64_t end = base;
  for (const AddedToken& token : json.added_tokens) {
    if (token.id >= base) ++end;
  }
  TokenList list = TokenList::Padding(std::max(size, end));
  list.scores.assign(list.texts.size(), kAddedScore);
  for (uint64_t id = 0; id < base; ++id) {
    const auto& token = json.model.vocab[id];
    if (token.id != id) {
      throw Error(ErrorCode::kBadValue, {.subject = "model.vocab"},
                  fmt::format("there is no token with id {}; the tokenizer is damaged", id));
    }
    const bool special = tokenizer.special_tokens.contains(token.text);
    list.Put(id, token.text,
             IsByteToken(token.text) ? TokenType::kByte
             : special               ? TokenType::kControl
                                     : TokenType::kNormal);
  }
  uint64_t next = base;
  std::vector<AddedToken> added = json.added_tokens;
  std::sort(added.begin(), added.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  for (const AddedToken& token : added) {
    if (token.id < base) continue;
    const bool special = tokenizer.special_tokens.contains(token.content);
    list.Put(next++, token.content, special ? TokenType::kControl : TokenType::kUserDefined);
  }
  return list;
}

}  // namespace quern::converters
