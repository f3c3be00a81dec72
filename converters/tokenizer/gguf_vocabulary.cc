#include "converters/tokenizer/gguf_vocabulary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "converters/tokenizer/vocabulary.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

constexpr std::string_view kPrefix = "tokenizer.ggml.";

std::string Key(std::string_view name) { return std::string(kPrefix) + std::string(name); }

[[noreturn]] void Fail(ErrorCode code, std::string_view key, std::string_view message) {
  throw Error(code, {.subject = Key(key)}, message);
}

template <typename T>
const std::vector<T>* FindArray(const Metadata& metadata, std::string_view key) {
  const Value* value = metadata.Find(Key(key));
  if (value == nullptr) return nullptr;
  const Array* array = std::get_if<Array>(value);
  const auto* items = array == nullptr ? nullptr : std::get_if<std::vector<T>>(&array->items);
  if (items == nullptr) Fail(ErrorCode::kBadType, key, "has the wrong type; the file is damaged");
  return items;
}

std::optional<bool> FindFlag(const Metadata& metadata, std::string_view key) {
  const Value* value = metadata.Find(Key(key));
  if (value == nullptr) return std::nullopt;
  const bool* flag = std::get_if<bool>(value);
  if (flag == nullptr) Fail(ErrorCode::kBadType, key, "is no bool; the file is damaged");
  return *flag;
}

void CheckCount(std::string_view key, size_t count, size_t tokens) {
  if (count >= tokens) return;
  Fail(ErrorCode::kBadValue, key,
       fmt::format("has {} entries for {} tokens; the file is damaged", count, tokens));
}

void SetType(GgufToken& token, int32_t type) {
  token.normal = token.unknown = token.control = token.user_defined = token.byte = false;
  switch (static_cast<TokenType>(type)) {
    case TokenType::kNormal:
      token.normal = true;
      break;
    case TokenType::kUnknown:
      token.unknown = true;
      break;
    case TokenType::kControl:
      token.control = true;
      break;
    case TokenType::kUserDefined:
      token.user_defined = true;
      break;
    case TokenType::kByte:
      token.byte = true;
      break;
    case TokenType::kUnused:
      break;
  }
}

// Tokens that llama.cpp takes for control tokens by their text: one of each row, unless metadata
// names it (`key`, or `old_key`).
struct RoleByText {
  std::string_view key;
  std::string_view old_key;
  bool ends_generation;
  std::initializer_list<std::string_view> texts;
};
const RoleByText kRoles[] = {
    {"fim_pre_token_id",
     "prefix_token_id",
     false,
     {"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>",
      "<|code_prefix|>", "<|prefix|>"}},
    {"fim_suf_token_id",
     "suffix_token_id",
     false,
     {"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
      "<|code_suffix|>", "<|suffix|>"}},
    {"fim_mid_token_id",
     "middle_token_id",
     false,
     {"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>", "▁<MID>",
      "<|code_middle|>", "<|middle|>"}},
    {"fim_pad_token_id", "", true, {"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"}},
    {"fim_rep_token_id",
     "",
     true,
     {"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"}},
    {"fim_sep_token_id", "", true, {"<|file_sep|>"}},
};

// Tokens that end generation, and are control tokens, by their text.
constexpr std::string_view kEndTexts[] = {"<|eot_id|>",
                                          "<|im_end|>",
                                          "<|end|>",
                                          "<|return|>",
                                          "<|call|>",
                                          "<|flush|>",
                                          "<|calls|>",
                                          "</s>",
                                          "<end_of_turn>",
                                          "<|endoftext|>",
                                          "<|eom_id|>",
                                          "<EOT>",
                                          "_<EOT>",
                                          "[EOT]",
                                          "[EOS]",
                                          "<eos>",
                                          "<turn|>",
                                          "[e~[",
                                          "<|end_of_text|>",
                                          "<end_of_utterance>",
                                          "<|tool_response>",
                                          "<｜end▁of▁sentence｜>"};

// Written out whenever they are read (gpt-oss).
constexpr std::string_view kAlwaysUserDefined[] = {"<|channel|>", "<|message|>", "<|start|>",
                                                   "<|constrain|>"};

