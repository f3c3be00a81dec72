#include "converters/tokenizer/hf_encoder.h"

#include <utility>

#include "formats/core/error.h"
#include "formats/core/utf8.h"

namespace quern::converters {

namespace {

using formats::huggingface::TokenizerJson;
using formats::huggingface::TokenizerModelKind;

const TokenizerJson& RequireBpe(const TokenizerJson& tokenizer) {
  if (tokenizer.model.kind == TokenizerModelKind::kBpe) return tokenizer;
  throw Error(ErrorCode::kUnsupported, {.subject = "model"},
              "only BPE tokenizers are encoded with; this one is of another kind");
}

}  // namespace

HfEncoder::HfEncoder(const TokenizerJson& tokenizer)
    : normalizer_(RequireBpe(tokenizer).normalizer),
      pre_tokenizer_(tokenizer.pre_tokenizer),
      frame_(FrameFromPostProcessor(tokenizer.post_processor)),
      added_(tokenizer.added_tokens, normalizer_),
      bpe_(tokenizer.model) {}

std::vector<TokenId> HfEncoder::Encode(std::string_view text, bool add_special_tokens) const {
  const std::string valid = ReplaceInvalidUtf8(text);
  std::vector<TokenId> ids;
  if (add_special_tokens) ids = frame_.before;
  WordCache<Bpe> cache(bpe_);
  for (const auto& piece : added_.FindRaw(valid)) {
    if (piece.id) {
      ids.push_back(*piece.id);
    } else {
      EncodePiece({valid.substr(piece.span.begin, piece.span.end - piece.span.begin),
                   piece.span.begin == 0},
                  cache, ids);
    }
  }
  if (add_special_tokens) ids.insert(ids.end(), frame_.after.begin(), frame_.after.end());
  return ids;
}

void HfEncoder::EncodePiece(Word piece, WordCache<Bpe>& cache, std::vector<TokenId>& ids) const {
  const std::string text = normalizer_.Normalize(std::move(piece.text));
  for (const auto& part : added_.FindNormalized(text)) {
    if (part.id) {
      ids.push_back(*part.id);
      continue;
    }
    Word word = {text.substr(part.span.begin, part.span.end - part.span.begin),
                 piece.at_start && part.span.begin == 0};
    for (const Word& split : pre_tokenizer_.Split(std::move(word))) cache.Tokenize(split.text, ids);
  }
}

}  // namespace quern::converters
