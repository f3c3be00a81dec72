#include "converters/tokenizer/transformers_tokenizer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <unordered_map>
#include <unordered_set>

#include "converters/tokenizer/json_fields.h"
#include "converters/tokenizer/tokenizer_classes.h"
#include "converters/tokenizer/unicode.h"
#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

using formats::huggingface::AddedToken;
using formats::huggingface::TokenizerJson;

constexpr std::string_view kSpecialTypes[] = {"bos", "eos", "unk", "sep", "pad", "cls", "mask"};

const TokenizerClassInfo* ClassOf(const TokenizerFiles& files) {
  const std::string name = StringField(files.tokenizer_config, "tokenizer_class");
  if (!name.empty()) return FindTokenizerClass(name);
  const Json& type = Member(files.config, "model_type");
  return type.is_string() ? FindTokenizerClassOfModel(type.get_ref<const std::string&>()) : nullptr;
}

// "bos=<s> eos=</s>" -> {bos: <s>, eos: </s>}
std::map<std::string, std::string> DefaultSpecialTokens(const TokenizerClassInfo* info) {
  std::map<std::string, std::string> tokens;
  std::string_view rest = info == nullptr ? std::string_view() : info->special_tokens;
  while (!rest.empty()) {
    const size_t end = std::min(rest.find(' '), rest.size());
    const std::string_view entry = rest.substr(0, end);
    const size_t equals = entry.find('=');
    tokens.emplace(entry.substr(0, equals), entry.substr(equals + 1));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return tokens;
}

// bos, eos, ...: the class's, replaced by special_tokens_map.json's (of folders from before
// added_tokens_decoder) and by tokenizer_config.json's.
std::map<std::string, std::string> SpecialTokens(const TokenizerFiles& files) {
  auto tokens = DefaultSpecialTokens(ClassOf(files));
  const bool legacy = !files.tokenizer_config.contains("added_tokens_decoder");
  for (const std::string_view type : kSpecialTypes) {
    const std::string key = std::string(type) + "_token";
    for (const Json* source : {&files.special_tokens_map, &files.tokenizer_config}) {
      if (source == &files.special_tokens_map && !legacy) continue;
      if (!source->contains(key)) continue;
      const auto content = TokenContent((*source)[key]);
      tokens.erase(std::string(type));
      if (content && !content->empty()) tokens.emplace(type, *content);
    }
  }
  return tokens;
}

void AppendContents(const Json& list, std::vector<std::string>& contents) {
  if (!list.is_array()) return;
  for (const Json& item : list) {
    if (const auto content = TokenContent(item)) contents.push_back(*content);
  }
}

std::vector<std::string> AdditionalTokens(const TokenizerFiles& files) {
  std::vector<std::string> contents;
  for (const char* key : {"additional_special_tokens", "extra_special_tokens"})
    AppendContents(Member(files.tokenizer_config, key), contents);
  if (contents.empty())
    AppendContents(Member(files.special_tokens_map, "additional_special_tokens"), contents);
  return contents;
}

int64_t ParseId(const std::string& text) {
  int64_t id = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
  if (error == std::errc() && end == text.data() + text.size() && id >= 0) return id;
  throw Error(
      ErrorCode::kBadValue, {.subject = "added_tokens_decoder"},
      fmt::format("\"{}\" is no token id; tokenizer_config.json is damaged", Printable(text)));
}

AddedToken FromConfig(int64_t id, const Json& entry) {
  const bool special = BoolField(entry, "special", false);
  return {.id = static_cast<uint32_t>(std::min<int64_t>(id, formats::huggingface::kMaxTokenId)),
          .content = StringField(entry, "content"),
          .special = special,
          .normalized = BoolField(entry, "normalized", !special),
          .lstrip = BoolField(entry, "lstrip", false),
          .rstrip = BoolField(entry, "rstrip", false),
          .single_word = BoolField(entry, "single_word", false)};
}

// added_tokens_decoder by id, or, where there is none, added_tokens.json.
std::map<int64_t, AddedToken> ConfiguredTokens(const TokenizerFiles& files,
                                               const std::set<std::string, std::less<>>& special) {
  std::map<int64_t, AddedToken> tokens;
  if (const Json& decoder = Member(files.tokenizer_config, "added_tokens_decoder");
      decoder.is_object()) {
    for (const auto& [id, entry] : decoder.items())
      tokens.emplace(ParseId(id), FromConfig(ParseId(id), entry));
    return tokens;
  }
  for (const auto& [content, value] : files.added_tokens.items()) {
    const auto id = IntegerId(value);
    if (!id || *id < 0) continue;
    AddedToken token = FromConfig(*id, nullptr);
    token.content = content;
    token.special = special.contains(content);
    token.normalized = !token.special;
    tokens.emplace(*id, std::move(token));
  }
  return tokens;
}

// Adds tokens as the tokenizers library does: a token of the vocabulary keeps its id, any other
// gets the first id after all.
class TokenAdder {
 public:
  TokenAdder(TokenizerJson& json, uint64_t limit, std::vector<std::string>& notes)
      : json_(json), limit_(limit), notes_(notes) {
    ids_.reserve(json.model.vocab.size());
    used_.reserve(json.model.vocab.size());
    for (const auto& token : json.model.vocab) {
      ids_.emplace(token.text, token.id);
      Use(token.id);
    }
    for (const auto& token : json.added_tokens) {
      added_.insert(token.content);
      Use(token.id);
    }
  }

  // `keep_id`: the id in `token` is taken if no other token has it.
  void Add(AddedToken token, bool keep_id) {
    if (token.content.empty() || !added_.insert(token.content).second) return;
    const auto known = ids_.find(token.content);
    if (known != ids_.end()) {
      token.id = known->second;
    } else if (!keep_id || used_.contains(token.id)) {
      token.id = end_;
    }
    if (limit_ != 0 && token.id >= limit_) {
      notes_.push_back(fmt::format("token \"{}\" is left out: it would get id {} of {}",
                                   Printable(token.content), token.id, limit_));
      return;
    }
    Use(token.id);
    json_.added_tokens.push_back(std::move(token));
  }

 private:
  void Use(uint32_t id) {
    used_.insert(id);
    end_ = std::max(end_, id + 1);
  }

  TokenizerJson& json_;
  uint64_t limit_;
  std::vector<std::string>& notes_;
  std::unordered_map<std::string_view, uint32_t> ids_;  // texts are json_'s
  std::unordered_set<std::string> added_;
  std::unordered_set<uint32_t> used_;
  uint32_t end_ = 0;  // one more than the highest id
};

Json SlowAddedTokens(const TokenizerFiles& files) {
  Json list = Json::array();
  for (const auto& [id, token] : ConfiguredTokens(files, {})) {
    list.push_back({{"id", id},
                    {"content", token.content},
                    {"special", token.special},
                    {"normalized", token.normalized},
                    {"lstrip", token.lstrip},
                    {"rstrip", token.rstrip},
                    {"single_word", token.single_word}});
  }
  return list;
}

// A tokenizer.json made of vocab.json and merges.txt, parsed and checked like any other.
TokenizerJson FromSlowFiles(const TokenizerFiles& files) {
  const auto vocab = files.Path("vocab.json");
  const auto merges = files.Path("merges.txt");
  if (vocab.empty() || merges.empty()) {
    throw Error(ErrorCode::kMissing, {.subject = "tokenizer"},
                "there is no tokenizer; looked for tokenizer.model, tokenizer.json, and vocab.json "
                "with merges.txt beside the weights");
  }
  const TokenizerClassInfo* info = ClassOf(files);
  if (info == nullptr || info->pre_tokenizer.empty()) {
    const std::string name = StringField(files.tokenizer_config, "tokenizer_class");
    throw Error(ErrorCode::kUnsupported, {.subject = "tokenizer_class"},
                fmt::format("\"{}\" is not known to work from vocab.json and merges.txt; save a "
                            "tokenizer.json with transformers",
                            Printable(name)));
  }
  Json pairs = Json::array();
  for (const auto& [left, right] : ReadMergesFile(merges)) pairs.push_back({left, right});
  const auto step = [](std::string_view text) {
    return text.empty() ? Json() : ParseJson(text, "tokenizer class");
  };
  const Json root = {
      {"added_tokens", SlowAddedTokens(files)},
      {"normalizer", step(info->normalizer)},
      {"pre_tokenizer", step(info->pre_tokenizer)},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model", {{"type", "BPE"}, {"vocab", ReadJsonFile(vocab)}, {"merges", std::move(pairs)}}}};
  return formats::huggingface::ParseTokenizerJson(root.dump(), vocab.string());
}

// The id of `content` as a token, if it is one.
std::optional<TokenId> IdOf(const TokenizerJson& json, const std::string& content) {
  for (const auto& token : json.added_tokens) {
    if (token.content == content) return token.id;
  }
  for (const auto& token : json.model.vocab) {
    if (token.text == content) return token.id;
  }
  return std::nullopt;
}

std::vector<SpecialFrame> Frames(const TokenizerFiles& files, const TokenizerJson& json,
                                 const std::map<std::string, std::string>& special) {
  std::vector<SpecialFrame> frames;
  const auto add = [&](SpecialFrame frame) {
    if (std::find(frames.begin(), frames.end(), frame) == frames.end())
      frames.push_back(std::move(frame));
  };
  const auto ids_of = [&](const std::string& type) {
    std::vector<TokenId> ids;
    const auto token = special.find(type);
    if (token == special.end()) return ids;
    if (const auto id = IdOf(json, token->second)) ids.push_back(*id);
    return ids;
  };
  const auto configured = [&](bool default_bos) {
    SpecialFrame frame;
    if (BoolField(files.tokenizer_config, "add_bos_token", default_bos))
      frame.before = ids_of("bos");
    if (BoolField(files.tokenizer_config, "add_eos_token", false)) frame.after = ids_of("eos");
    return frame;
  };
  const TokenizerClassInfo* info = ClassOf(files);
  if (info != nullptr && info->frames) add(configured(info->add_bos));
  add(FrameFromPostProcessor(json.post_processor));
  add(configured(false));
  add({});
  add({ids_of("bos"), {}});
  return frames;
}

}  // namespace

TransformersTokenizer LoadTransformersTokenizer(const TokenizerFiles& files, uint64_t token_limit,
                                                std::vector<std::string>& notes) {
  TransformersTokenizer loaded;
  loaded.json = files.tokenizer ? *files.tokenizer : FromSlowFiles(files);
  const auto special = SpecialTokens(files);
  std::vector<std::string> additional = AdditionalTokens(files);
  for (const auto& [type, content] : special) loaded.special_tokens.insert(content);
  loaded.special_tokens.insert(additional.begin(), additional.end());

  TokenAdder adder(loaded.json, token_limit, notes);
  for (auto& [id, token] : ConfiguredTokens(files, loaded.special_tokens))
    adder.Add(std::move(token), true);
  for (const std::string_view type : kSpecialTypes) {
    const auto token = special.find(std::string(type));
    if (token == special.end()) continue;
    adder.Add({.content = token->second, .special = true}, false);
  }
  for (const std::string& content : additional)
    adder.Add({.content = content, .special = true}, false);

  if (Json& step = loaded.json.pre_tokenizer; step.is_object() && step.contains("add_prefix_space"))
    step["add_prefix_space"] = BoolField(files.tokenizer_config, "add_prefix_space", false);
  loaded.frames = Frames(files, loaded.json, special);
  return loaded;
}

std::vector<std::pair<std::string, std::string>> ReadMergesFile(const std::filesystem::path& path) {
  const std::string text = ReadTextFile(path, kMaxTokenizerTextBytes);
  if (!IsValidUtf8(text)) {
    throw Error(ErrorCode::kBadText, {.file = path.string()},
                "is no valid UTF-8; the tokenizer is damaged");
  }
  std::vector<std::pair<std::string, std::string>> merges;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line(text.data() + at, end - at);
    const bool comment = at == 0 && line.starts_with('#');
    at = end + 1;
    std::vector<std::string> parts;
    bool inside = false;
    for (size_t i = 0; i < line.size() && !comment;) {
      const size_t begin = i;
      const bool space = IsWhitespace(NextCodePoint(line, i));
      if (!space && !inside) parts.emplace_back();
      if (!space) parts.back() += line.substr(begin, i - begin);
      inside = !space;
    }
    if (parts.size() == 2) merges.emplace_back(std::move(parts[0]), std::move(parts[1]));
  }
  return merges;
}

}  // namespace quern::converters
