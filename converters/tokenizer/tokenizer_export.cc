#include "converters/tokenizer/tokenizer_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "converters/tokenizer/pre_forms.h"
#include "converters/tokenizer/pre_tokenizer.h"
#include "converters/tokenizer/stored_vocabulary.h"
#include "formats/core/error.h"
#include "formats/core/utf8.h"
#include "formats/huggingface/sentencepiece.h"

namespace quern::converters {
namespace {

using formats::huggingface::Piece;
using formats::huggingface::PieceType;
using formats::huggingface::SentencePieceModel;
using Ordered = nlohmann::ordered_json;  // files that people read keep their order

constexpr float kAddedScore = -1000.0f;  // of tokens that tokenizer_config.json adds
constexpr std::string_view kSpaceMark = "\u2581";

// Keys that come back from what is written here, beside the special tokens' ids.
constexpr std::array<std::string_view, 12> kWritten = {
    "tokenizer.ggml.model",         "tokenizer.ggml.pre",
    "tokenizer.ggml.tokens",        "tokenizer.ggml.scores",
    "tokenizer.ggml.token_type",    "tokenizer.ggml.merges",
    "tokenizer.ggml.add_bos_token", "tokenizer.ggml.add_eos_token",
    "tokenizer.ggml.add_sep_token", "tokenizer.ggml.add_space_prefix",
    "tokenizer.chat_templates",     "tokenizer.ggml.normalizer.lowercase"};

std::string TextOf(const Ordered& json, int indent = 2) {
  return json.dump(indent, ' ', false, Ordered::error_handler_t::replace) + "\n";
}

class TokenizerExport {
 public:
  TokenizerExport(const Metadata& metadata, Json& config, std::vector<std::string>& notes)
      : metadata_(metadata),
        vocabulary_(ReadStoredVocabulary(metadata)),
        special_(StoredSpecialTokens(metadata)),
        config_(config),
        notes_(notes) {
    std::erase_if(special_,
                  [&](const SpecialToken& token) { return token.id >= vocabulary_.texts.size(); });
  }

  std::vector<SideFile> ByteLevel(const PreJson& pre) {
    Start("PreTrainedTokenizerFast");
    const Ordered json = {{"version", "1.0"},
                          {"truncation", nullptr},
                          {"padding", nullptr},
                          {"added_tokens", AddedTokens()},
                          {"normalizer", Normalizer(pre)},
                          {"pre_tokenizer", pre.pre_tokenizer},
                          {"post_processor", PostProcessor()},
                          {"decoder", ByteLevelStep()},
                          {"model", BpeModel(pre)}};
    return {{"tokenizer.json", TextOf(json, 1)}, {"tokenizer_config.json", TextOf(settings_)}};
  }

  std::vector<SideFile> SentencePiece() {
    Start("LlamaTokenizer");
    const SentencePieceModel model = Pieces();
    return {{"tokenizer.model", formats::huggingface::SerializeSentencePieceModel(model)},
            {"tokenizer_config.json", TextOf(settings_)}};
  }

 private:
  bool IsControl(size_t id) const { return vocabulary_.types[id] == TokenType::kControl; }

  std::optional<uint32_t> IdOf(std::string_view type) const {
    for (const SpecialToken& token : special_) {
      if (token.type == type) return token.id;
    }
    return std::nullopt;
  }

  bool Flag(const char* key) const {
    const bool* flag = metadata_.Get<bool>(key);
    return flag != nullptr && *flag;
  }

  // tokenizer_config.json, and the ids in config.json.
  void Start(std::string_view tokenizer_class) {
    for (const char* name : {"add_bos_token", "add_eos_token", "add_sep_token"}) {
      const bool* flag = metadata_.Get<bool>(std::string("tokenizer.ggml.") + name);
      if (flag != nullptr) settings_[name] = *flag;
    }
    if (const bool* prefix = metadata_.Get<bool>("tokenizer.ggml.add_space_prefix")) {
      settings_["add_prefix_space"] = *prefix;
    }
    for (const SpecialToken& token : special_) {
      config_[std::string(token.type) + "_token_id"] = token.id;
      // A text makes a token special, which only a control token is already.
      if (IsControl(token.id) || vocabulary_.types[token.id] == TokenType::kUnknown) {
        settings_[std::string(token.type) + "_token"] = vocabulary_.texts[token.id];
      }
    }
    AddChatTemplate();
    settings_["clean_up_tokenization_spaces"] = false;
    settings_["tokenizer_class"] = tokenizer_class;
  }

