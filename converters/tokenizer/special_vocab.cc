#include "converters/tokenizer/special_vocab.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <span>

#include "converters/tokenizer/chat_template.h"
#include "converters/tokenizer/json_fields.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

struct KeyOfType {
  std::string_view type;
  std::string_view key;
};

// What llama.cpp's writer has keys for; "cls" and CodeLlama's "prefix", "suffix", "middle" are
// looked up there, too, and then not written.
constexpr std::array<KeyOfType, 8> kIdKeys = {{
    {"bos", "tokenizer.ggml.bos_token_id"},
    {"eos", "tokenizer.ggml.eos_token_id"},
    {"unk", "tokenizer.ggml.unknown_token_id"},
    {"sep", "tokenizer.ggml.seperator_token_id"},
    {"pad", "tokenizer.ggml.padding_token_id"},
    {"mask", "tokenizer.ggml.mask_token_id"},
    {"eot", "tokenizer.ggml.eot_token_id"},
    {"eom", "tokenizer.ggml.eom_token_id"},
}};
constexpr std::array<KeyOfType, 3> kFlagKeys = {{
    {"bos", "tokenizer.ggml.add_bos_token"},
    {"eos", "tokenizer.ggml.add_eos_token"},
    {"sep", "tokenizer.ggml.add_sep_token"},
}};

template <size_t kCount>
std::string_view KeyFor(const std::array<KeyOfType, kCount>& keys, std::string_view type) {
  for (const KeyOfType& entry : keys) {
    if (entry.type == type) return entry.key;
  }
  return {};
}

bool Lowercases(const Json& normalizer) {
  const std::string type = StringField(normalizer, "type");
  if (type == "Lowercase") return true;
  if (type == "BertNormalizer") return BoolField(normalizer, "lowercase", true);
  if (type != "Sequence") return false;
  const Json& inner = ArrayField(normalizer, "normalizers");
  return std::any_of(inner.begin(), inner.end(), Lowercases);
}

// {"SpecialToken": {"id": "<s>"}} -> "<s>"; empty for anything else.
std::string SpecialOf(const Json& piece) {
  return StringField(Member(piece, "SpecialToken"), "id");
}

std::string SequenceOf(const Json& piece) { return StringField(Member(piece, "Sequence"), "id"); }

// The first element of ["<s>", 0].
std::string FirstOf(const Json& pair, const std::string& fallback) {
  return pair.is_array() && !pair.empty() && pair[0].is_string() ? pair[0].get<std::string>()
                                                                 : fallback;
}

}  // namespace

// The values behind "bos_token", "eos_token", ... that the post-processor's rules read and amend.
// `raw` keeps the JSON, because a token may be a string or an object.
struct SpecialVocab::Tokens {
  std::map<std::string, Json> raw;
  bool has_config = false;

  std::string Text(const std::string& type) const {
    const auto found = raw.find(type);
    if (found == raw.end()) return {};
    return TokenContent(found->second).value_or("");
  }
  bool Set(const std::string& type) const {
    const auto found = raw.find(type);
    if (found == raw.end() || found->second.is_null()) return false;
    return !(found->second.is_string() && found->second.get_ref<const std::string&>().empty());
  }
  // A special token of a template against the configured one. gguf-py compares the template's
  // string with the value itself, so that a token written as an object never equals it.
  bool Is(const std::string& type, const std::string& text) const {
    const auto found = raw.find(type);
    return found != raw.end() && found->second.is_string() && found->second == text;
  }
};

SpecialVocab::SpecialVocab(const TokenizerFiles& files, Request request,
                           std::vector<std::string>& notes)
    : request_(std::move(request)), notes_(notes) {
  Tokens tokens;
  tokens.has_config = !files.tokenizer_config.empty();
  for (const auto& [key, value] : files.tokenizer_config.items()) {
    if (key.ends_with("_token")) tokens.raw[key.substr(0, key.size() - 6)] = value;
  }
  if (files.tokenizer) {
    lowercase_ = Lowercases(files.tokenizer->normalizer);
    if (!tokens.Set("bos") && tokens.Set("cls")) tokens.raw["bos"] = tokens.raw["cls"];
    if (!tokens.Set("eos") && tokens.Set("sep")) tokens.raw["eos"] = tokens.raw["sep"];
    LoadPostProcessor(files.tokenizer->post_processor, tokens);
  }
  if (tokens.has_config) LoadTokenizerConfig(files, tokens);
  LoadConfig(files.config);
}

void SpecialVocab::LoadPostProcessor(const Json& post_processor, Tokens& tokens) {
  if (!post_processor.is_object() || post_processor.empty()) return;
  const Json one = Json::array({post_processor});
  const bool sequence = post_processor.contains("processors");
  for (const Json& processor : sequence ? ArrayField(post_processor, "processors") : one) {
    const std::string type = StringField(processor, "type");
    if (type == "TemplateProcessing") LoadTemplate(processor, tokens);
    if (type != "RobertaProcessing") continue;
    for (const char* flag : {"bos", "eos", "sep"}) SetFlag(flag, true);
    if (!tokens.has_config) continue;
    if (!tokens.Set("cls"))
      tokens.raw["cls"] = FirstOf(Member(processor, "cls"), tokens.Text("bos"));
    if (!tokens.Set("sep"))
      tokens.raw["sep"] = FirstOf(Member(processor, "sep"), tokens.Text("eos"));
  }
}

