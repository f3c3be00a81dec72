#include "converters/tokenizer/tokenizer_metadata.h"

#include <fmt/format.h>

#include <algorithm>

#include "converters/tokenizer/ggml_vocabulary.h"
#include "converters/tokenizer/json_fields.h"
#include "converters/tokenizer/native_vocabulary.h"
#include "converters/tokenizer/pre_type.h"
#include "converters/tokenizer/special_vocab.h"
#include "converters/tokenizer/tokenizer_files.h"
#include "converters/tokenizer/transformers_tokenizer.h"
#include "converters/tokenizer/vocabulary.h"
#include "formats/core/error.h"
#include "formats/llama2c/tokenizer_bin.h"

namespace quern::converters {
namespace {

using formats::huggingface::TokenizerModelKind;

// The keys of one source, in the order of llama.cpp's set_vocab methods (conversion/base.py,
// conversion/llama.py).
class TokenizerConversion {
 public:
  TokenizerConversion(const ModelSource& source, const TokenizerOptions& options,
                      Metadata& metadata, std::vector<std::string>& notes)
      : source_(source),
        files_(ReadTokenizerFiles(source)),
        options_(options),
        size_(VocabularySize()),
        metadata_(metadata),
        notes_(notes) {}

  void Auto() {
    if (Has("tekken.json") && !files_.tokenizer && !Has("tokenizer.model")) {
      throw Error(ErrorCode::kUnsupported, {.subject = "tekken.json"},
                  "Mistral's own tokenizer format is not read; add the model's tokenizer.json");
    }
    if (const Json& prefix = Member(files_.tokenizer_config, "add_prefix_space");
        prefix.is_boolean())
      metadata_.Set("tokenizer.ggml.add_space_prefix", prefix.get<bool>());
    if (Has("tokenizer.model")) {
      SentencePiece();
    } else if (HasByteFallback()) {
      ByteFallback();
    } else {
      ByteLevel();
    }
    Quirks();
  }

  void SentencePieceOrByteLevel() {
    if (Has("tokenizer.model")) {
      SentencePiece();
    } else {
      ByteLevel();
    }
  }

  void SentencePiece() {
    if (!Has("tokenizer.model")) {
      throw Error(ErrorCode::kMissing, {.subject = "tokenizer.model"},
                  "this architecture needs a SentencePiece tokenizer; add the file");
    }
    const TokenList tokens = SentencePieceTokens(files_, size_, notes_);
    Start("llama", "default", tokens);
    Special({.token_count = tokens.texts.size()}, {});
  }

  // Llama's own programs read no ids from a file: they begin each text with <s>.
  void Meta() {
    if (Has("tokenizer.bin") && !Has("tokenizer.model")) {
      const auto pieces = formats::llama2c::ReadTokenizerBin(files_.Path("tokenizer.bin"));
      Start("llama", "default", PieceTokens(pieces, size_, notes_));
      NativeSpecial({{"bos", 1}, {"eos", 2}, {"unk", 0}}, {});
    } else if (!Has("tokenizer.model")) {
      Auto();
    } else if (IsTiktokenFile(files_.Path("tokenizer.model"))) {
      Tiktoken();
    } else {
      const auto model =
          formats::huggingface::ReadSentencePieceModel(files_.Path("tokenizer.model"));
      Start("llama", "default", SentencePieceTokens(files_, size_, notes_));
      NativeSpecial({{"bos", model.bos_id}, {"eos", model.eos_id}, {"unk", model.unk_id}}, {});
    }
  }

  void ByteLevel() {
    const TransformersTokenizer tokenizer = LoadTransformersTokenizer(files_, size_, notes_);
    if (tokenizer.json.model.kind != TokenizerModelKind::kBpe) {
      throw Error(ErrorCode::kUnsupported, {.subject = "tokenizer.json"},
                  "only BPE tokenizers are converted, this one is Unigram, WordPiece or WordLevel; "
                  "if there is a tokenizer.model, put it beside the weights");
    }
    const TokenList tokens = ByteLevelTokens(tokenizer, size_);
    Start("gpt2", options_.pre.empty() ? FindPreType(tokenizer, notes_) : options_.pre, tokens);
    Special({.token_count = tokens.texts.size(), .skip_out_of_range = false}, Merges());
  }

 private:
  bool Has(std::string_view name) const { return !files_.Path(name).empty(); }

  // The embedding's rows, or what the config says.
  uint64_t VocabularySize() const {
    if (options_.vocab_size != 0) return options_.vocab_size;
    for (const Json* config : {&files_.config, &Member(files_.config, "text_config")}) {
      const auto size = IntegerId(Member(*config, "vocab_size"));
      if (size && *size > 0) return static_cast<uint64_t>(*size);
    }
    return 0;
  }

  // Whether tokenizer.json holds a SentencePiece BPE: what gguf-py's LlamaHfVocab accepts.
  bool HasByteFallback() const {
    return files_.tokenizer && files_.tokenizer->model.kind == TokenizerModelKind::kBpe &&
           files_.tokenizer->model.byte_fallback &&
           StringField(files_.tokenizer->decoder, "type") == "Sequence";
  }