  void AddChatTemplate() {
    constexpr std::string_view kKey = "tokenizer.chat_template";
    constexpr std::string_view kNamed = "tokenizer.chat_template.";
    Ordered named = Ordered::array();
    for (const auto& [key, value] : metadata_.entries()) {
      const auto* text = std::get_if<std::string>(&value);
      if (text == nullptr || !key.starts_with(kNamed)) continue;
      named.push_back({{"name", key.substr(kNamed.size())}, {"template", *text}});
    }
    const auto main = metadata_.GetString(kKey);
    if (main && !named.empty()) {
      named.insert(named.begin(), Ordered{{"name", "default"}, {"template", *main}});
    }
    if (!named.empty()) {
      settings_["chat_template"] = std::move(named);
    } else if (main) {
      settings_["chat_template"] = *main;
    }
  }

  static Ordered ByteLevelStep() {
    return {{"type", "ByteLevel"},
            {"add_prefix_space", true},
            {"trim_offsets", true},
            {"use_regex", true}};
  }

  static Ordered Added(const std::string& content, bool special, bool normalized) {
    return {{"content", content}, {"single_word", false},     {"lstrip", false},
            {"rstrip", false},    {"normalized", normalized}, {"special", special}};
  }

  // Control and user-defined tokens. One that bytes would be read out of when it is decoded is
  // marked as normalized, which keeps it as it is.
  Ordered AddedTokens() const {
    Ordered list = Ordered::array();
    for (size_t id = 0; id < vocabulary_.end; ++id) {
      const TokenType type = vocabulary_.types[id];
      if (type != TokenType::kControl && type != TokenType::kUserDefined &&
          type != TokenType::kUnknown) {
        continue;
      }
      const std::string& text = vocabulary_.texts[id];
      const bool special = type != TokenType::kUserDefined;
      const bool changes = ReplaceInvalidUtf8(CharactersToBytes(text)) != text;
      Ordered token = {{"id", id}};
      token.update(Added(text, special, !special || changes));
      list.push_back(std::move(token));
    }
    return list;
  }

  Ordered Normalizer(const PreJson& pre) const {
    if (!Flag("tokenizer.ggml.normalizer.lowercase")) return pre.normalizer;
    const Ordered lowercase = {{"type", "Lowercase"}};
    if (pre.normalizer.is_null()) return lowercase;
    return {{"type", "Sequence"}, {"normalizers", Ordered::array({pre.normalizer, lowercase})}};
  }

  Ordered SpecialPiece(uint32_t id, int sequence) const {
    return {{"SpecialToken", {{"id", vocabulary_.texts[id]}, {"type_id", sequence}}}};
  }

  // Puts bos and eos around a text where the GGUF says so.
  Ordered PostProcessor() const {
    const auto token = [&](const char* flag, const char* type) {
      return Flag(flag) ? IdOf(type) : std::nullopt;
    };
    const auto bos = token("tokenizer.ggml.add_bos_token", "bos");
    const auto eos = token("tokenizer.ggml.add_eos_token", "eos");
    if (!bos && !eos) return ByteLevelStep();
    const auto text = [](const char* name, int sequence) {
      return Ordered{{"Sequence", {{"id", name}, {"type_id", sequence}}}};
    };
    Ordered single = Ordered::array({text("A", 0)});
    Ordered pair = Ordered::array({text("A", 0), text("B", 1)});
    Ordered tokens = Ordered::object();
    const auto define = [&](uint32_t id) {
      const std::string& content = vocabulary_.texts[id];
      tokens[content] = {
          {"id", content}, {"ids", Ordered::array({id})}, {"tokens", Ordered::array({content})}};
    };
    if (bos) {
      define(*bos);
      for (Ordered* pieces : {&single, &pair}) {
        pieces->insert(pieces->begin(), SpecialPiece(*bos, 0));
      }
    }
    if (eos) {
      define(*eos);
      single.push_back(SpecialPiece(*eos, 0));
      pair.push_back(SpecialPiece(*eos, 1));
    }
    return {{"type", "TemplateProcessing"},
            {"single", std::move(single)},
            {"pair", std::move(pair)},
            {"special_tokens", std::move(tokens)}};
  }