std::string LowerAscii(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return lower;
}

bool ContainsAny(std::string_view text, std::initializer_list<std::string_view> parts) {
  return std::any_of(parts.begin(), parts.end(), [&](std::string_view part) {
    return text.find(part) != std::string_view::npos;
  });
}

}  // namespace

GgufVocabulary::GgufVocabulary(const Metadata& metadata) {
  const auto model = metadata.GetString(Key("model"));
  if (!model) Fail(ErrorCode::kMissing, "model", "is missing; the file has no tokenizer");
  if (*model == "llama") {
    kind = Kind::kScored;
    bos = 1, eos = 2, unk = 0;
    add_bos = add_space_prefix = true;
  } else if (*model == "gpt2" || *model == "gemma4") {
    kind = Kind::kRanked;
    const std::string_view name =
        *model == "gemma4" ? "gemma4" : metadata.GetString(Key("pre")).value_or("default");
    pre = FindPreRule(name.empty() ? "default" : name);
    if (pre == nullptr) {
      Fail(ErrorCode::kUnsupported, "pre",
           fmt::format("the pre-tokenizer \"{}\" is not known; text cannot be tokenized for this "
                       "model",
                       Printable(name)));
    }
    if (*model == "gpt2") bos = eos = 11;
    if (pre->no_default_bos) bos.reset();
    add_bos = pre->add_bos;
  } else {
    Fail(ErrorCode::kUnsupported, "model",
         fmt::format("tokenizers of the kind \"{}\" are not supported, only llama (SentencePiece "
                     "BPE), gpt2 and gemma4; text cannot be tokenized for this model",
                     Printable(*model)));
  }
  ReadTokens(metadata);
  ReadIds(metadata);
  ReadFlags(metadata);
  MarkControlTokens(metadata);
  MarkEndOfGeneration(metadata);
  MarkStripping(metadata);
}

