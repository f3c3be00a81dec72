// Any bytes as text to be tokenized: the first byte chooses the vocabulary and the options.
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "converters/tokenizer/pre_rules.h"
#include "converters/tokenizer/text_tokenizer.h"
#include "formats/core/error.h"
#include "tests/converters/tokenizer/small_vocabulary_testing.h"

namespace {

using quern::converters::TextTokenizer;
using quern::converters::TokenType;

std::vector<TextTokenizer> MakeTokenizers() {
  std::vector<TextTokenizer> tokenizers;
  tokenizers.emplace_back(quern::testing::ScoredVocabulary({{"▁"},
                                                            {"a"},
                                                            {"▁a", TokenType::kNormal, 2},
                                                            {"aa", TokenType::kNormal, 1},
                                                            {"<t>", TokenType::kUserDefined},
                                                            {"▁▁", TokenType::kNormal, 1}}));
  for (const auto& rule : quern::converters::PreRules()) {
    const std::string name(rule.names.substr(0, rule.names.find(' ')));
    quern::Metadata metadata = quern::testing::RankedVocabulary(name, {"a b", "Ġ a", "Ġa b", "1 2"},
                                                                {{"<t>", TokenType::kUserDefined}});
    metadata.Set("tokenizer.ggml.bos_token_id", uint32_t{0});
    tokenizers.emplace_back(metadata);
  }
  return tokenizers;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::vector<TextTokenizer> tokenizers = MakeTokenizers();
  if (size == 0) return 0;
  const TextTokenizer& tokenizer = tokenizers[data[0] / 2 % tokenizers.size()];
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  try {
    const auto ids = tokenizer.Encode(text, {.parse_special = data[0] % 2 == 1});
    for (const auto id : ids) {
      if (id >= tokenizer.size()) std::abort();
    }
    (void)tokenizer.Decode(ids);
  } catch (const quern::Error&) {
  }
  return 0;
}