  // Added tokens are part of the vocabulary, too, so that they keep their ids wherever they stand.
  Ordered BpeModel(const PreJson& pre) {
    Ordered::object_t vocab;
    size_t unused = 0;
    for (size_t id = 0; id < vocabulary_.end; ++id) {
      if (vocabulary_.IsPadding(id)) continue;
      if (vocabulary_.types[id] == TokenType::kUnused) ++unused;
      // Texts are known to be distinct: no search for each among all.
      vocab.Container::emplace_back(vocabulary_.texts[id], id);
    }
    if (unused > 0) {
      notes_.push_back(fmt::format(
          "{} unused tokens come back as normal ones: tokenizer.json knows no such thing", unused));
    }
    Ordered merges = Ordered::array();
    for (const std::string& merge : vocabulary_.merges) merges.push_back(merge);
    return {{"type", "BPE"},
            {"dropout", nullptr},
            {"unk_token", nullptr},
            {"continuing_subword_prefix", nullptr},
            {"end_of_word_suffix", nullptr},
            {"fuse_unk", false},
            {"byte_fallback", false},
            {"ignore_merges", pre.ignore_merges},
            {"vocab", std::move(vocab)},
            {"merges", std::move(merges)}};
  }

  // The piece that a SentencePiece model must have: the one of that type, the one that the
  // metadata names, or the one of that name.
  std::optional<size_t> UnknownPiece() const {
    const auto& types = vocabulary_.types;
    const auto typed = std::find(types.begin(), types.end(), TokenType::kUnknown);
    if (typed != types.end()) return static_cast<size_t>(typed - types.begin());
    if (const auto id = PieceOf("unk")) return *id;
    const auto& texts = vocabulary_.texts;
    const auto named = std::find(texts.begin(), texts.end(), "<unk>");
    if (named != texts.end()) return static_cast<size_t>(named - texts.begin());
    return std::nullopt;
  }

  SentencePieceModel Pieces() {
    SentencePieceModel model{.kind = formats::huggingface::SentencePieceKind::kBpe};
    const auto unknown = UnknownPiece();
    if (!unknown) {
      throw Error(ErrorCode::kMissing, {{}, {}, "tokenizer.ggml.unknown_token_id"},
                  "a tokenizer.model must have an unknown token, and the GGUF names none");
    }
    for (size_t id = 0; id < vocabulary_.end; ++id) {
      const PieceType type = id == *unknown ? PieceType::kUnknown : PieceTypeOf(id);
      const float score = vocabulary_.scores.empty() ? 0.0f : vocabulary_.scores[id];
      model.pieces.push_back({vocabulary_.texts[id], score, type});
    }
    AddOverPieces(model.pieces);
    model.declared_vocab_size = static_cast<int64_t>(model.pieces.size());
    model.byte_fallback =
        std::count_if(model.pieces.begin(), model.pieces.end(),
                      [](const Piece& piece) { return piece.type == PieceType::kByte; }) == 256;
    model.unk_id = static_cast<uint32_t>(*unknown);
    model.bos_id = PieceOf("bos");
    model.eos_id = PieceOf("eos");
    model.pad_id = PieceOf("pad");
    model.normalizer = "identity";
    const bool* prefix = metadata_.Get<bool>("tokenizer.ggml.add_space_prefix");
    model.add_dummy_prefix = prefix == nullptr || *prefix;
    model.remove_extra_whitespaces = false;
    return model;
  }

  // Tokens that no piece can say are added over the pieces by tokenizer_config.json.
  void AddOverPieces(const std::vector<Piece>& pieces) {
    size_t unlike = 0;
    Ordered decoder = Ordered::object();
    for (size_t id = 0; id < pieces.size(); ++id) {
      if (ComesBack(id, pieces[id].type)) continue;
      decoder[std::to_string(id)] = Added(vocabulary_.texts[id], IsControl(id), false);
      if (!ComesBackAdded(id)) ++unlike;
    }
    if (unlike > 0) {
      notes_.push_back(fmt::format("{} tokens come back with another score or type", unlike));
    }
    if (!decoder.empty()) settings_["added_tokens_decoder"] = std::move(decoder);
  }