  void ByteFallback() {
    const TransformersTokenizer tokenizer = LoadTransformersTokenizer(files_, size_, notes_);
    const TokenList tokens = ByteFallbackTokens(tokenizer, size_);
    Start("llama", "default", tokens);
    Special({.token_count = tokens.texts.size()}, {});
  }

  void Start(std::string_view model, std::string_view pre, const TokenList& tokens) {
    metadata_.Set("tokenizer.ggml.model", std::string(model));
    metadata_.Set("tokenizer.ggml.pre", options_.pre.empty() ? std::string(pre) : options_.pre);
    tokens.AppendTo(metadata_);
    token_count_ = tokens.texts.size();
  }

  void Special(SpecialVocab::Request request, std::vector<std::string> merges) {
    SpecialVocab special(files_, std::move(request), notes_);
    special.SetMerges(std::move(merges));
    special.AppendTo(metadata_);
  }

  using Ids = std::vector<std::pair<std::string, std::optional<uint32_t>>>;

  void Tiktoken() {
    const Json& scaled = Member(source_.config(), "use_scaled_rope");
    auto vocabulary = ReadLlama3Vocabulary(files_.Path("tokenizer.model"), size_, scaled == true);
    Start("gpt2", "llama-bpe", vocabulary.tokens);
    NativeSpecial({{"bos", vocabulary.begin}, {"eos", vocabulary.end}, {"pad", vocabulary.pad}},
                  std::move(vocabulary.merges));
  }

  // What Hugging Face's files say, if they are there, before `ids`.
  void NativeSpecial(const Ids& ids, std::vector<std::string> merges) {
    SpecialVocab special(files_, {.token_count = token_count_}, notes_);
    special.SetMerges(std::move(merges));
    for (const auto& [type, id] : ids) {
      if (id) special.SetId(type, *id);
    }
    if (!ids.empty() && ids.front().second) special.SetFlag("bos", true);
    special.AppendTo(metadata_);
  }

  // "left right"; a space inside a part becomes U+0120, as byte-level BPE writes it.
  std::vector<std::string> Merges() const {
    std::vector<std::pair<std::string, std::string>> pairs;
    if (files_.tokenizer) pairs = files_.tokenizer->model.merges;
    if (pairs.empty() && Has("merges.txt")) pairs = ReadMergesFile(files_.Path("merges.txt"));
    std::vector<std::string> merges;
    merges.reserve(pairs.size());
    for (const auto& [left, right] : pairs) {
      std::string merge;
      for (const std::string_view part : {std::string_view(left), std::string_view(right)}) {
        if (!merge.empty()) merge += ' ';
        for (const char c : part) {
          if (c == ' ') {
            merge += "\u0120";
          } else {
            merge += c;
          }
        }
      }
      merges.push_back(std::move(merge));
    }
    return merges;
  }

  // What LlamaModel.set_vocab recognizes by nothing but the size of the vocabulary.
  void Quirks() {
    constexpr uint64_t kCodeLlama = 32016;
    constexpr uint64_t kSmallGranite = 49152;
    if (size_ == kCodeLlama) {
      SpecialVocab special(
          files_, {.types = {"prefix", "suffix", "middle", "eot"}, .token_count = token_count_},
          notes_);
      special.SetId("prefix", 32007);
      special.SetId("suffix", 32008);
      special.SetId("middle", 32009);
      special.SetId("eot", 32010);
      special.AppendTo(metadata_);
    }
    if (size_ == kSmallGranite) metadata_.Set("tokenizer.ggml.add_bos_token", false);
  }

  const ModelSource& source_;
  TokenizerFiles files_;
  const TokenizerOptions& options_;
  uint64_t size_;
  Metadata& metadata_;
  std::vector<std::string>& notes_;
  uint64_t token_count_ = 0;
};

}  // namespace

void AddTokenizerMetadata(const ModelSource& source, const TokenizerOptions& options,
                          Metadata& metadata, std::vector<std::string>& notes) {
  if (options.kind == "ggml") return AddGgmlVocabulary(source, metadata, notes);
  TokenizerConversion conversion(source, options, metadata, notes);
  if (options.kind == "auto") {
    conversion.Auto();
  } else if (options.kind == "meta") {
    conversion.Meta();
  } else if (options.kind == "gpt2") {
    conversion.ByteLevel();
  } else if (options.kind == "sentencepiece") {
    conversion.SentencePiece();
  } else if (options.kind == "sentencepiece_or_gpt2") {
    conversion.SentencePieceOrByteLevel();
  } else {
    throw Error(ErrorCode::kUnsupported, {.subject = "tokenizer"},
                fmt::format("the kind \"{}\" is not known; use auto, gpt2, sentencepiece, "
                            "sentencepiece_or_gpt2 or meta",
                            Printable(options.kind)));
  }
}

}  // namespace quern::converters
