#include "formats/huggingface/tokenizer_json.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>

#include "formats/core/error.h"
#include "formats/core/file.h"

namespace quern::formats::huggingface {
namespace {

using Ids = std::unordered_map<std::string_view, uint32_t>;  // of vocabulary texts

class TokenizerParser {
 public:
  explicit TokenizerParser(std::string_view file) : file_(file) {}

  TokenizerJson Parse(Json root) {
    if (!root.is_object()) throw Fail(ErrorCode::kBadType, {}, "is no JSON object");
    TokenizerJson tokenizer;
    const auto model = root.find("model");
    if (model == root.end()) throw Fail(ErrorCode::kMissing, "model", "there is none");
    if (!model->is_object()) throw Fail(ErrorCode::kBadType, "model", "is no JSON object");
    ParseModel(*model, tokenizer.model);
    if (const auto list = root.find("added_tokens"); list != root.end() && !list->is_null()) {
      ParseAddedTokens(*list, tokenizer);
    }
    const std::pair<const char*, Json&> steps[] = {
        {"normalizer", tokenizer.normalizer},
        {"pre_tokenizer", tokenizer.pre_tokenizer},
        {"post_processor", tokenizer.post_processor},
        {"decoder", tokenizer.decoder},
    };
    for (const auto& [name, to] : steps) {
      const auto at = root.find(name);
      if (at == root.end() || at->is_null()) continue;
      if (!at->is_object()) throw Fail(ErrorCode::kBadType, name, "is no JSON object");
      to = std::move(*at);
    }
    return tokenizer;
  }

 private:
  Error Fail(ErrorCode code, std::string subject, std::string_view message) const {
    return Error(code, {std::string(file_), {}, std::move(subject)},
                 fmt::format("{}; the tokenizer is damaged, download it again", message));
  }

  bool Flag(const Json& object, const char* name, bool otherwise) const {
    const auto at = object.find(name);
    if (at == object.end() || at->is_null()) return otherwise;
    if (!at->is_boolean()) throw Fail(ErrorCode::kBadType, name, "is neither true nor false");
    return at->get<bool>();
  }

  std::optional<std::string> Text(const Json& object, const char* name) const {
    const auto at = object.find(name);
    if (at == object.end() || at->is_null()) return std::nullopt;
    if (!at->is_string()) throw Fail(ErrorCode::kBadType, name, "is no string");
    return at->get<std::string>();
  }

  uint32_t Id(const Json& value, const std::string& subject) const {
    if (!value.is_number_integer()) throw Fail(ErrorCode::kBadType, subject, "has no integer id");
    if (!value.is_number_unsigned() || value.get<uint64_t>() > kMaxTokenId) {
      throw Fail(ErrorCode::kBadValue, subject,
                 fmt::format("has the id {}, which is not in 0 to {}", value.dump(), kMaxTokenId));
    }
    return value.get<uint32_t>();
  }

  // Files of before 2021 have no "type"; the fields tell, as in the library that reads them.
  TokenizerModelKind Kind(const Json& json) const {
    const auto type = Text(json, "type");
    if (!type) {
      if (json.contains("merges")) return TokenizerModelKind::kBpe;
      if (json.contains("vocab") && json["vocab"].is_array()) return TokenizerModelKind::kUnigram;
      return json.contains("max_input_chars_per_word") ? TokenizerModelKind::kWordPiece
                                                       : TokenizerModelKind::kWordLevel;
    }
    if (*type == "BPE") return TokenizerModelKind::kBpe;
    if (*type == "Unigram") return TokenizerModelKind::kUnigram;
    if (*type == "WordPiece") return TokenizerModelKind::kWordPiece;
    if (*type == "WordLevel") return TokenizerModelKind::kWordLevel;
    throw Error(ErrorCode::kUnsupported, {std::string(file_), {}, "model.type"},
                fmt::format("\"{}\" is no tokenizer model that quern knows (BPE, Unigram, "
                            "WordPiece, WordLevel)",
                            Printable(*type)));
  }