  std::optional<uint32_t> PieceOf(std::string_view type) const {
    const auto id = IdOf(type);
    return id && *id < vocabulary_.end ? id : std::nullopt;
  }

  PieceType PieceTypeOf(size_t id) const {
    switch (vocabulary_.types[id]) {
      case TokenType::kControl:
        return PieceType::kControl;
      case TokenType::kUserDefined:
        return PieceType::kUserDefined;
      case TokenType::kUnused:
        return PieceType::kUnused;
      case TokenType::kByte:
        return PieceType::kByte;
      case TokenType::kNormal:
      case TokenType::kUnknown:  // one of several: there can be only one
        break;
    }
    return PieceType::kNormal;
  }

  // Whether the piece alone gives the token: the converter takes user-defined pieces for normal.
  bool ComesBack(size_t id, PieceType type) const {
    switch (vocabulary_.types[id]) {
      case TokenType::kUserDefined:
        return false;
      case TokenType::kUnknown:
        return type == PieceType::kUnknown;
      default:
        return type != PieceType::kUnknown;
    }
  }

  // Whether a token that tokenizer_config.json adds over the piece is the one of the GGUF.
  bool ComesBackAdded(size_t id) const {
    if (vocabulary_.scores.empty() || vocabulary_.scores[id] != kAddedScore) return false;
    if (IsControl(id)) return true;
    const std::string& text = vocabulary_.texts[id];
    return vocabulary_.types[id] == TokenType::kUserDefined && !LooksSpecial(text) &&
           text.find(kSpaceMark) == std::string::npos;
  }

  const Metadata& metadata_;
  const StoredVocabulary vocabulary_;
  std::vector<SpecialToken> special_;
  Json& config_;
  std::vector<std::string>& notes_;
  Ordered settings_ = Ordered::object();
};

bool IsWritten(std::string_view key, const Metadata& metadata) {
  if (key.starts_with("tokenizer.chat_template")) return true;
  if (std::find(kWritten.begin(), kWritten.end(), key) != kWritten.end()) return true;
  constexpr std::string_view kId = "_token_id";
  constexpr std::array<std::string_view, 6> kIds = {"bos",       "eos",     "unknown",
                                                    "seperator", "padding", "mask"};
  return key.ends_with(kId) && std::any_of(kIds.begin(), kIds.end(), [&](std::string_view type) {
           return key == fmt::format("tokenizer.ggml.{}{}", type, kId) &&
                  metadata.Get<uint32_t>(key) != nullptr;
         });
}

void NoteWhatIsLost(const Metadata& metadata, std::vector<std::string>& notes) {
  std::vector<std::string> lost;
  for (const auto& [key, value] : metadata.entries()) {
    if (key.starts_with("tokenizer.") && !IsWritten(key, metadata)) lost.push_back(key);
  }
  if (lost.empty()) return;
  notes.push_back(fmt::format("Hugging Face's files have no place for {}", fmt::join(lost, ", ")));
}

}  // namespace

std::vector<SideFile> ExportTokenizer(const Metadata& metadata, Json& config,
                                      std::vector<std::string>& notes) {
  const auto model = metadata.GetString("tokenizer.ggml.model");
  const auto pre = metadata.GetString("tokenizer.ggml.pre");
  const auto json = JsonOfPre(pre.value_or("default"));
  if (!model || (*model != "llama" && (*model != "gpt2" || !json))) {
    notes.push_back(model ? fmt::format("the tokenizer ({}, {}) is not written: only byte-level "
                                        "BPE and SentencePiece are; bring the model's own files",
                                        Printable(*model), Printable(pre.value_or("no pre")))
                          : std::string("the GGUF has no tokenizer"));
    return {};
  }
  NoteWhatIsLost(metadata, notes);
  TokenizerExport tokenizer(metadata, config, notes);
  return *model == "llama" ? tokenizer.SentencePiece() : tokenizer.ByteLevel(*json);
}

}  // namespace quern::converters