std::optional<TokenId> GgufVocabulary::Find(std::string_view text) const {
  const auto found = ids_.find(text);
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

void GgufVocabulary::ReadTokens(const Metadata& metadata) {
  const auto* texts = FindArray<std::string>(metadata, "tokens");
  if (texts == nullptr) Fail(ErrorCode::kMissing, "tokens", "is missing; the file is damaged");
  if (texts->empty() || texts->size() > formats::huggingface::kMaxTokenId)
    Fail(ErrorCode::kBadValue, "tokens", "has no tokens, or too many; the file is damaged");
  const auto* types = FindArray<int32_t>(metadata, "token_type");
  const auto* scores = FindArray<float>(metadata, "scores");
  if (types != nullptr) CheckCount("token_type", types->size(), texts->size());
  if (scores != nullptr) CheckCount("scores", scores->size(), texts->size());
  tokens.resize(texts->size());
  ids_.reserve(texts->size());
  for (size_t id = 0; id < tokens.size(); ++id) {
    GgufToken& token = tokens[id];
    token.text = (*texts)[id].empty() ? fmt::format("[EMPTY_{}]", id) : (*texts)[id];
    token.normal = true;
    if (types != nullptr) SetType(token, (*types)[id]);
    if (scores != nullptr) token.score = (*scores)[id];
    if (std::isnan(token.score))
      Fail(ErrorCode::kNonFinite, "scores", "has a NaN; the file is damaged");
    ids_.insert_or_assign(token.text, static_cast<TokenId>(id));
  }
}

void GgufVocabulary::ReadIds(const Metadata& metadata) {
  const std::pair<std::string_view, std::optional<TokenId>*> ids[] = {
      {"bos_token_id", &bos}, {"eos_token_id", &eos}, {"unknown_token_id", &unk}};
  for (const auto& [key, id] : ids) {
    if (*id && **id >= tokens.size()) id->reset();
    const auto given = metadata.GetInteger(Key(key));
    if (given && *given >= 0 && static_cast<uint64_t>(*given) < tokens.size())
      *id = static_cast<TokenId>(*given);
  }
}

void GgufVocabulary::ReadFlags(const Metadata& metadata) {
  add_bos = FindFlag(metadata, "add_bos_token").value_or(add_bos);
  add_eos = FindFlag(metadata, "add_eos_token").value_or(add_eos);
  add_space_prefix = FindFlag(metadata, "add_space_prefix").value_or(add_space_prefix);
  if (pre != nullptr && pre->always_add_bos) add_bos = true;
  if (add_bos && !bos)
    Fail(ErrorCode::kBadValue, "add_bos_token", "is true without a bos_token_id; set the key");
  if (add_eos && !eos)
    Fail(ErrorCode::kBadValue, "add_eos_token", "is true without an eos_token_id; set the key");
}

void GgufVocabulary::MarkControlTokens(const Metadata& metadata) {
  for (const RoleByText& role : kRoles) {
    auto given = metadata.GetInteger(Key(role.key));
    if (!given && !role.old_key.empty()) given = metadata.GetInteger(Key(role.old_key));
    std::optional<TokenId> id;
    if (given && *given >= 0 && static_cast<uint64_t>(*given) < tokens.size()) {
      id = static_cast<TokenId>(*given);
    } else {
      // llama.cpp takes any one of several.
      for (const std::string_view text : role.texts) {
        const auto found = Find(text);
        if (found && (!id || *found < *id)) id = found;
      }
      if (id) tokens[*id].control = true;
    }
    if (id && role.ends_generation) end_of_generation.insert(*id);
  }
}

void GgufVocabulary::MarkEndOfGeneration(const Metadata& metadata) {
  for (const std::string_view text : kEndTexts) {
    if (const auto id = Find(text)) {
      tokens[*id].control = true;
      end_of_generation.insert(*id);
    }
  }
  for (const std::string_view text : kAlwaysUserDefined) {
    if (const auto id = Find(text))
      SetType(tokens[*id], static_cast<int32_t>(TokenType::kUserDefined));
  }
  if (eos) end_of_generation.insert(*eos);
  for (const std::string_view key : {"eot_token_id", "eom_token_id"}) {
    const auto id = metadata.GetInteger(Key(key));
    if (id && *id >= 0 && static_cast<uint64_t>(*id) < tokens.size())
      end_of_generation.insert(static_cast<TokenId>(*id));
  }
  const auto ends = [&](std::string_view text) {
    const auto id = Find(text);
    return id && end_of_generation.contains(*id);
  };
  // gpt-oss and solar-open: <|end|> ends a message, not the answer.
  const bool has_call = ends("<|call|>") || ends("<|calls|>");
  if (has_call && (ends("<|return|>") || ends("<|flush|>")) && ends("<|end|>")) {
    SetType(tokens[*Find("<|end|>")], static_cast<int32_t>(TokenType::kUserDefined));
    end_of_generation.erase(*Find("<|end|>"));
  }
  // Gemma 4 has </s> as a tag of text.
  if (ends("<|tool_response>") && ends("</s>")) {
    SetType(tokens[*Find("</s>")], static_cast<int32_t>(TokenType::kNormal));
    end_of_generation.erase(*Find("</s>"));
  }
}

void GgufVocabulary::MarkStripping(const Metadata& metadata) {
  const std::string_view pre_name = metadata.GetString(Key("pre")).value_or("");
  const std::string name = LowerAscii(metadata.GetString("general.name").value_or(""));
  const auto set = [&](std::string_view text, bool GgufToken::*strip, bool value) {
    if (const auto id = Find(text)) tokens[*id].*strip = value;
  };
  if (ContainsAny(pre_name, {"jina-v2-de", "jina-v2-es", "jina-v2-code"})) {
    set("<mask>", &GgufToken::strip_left, true);
  } else if (ContainsAny(name, {"phi-3", "phi3"})) {
    for (GgufToken& token : tokens)
      token.strip_right = token.control || token.user_defined || token.unknown;
    set("</s>", &GgufToken::strip_right, true);
    for (const std::string_view text : {"<unk>", "<s>", "<|endoftext|>"})
      set(text, &GgufToken::strip_right, false);
  } else if (ContainsAny(name, {"modern-bert"})) {
    set("[MASK]", &GgufToken::strip_left, true);
  }
}

}  // namespace quern::converters