  void ParseModel(Json& json, TokenizerModel& model) {
    model.kind = Kind(json);
    model.continuing_subword_prefix = Text(json, "continuing_subword_prefix");
    model.end_of_word_suffix = Text(json, "end_of_word_suffix");
    model.byte_fallback = Flag(json, "byte_fallback", false);
    model.fuse_unk = Flag(json, "fuse_unk", false);
    model.ignore_merges = Flag(json, "ignore_merges", false);
    const auto vocab = json.find("vocab");
    if (vocab == json.end()) throw Fail(ErrorCode::kMissing, "model.vocab", "there is none");
    const bool unigram = model.kind == TokenizerModelKind::kUnigram;
    if (unigram) {
      ParseScoredVocab(*vocab, model);
    } else {
      ParseVocab(*vocab, model);
    }
    ids_.reserve(model.vocab.size());
    for (const VocabToken& token : model.vocab) {
      if (!ids_.emplace(token.text, token.id).second) {
        throw Fail(ErrorCode::kDuplicate, "model.vocab",
                   fmt::format("\"{}\" is there twice", Printable(token.text)));
      }
    }
    if (unigram) {
      ParseUnknownId(json, model);
    } else {
      model.unk_token = Text(json, "unk_token");
      const auto at = model.unk_token ? ids_.find(*model.unk_token) : ids_.end();
      if (at != ids_.end()) model.unk_id = at->second;
    }
    if (model.kind == TokenizerModelKind::kBpe) ParseMerges(json, model);
  }

  // {"text": id, ...}
  void ParseVocab(const Json& json, TokenizerModel& model) const {
    if (!json.is_object()) throw Fail(ErrorCode::kBadType, "model.vocab", "is no JSON object");
    model.vocab.reserve(json.size());
    for (const auto& [text, id] : json.items()) model.vocab.push_back({Id(id, text), text});
    std::sort(model.vocab.begin(), model.vocab.end(),
              [](const VocabToken& a, const VocabToken& b) { return a.id < b.id; });
    const auto twice =
        std::adjacent_find(model.vocab.begin(), model.vocab.end(),
                           [](const VocabToken& a, const VocabToken& b) { return a.id == b.id; });
    if (twice == model.vocab.end()) return;
    throw Fail(ErrorCode::kBadValue, "model.vocab",
               fmt::format("\"{}\" and \"{}\" have the same id {}", Printable(twice->text),
                           Printable(std::next(twice)->text), twice->id));
  }

  // [["text", score], ...], the id is the position
  void ParseScoredVocab(const Json& json, TokenizerModel& model) const {
    if (!json.is_array()) throw Fail(ErrorCode::kBadType, "model.vocab", "is no list");
    if (json.size() > size_t{kMaxTokenId} + 1) {
      throw Fail(ErrorCode::kBadValue, "model.vocab", "has more tokens than ids are allowed");
    }
    model.vocab.reserve(json.size());
    for (const Json& item : json) {
      const auto id = static_cast<uint32_t>(model.vocab.size());
      if (!item.is_array() || item.size() != 2 || !item[0].is_string() || !item[1].is_number()) {
        throw Fail(ErrorCode::kBadType, "model.vocab",
                   fmt::format("entry {} is not [text, score]", id));
      }
      model.vocab.push_back({id, item[0].get<std::string>(), item[1].get<double>()});
    }
  }

  void ParseUnknownId(const Json& json, TokenizerModel& model) const {
    const auto at = json.find("unk_id");
    if (at == json.end() || at->is_null()) return;
    const uint32_t id = Id(*at, "unk_id");
    if (id >= model.vocab.size()) {
      throw Fail(ErrorCode::kBadValue, "unk_id",
                 fmt::format("is {} and there are {} tokens", id, model.vocab.size()));
    }
    model.unk_id = id;
    model.unk_token = model.vocab[id].text;
  }

  // ["a b", ...] or, in newer files, [["a", "b"], ...], whose parts may hold spaces
  void ParseMerges(Json& json, TokenizerModel& model) const {
    const auto list = json.find("merges");
    if (list == json.end()) throw Fail(ErrorCode::kMissing, "model.merges", "there are none");
    if (!list->is_array()) throw Fail(ErrorCode::kBadType, "model.merges", "is no list");
    model.merges.reserve(list->size());
    for (Json& item : *list) {
      if (item.is_string()) {
        const auto& text = item.get_ref<const std::string&>();
        if (text.starts_with("#version")) continue;  // merges.txt copied with its first line
        model.merges.push_back(SplitMerge(text, model.merges.size()));
      } else if (item.is_array() && item.size() == 2 && item[0].is_string() &&
                 item[1].is_string()) {
        model.merges.emplace_back(std::move(item[0].get_ref<std::string&>()),
                                  std::move(item[1].get_ref<std::string&>()));
      } else {
        throw Fail(ErrorCode::kBadType, MergeName(model.merges.size()),
                   "is neither \"a b\" nor [\"a\", \"b\"]");
      }
      CheckMerge(model, model.merges.size() - 1);
    }
  }

  static std::string MergeName(size_t rank) { return fmt::format("merge {}", rank); }