// Leading and trailing special tokens of the template tell what to add; a trailing one that is not
// the configured end becomes the end of sequence, and the configured one the end of turn.
void SpecialVocab::LoadTemplate(const Json& processor, Tokens& tokens) {
  const Json& single = ArrayField(processor, "single");
  std::string first;
  std::string last;
  if (single.size() > 1) {
    first = SpecialOf(single.front());
    last = SpecialOf(single.back());
  }
  if (!first.empty()) {
    if (!tokens.has_config) tokens.raw["bos"] = first;
    SetFlag("bos", tokens.Is("bos", first) || tokens.Is("cls", first));
  }
  if (!last.empty()) {
    if (!tokens.has_config) {
      tokens.raw["eos"] = last;
    } else if (!tokens.Is("eos", last)) {
      auto& types = request_.types;
      for (const char* spare : {"eot", "eom"}) {
        if (std::find(types.begin(), types.end(), spare) != types.end()) continue;
        types.push_back(spare);
        tokens.raw[spare] = tokens.raw["eos"];
        break;
      }
      tokens.raw["eos"] = last;
    }
    SetFlag("eos", true);
  }
  LoadPair(ArrayField(processor, "pair"), first, last, tokens);
}

// Only pairs of the form A [separator] [end] B say whether a separator is added.
void SpecialVocab::LoadPair(const Json& pair, const std::string& first, const std::string& last,
                            Tokens& tokens) {
  std::vector<Json> middle(pair.begin(), pair.end());
  if (middle.empty()) return;
  const bool leads = !first.empty() && SpecialOf(middle.front()) == first;
  const bool trails = !last.empty() && SpecialOf(middle.back()) == last;
  if (leads) middle.erase(middle.begin());
  if (trails && !middle.empty()) middle.pop_back();
  if (middle.size() < 3) return;
  if (SequenceOf(middle.front()) != "A" || SequenceOf(middle.back()) != "B") return;
  middle.erase(middle.begin());
  middle.pop_back();
  const auto separates = [&](const Json& piece) {
    const std::string text = SpecialOf(piece);
    return !text.empty() && (tokens.Is("sep", text) || tokens.Is("eos", text));
  };
  const bool add =
      (separates(middle[0]) && last.empty()) || (middle.size() == 2 && separates(middle[1]));
  SetFlag("sep", add);
  if (add && !tokens.Set("sep") && tokens.has_config) tokens.raw["sep"] = tokens.raw["eos"];
}

void SpecialVocab::LoadTokenizerConfig(const TokenizerFiles& files, const Tokens& tokens) {
  chat_template_ = FindChatTemplate(files);
  const auto added = files.tokenizer ? std::span(files.tokenizer->added_tokens)
                                     : std::span<const formats::huggingface::AddedToken>();
  for (const std::string& type : request_.types) {
    if (const Json& flag = Member(files.tokenizer_config, "add_" + type + "_token");
        flag.is_boolean())
      SetFlag(type, flag.get<bool>());
    const auto entry = tokens.raw.find(type);
    const auto content = entry == tokens.raw.end() ? std::nullopt : TokenContent(entry->second);
    if (!content) continue;
    for (const auto& token : added) {
      if (token.content != *content) continue;
      SetId(type, token.id);
      break;
    }
  }
}

void SpecialVocab::LoadConfig(const Json& config) {
  for (const std::string& type : request_.types) {
    const Json* value = &Member(config, type + "_token_id");
    if (value->is_null()) value = &Member(Member(config, "text_config"), type + "_token_id");
    if (const auto id = IntegerId(*value)) SetId(type, *id);
  }
}

void SpecialVocab::SetId(const std::string& type, int64_t id) {
  if (id < 0) {
    notes_.push_back(fmt::format("{}_token_id is {}: taken as none", type, id));
    return;
  }
  if (static_cast<uint64_t>(id) >= request_.token_count) {
    const std::string message =
        fmt::format("{} is beyond the {} tokens of the vocabulary", id, request_.token_count);
    if (!request_.skip_out_of_range) {
      throw Error(ErrorCode::kBadValue, {.subject = type + "_token_id"},
                  message + "; correct config.json or the tokenizer");
    }
    notes_.push_back(fmt::format("{}_token_id {}: left out", type, message));
    return;
  }
  const bool known =
      std::any_of(ids_.begin(), ids_.end(), [&](const auto& entry) { return entry.first == type; });
  if (!known) ids_.emplace_back(type, static_cast<uint32_t>(id));
}

void SpecialVocab::SetFlag(const std::string& type, bool add) {
  for (auto& [known, value] : flags_) {
    if (known != type) continue;
    value = add;
    return;
  }
  flags_.emplace_back(type, add);
}

void SpecialVocab::AppendTo(Metadata& metadata) const {
  if (!merges_.empty()) metadata.Set("tokenizer.ggml.merges", Array{merges_});
  for (const auto& [type, id] : ids_) {
    if (const auto key = KeyFor(kIdKeys, type); !key.empty()) metadata.Set(std::string(key), id);
  }
  for (const auto& [type, add] : flags_) {
    if (const auto key = KeyFor(kFlagKeys, type); !key.empty()) metadata.Set(std::string(key), add);
  }
  AppendChatTemplate(chat_template_, metadata);
  if (lowercase_) metadata.Set("tokenizer.ggml.normalizer.lowercase", true);
}

}  // namespace quern::converters