  std::pair<std::string, std::string> SplitMerge(const std::string& text, size_t rank) const {
    const size_t space = text.find(' ');
    if (space == text.npos || text.find(' ', space + 1) != text.npos) {
      throw Fail(ErrorCode::kBadValue, MergeName(rank),
                 fmt::format("\"{}\" are not two tokens with a space between", Printable(text)));
    }
    return {text.substr(0, space), text.substr(space + 1)};
  }

  // Both parts and what they make must be tokens: the tokenizers library refuses others, too.
  void CheckMerge(const TokenizerModel& model, size_t rank) const {
    const auto& [left, right] = model.merges[rank];
    std::string_view tail = right;
    if (const auto& prefix = model.continuing_subword_prefix; prefix && tail.starts_with(*prefix)) {
      tail.remove_prefix(prefix->size());
    }
    const std::string merged = left + std::string(tail);
    for (const std::string_view token :
         {std::string_view(left), std::string_view(right), std::string_view(merged)}) {
      if (ids_.contains(token)) continue;
      throw Fail(ErrorCode::kBadValue, MergeName(rank),
                 fmt::format("\"{}\" is no token of the vocabulary", Printable(token)));
    }
  }

  void ParseAddedTokens(const Json& list, TokenizerJson& tokenizer) const {
    if (!list.is_array()) throw Fail(ErrorCode::kBadType, "added_tokens", "is no list");
    for (const Json& item : list) {
      const std::string subject = fmt::format("added_tokens {}", tokenizer.added_tokens.size());
      if (!item.is_object()) throw Fail(ErrorCode::kBadType, subject, "is no JSON object");
      const auto content = Text(item, "content");
      if (!content) throw Fail(ErrorCode::kMissing, subject, "has no content");
      const auto id = item.find("id");
      if (id == item.end()) throw Fail(ErrorCode::kMissing, subject, "has no id");
      const bool special = Flag(item, "special", false);
      tokenizer.added_tokens.push_back({.id = Id(*id, subject),
                                        .content = *content,
                                        .special = special,
                                        .normalized = Flag(item, "normalized", !special),
                                        .lstrip = Flag(item, "lstrip", false),
                                        .rstrip = Flag(item, "rstrip", false),
                                        .single_word = Flag(item, "single_word", false)});
    }
    std::sort(tokenizer.added_tokens.begin(), tokenizer.added_tokens.end(),
              [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
    CheckAddedTokens(tokenizer);
  }

  // An added token may repeat a token of the vocabulary (to mark it special), not redefine it.
  void CheckAddedTokens(const TokenizerJson& tokenizer) const {
    const auto& vocab = tokenizer.model.vocab;
    std::unordered_set<std::string_view> seen;
    const AddedToken* last = nullptr;
    for (const AddedToken& token : tokenizer.added_tokens) {
      const auto fail = [&](ErrorCode code, std::string_view message) {
        return Fail(code, fmt::format("added token \"{}\"", Printable(token.content)), message);
      };
      if (last && last->id == token.id && last->content != token.content) {
        throw fail(ErrorCode::kBadValue, fmt::format("its id {} is also that of \"{}\"", token.id,
                                                     Printable(last->content)));
      }
      if (!seen.insert(token.content).second) throw fail(ErrorCode::kDuplicate, "is there twice");
      const auto known = ids_.find(token.content);
      if (known != ids_.end() && known->second != token.id) {
        throw fail(ErrorCode::kBadValue,
                   fmt::format("has the id {}, and {} in the vocabulary", token.id, known->second));
      }
      const auto at =
          std::lower_bound(vocab.begin(), vocab.end(), token.id,
                           [](const VocabToken& entry, uint32_t id) { return entry.id < id; });
      if (at != vocab.end() && at->id == token.id && at->text != token.content) {
        throw fail(ErrorCode::kBadValue,
                   fmt::format("its id {} is that of the token \"{}\" in the vocabulary", token.id,
                               Printable(at->text)));
      }
      last = &token;
    }
  }

  std::string_view file_;
  Ids ids_;
};

}  // namespace

uint32_t TokenizerJson::id_end() const {
  const uint32_t vocab_end = model.vocab.empty() ? 0 : model.vocab.back().id + 1;
  const uint32_t added_end = added_tokens.empty() ? 0 : added_tokens.back().id + 1;
  return std::max(vocab_end, added_end);
}

TokenizerJson ParseTokenizerJson(std::string_view text, std::string_view file) {
  return TokenizerParser(file).Parse(ParseJson(text, file));
}

TokenizerJson ReadTokenizerJson(const std::filesystem::path& path) {
  return ParseTokenizerJson(ReadTextFile(path, kMaxJsonFileBytes), path.string());
}

}  // namespace quern::formats::huggingface
