#include "converters/tokenizer/pre_rules.h"

namespace quern::converters {
namespace {

// Where llama.cpp has a splitter written by hand, the pattern stands for what that does. Possessive
// quantifiers (++) change no match here; they spare the engine its stack. Character classes are
// written as llama.cpp sees them: it does not tell upper from lower case beyond ASCII, so that
// [\p{Lu}\p{Lt}\p{Lm}\p{Lo}] is \p{L} to it.

// clang-format off
using Pattern = std::string_view;

constexpr Pattern kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s+(?!\S)|\s++)";
constexpr Pattern kLlama3 =
    R"('(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}++|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kQwen2 =
    R"('(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}++|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kQwen35 =
    R"('(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]++|\p{N})"
    R"(| ?[^\s\p{L}\p{M}\p{N}]++[\r\n]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kJais2 =
    R"('(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}++|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]++|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S))"
    R"(|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)|\s{4}(?!\S)|\s{1,2}(?!\S)|\s)";
constexpr Pattern kUfakzeka =
    R"([^\r\n\p{L}\p{N}]?\p{L}++|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kSeedCoder =
    R"('(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}++|\p{N})"
    R"(| ?[^\s\p{L}\p{N}\r\n]++|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kBailing =
    R"('(?:[sS]|[dD]|[mM]|[tT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}++|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]|\s+(?!\S)|\s++)";
constexpr Pattern kExaoneMoe =
    R"('(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))"
    R"(|[^\r\n\p{L}\p{N}]?\p{L}\p{M}*+(?: ?\p{L}\p{M}*+)*+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]++[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s++)";
constexpr Pattern kMiniCpm5 =
    R"('(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD])|[^\r\n\p{L}\p{N}]?\p{L}++|\p{N}++)"
    R"(| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]*[\p{L}&&[^A-Z]]++)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]+[\p{L}&&[^A-Z]]*+|\p{N})"
    R"(| ?[^\s\p{L}\p{N}]++[\r\n/]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]*[\p{L}&&[^A-Z]]++)"
    R"((?:'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}&&[^a-z]]+[\p{L}&&[^A-Z]]*+)"
    R"((?:'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))?|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]++[\r\n/]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kGranite97m =
    R"([^\r\n\p{L}\p{N}]?[\p{L}\p{M}&&[^a-z]]*[\p{L}\p{M}&&[^A-Z]]++)"
    R"((?:'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))?)"
    R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}&&[^a-z]]+[\p{L}\p{M}&&[^A-Z]]*+)"
    R"((?:'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))?|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]++[\r\n/]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kTinyAyaWords =
    R"([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]++(?:'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))?)"
    R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n/]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kYoutuWords =
    R"([^\r\n\p{L}\p{N}]?[\p{L}\p{M}]++(?:'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))?)"
    R"(|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n/]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kKimiK2 =
    R"(\p{Han}++|[^\r\n\p{L}\p{N}]?[\p{L}&&[^\p{Han}]]++)"
    R"((?:'(?:[sS]|[tT]|[rR][eE]|[vV][eE]|[mM]|[lL][lL]|[dD]))?|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kDeepSeek3Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]++|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]++)"
    R"(| ?[\p{P}\p{S}]++[\r\n]*+|\s*[\r\n]++|\s+(?!\S)|\s++)";
constexpr Pattern kSpark25Words =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]++|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]++)"
    R"(| ?[\p{P}\p{S}]++|[\r\n]|\s+(?!\S)|\s++)";
constexpr Pattern kDeepSeekLetters =
    R"(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293})"
    R"(\x{295}-\x{2af}\x{370}-\x{373}\x{376}\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a})"
    R"(\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f}\x{531}-\x{556})"
    R"(\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf})"
    R"(\x{1d00}-\x{1d2b}\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d})"
    R"(\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57}\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d})"
    R"(\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc}\x{1fd0}-\x{1fd3})"
    R"(\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107})"
    R"(\x{210a}-\x{2113}\x{2115}\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d})"
    R"(\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f}\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184})"
    R"(\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3}\x{a640}-\x{a66d})"
    R"(\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf})"
    R"(\x{fb00}-\x{fb06}\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f})"
    R"(\x{104b0}-\x{104d3}\x{104d8}-\x{104fb}\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2})"
    R"(\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]++)";
constexpr Pattern kDeepSeekPunctuation =
    R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]++)";
constexpr Pattern kDeepSeekCjk = R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]++)";
constexpr Pattern kHanAndKana = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]++)";
constexpr Pattern kYoutuScripts =
    R"([\x{ac00}-\x{d7a3}\x{3131}-\x{318e}]++)"
    R"(|[\x{ff01}\x{2026}\x{201c}\x{201d}\x{2018}\x{2019}\x{2014}\x{ff1a}\x{ff1b}\x{ff0c})"
    R"(\x{3001}-\x{303f}\x{fe30}-\x{fe4f}]++|[\x{3105}-\x{312f}]++)"
    R"(|[\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]++)";
// 8c48 is what the file of llama.cpp has where it means f900.
constexpr Pattern kAfmoeScripts =
    R"([\x{4e00}-\x{9fff}\x{3400}-\x{4dbf}\x{8c48}-\x{faff}\x{3040}-\x{309f}\x{30a0}-\x{30ff})"
    R"(\x{ff65}-\x{ff9f}\x{2f00}-\x{2fdf}\x{e40}-\x{e7f}\x{e80}-\x{eff}\x{1780}-\x{17ff})"
    R"(\x{1000}-\x{109f}\x{aa60}-\x{aa7f}\x{a9e0}-\x{a9ff}\x{ac00}-\x{d7af}\x{1100}-\x{11ff}]++)";
// Threes counted from the right. The text before the first three, or less, digits of a number stays
// with them.
constexpr Pattern kAfmoeDigits =
    R"([^\p{N}]*+(?<!\p{N})\p{N}{1,2}(?=(?:\p{N}{3})*+(?!\p{N}))|[^\p{N}]*+\p{N}{3}|[^\p{N}]++)";
// Cuts before each three digits, counted from the right; what is before the first cut stays whole.
constexpr Pattern kSuperBpeDigits =
    R"((?:(?<!\d)\d{1,2}(?!\d)|[^\d]++)++(?:(?<!\d)\d{1,2}(?=(?:\d{3})++(?!\d)))?)"
    R"(|(?<!\d)\d{1,2}(?=(?:\d{3})++(?!\d))|\d{3})";
// A search that starts inside of a number (\G) goes on with one that has been found to be whole.
constexpr Pattern kTinyAyaDigits = R"((?<!\d)\d{1,3}(?=(?:\d{3})*+\b)|\G(?<=\d)\d{3})";
constexpr Pattern kDigit = R"(\p{N})";
constexpr Pattern kDigits = R"(\p{N}++)";
constexpr Pattern kThreeDigits = R"(\p{N}{1,3})";
constexpr Pattern kThreeAsciiDigits = R"([0-9][0-9][0-9])";
constexpr Pattern kNewline = R"([\r\n])";
constexpr Pattern kLines = R"([^\n]++|\n++)";
constexpr Pattern kBloom =
    R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]++)";

constexpr Pattern kDefaultSet[] = {R"([\p{P}\$+<=>\^~|]++)", kGpt2, kDigits, kThreeAsciiDigits};
constexpr Pattern kGpt2Set[] = {kGpt2};
constexpr Pattern kStarcoderSet[] = {kDigit, kGpt2};
constexpr Pattern kFalconSet[] = {R"([\p{P}\$+<=>\^~|`]++)", kGpt2, kThreeAsciiDigits};
constexpr Pattern kLlama3Set[] = {kLlama3};
constexpr Pattern kJais2Set[] = {kJais2};
constexpr Pattern kQwen2Set[] = {kQwen2};
constexpr Pattern kQwen35Set[] = {kQwen35};
constexpr Pattern kMiniCpm5Set[] = {kThreeDigits, kMiniCpm5};
constexpr Pattern kDeepSeekLlmSet[] = {kNewline, kDeepSeekLetters, kDeepSeekPunctuation,
                                       R"(\s+\z)", kDeepSeekCjk, kDigits};
constexpr Pattern kDeepSeekCoderSet[] = {kNewline, R"(\s?\p{L}++)", R"(\s?\p{P}++)", kDeepSeekCjk,
                                         kDigit};
constexpr Pattern kDeepSeek3Set[] = {kThreeDigits, kHanAndKana, kDeepSeek3Words};
constexpr Pattern kSpark25Set[] = {kThreeDigits, kHanAndKana, kSpark25Words, kDigit};
constexpr Pattern kYoutuSet[] = {kYoutuScripts, kYoutuWords};
constexpr Pattern kBloomSet[] = {kBloom};
constexpr Pattern kVikingSet[] = {kBloom, kDigit};
constexpr Pattern kTekkenSet[] = {kTekken};
constexpr Pattern kChameleonSet[] = {R"(<sentinel:[0-9]+>)", R"(IMGIMG[A-I]{1,4}Z)",
                                     R"([\t\n]|    |  )", kDigit, R"([\p{P}!-/:-@\[-`{-~])", kGpt2};
constexpr Pattern kGpt4oSet[] = {kGpt4o};
constexpr Pattern kGranite97mSet[] = {kGranite97m};
constexpr Pattern kTinyAyaSet[] = {kTinyAyaDigits, kTinyAyaWords};
constexpr Pattern kKimiK2Set[] = {kKimiK2};
constexpr Pattern kSuperBpeSet[] = {kDigits, kSuperBpeDigits};
constexpr Pattern kBailingSet[] = {kBailing};
constexpr Pattern kSeedCoderSet[] = {kSeedCoder};
constexpr Pattern kUfakzekaSet[] = {kUfakzeka};
constexpr Pattern kAfmoeSet[] = {kAfmoeDigits, kAfmoeScripts, kDeepSeek3Words};
constexpr Pattern kLagunaSet[] = {kLines, kQwen2};
constexpr Pattern kExaoneMoeSet[] = {kExaoneMoe};
constexpr Pattern kLinesSet[] = {kLines};

constexpr PreRule kRules[] = {
    {.names = "default", .patterns = kDefaultSet},
    {.names = "minicpm5", .patterns = kMiniCpm5Set, .ignore_merges = true},
    {.names = "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
     .patterns = kLlama3Set, .ignore_merges = true, .add_bos = true},
    {.names = "deepseek-llm", .patterns = kDeepSeekLlmSet, .keep_spaces = true},
    {.names = "deepseek-coder", .patterns = kDeepSeekCoderSet, .keep_spaces = true},
    {.names = "deepseek-v3 hunyuan-dense hy_v4 joyai-llm", .patterns = kDeepSeek3Set,
     .keep_spaces = true},
    {.names = "spark2_5", .patterns = kSpark25Set, .keep_spaces = true},
    {.names = "youtu", .patterns = kYoutuSet, .ignore_merges = true, .keep_spaces = true},
    {.names = "falcon", .patterns = kFalconSet},
    {.names = "starcoder refact codeshell exaone minerva-7b mellum2", .patterns = kStarcoderSet},
    {.names = "command-r smollm", .patterns = kStarcoderSet, .keep_spaces = true},
    {.names = "gpt-2 phi-2 jina-es jina-de gigachat jina-v2-es jina-v2-de a.x-4.0 mellum "
              "modern-bert jina-v1-en jina-v2-code roberta-bpe mpt olmo jais exaone4",
     .patterns = kGpt2Set},
    {.names = "trillion granite-docling", .patterns = kGpt2Set, .keep_spaces = true},
    {.names = "jais-2", .patterns = kJais2Set},
    {.names = "gemma4 granite-embed-multi-311m", .patterns = kLinesSet, .always_add_bos = true,
     .raw_text = true, .escape_spaces = true, .whole_newlines = true},
    {.names = "sarvam-moe", .patterns = kLinesSet, .keep_spaces = true, .raw_text = true,
     .escape_spaces = true},
    {.names = "qwen2 deepseek-r1-qwen kormo f2llmv2 hunyuan solar-open grok-2",
     .patterns = kQwen2Set, .keep_spaces = true},
    {.names = "stablelm2 megrez", .patterns = kQwen2Set},
    {.names = "qwen35", .patterns = kQwen35Set, .keep_spaces = true},
    {.names = "dbrx smaug-bpe", .patterns = kLlama3Set},
    {.names = "glm4 chatglm-bpe", .patterns = kLlama3Set, .no_default_bos = true},
    {.names = "bloom gpt3-finnish", .patterns = kBloomSet},
    {.names = "poro-chat", .patterns = kBloomSet, .keep_spaces = true},
    {.names = "viking", .patterns = kVikingSet, .keep_spaces = true},
    {.names = "tekken", .patterns = kTekkenSet, .ignore_merges = true, .add_bos = true,
     .keep_spaces = true},
    {.names = "exaone-moe", .patterns = kExaoneMoeSet},
    {.names = "chameleon", .patterns = kChameleonSet, .add_bos = true, .keep_spaces = true},
    {.names = "gpt-4o llama4 kanana2 talkie minimax-m2", .patterns = kGpt4oSet,
     .keep_spaces = true},
    {.names = "granite-embed-multi-97m", .patterns = kGranite97mSet, .ignore_merges = true,
     .keep_spaces = true},
    {.names = "tiny_aya cohere2moe", .patterns = kTinyAyaSet, .keep_spaces = true},
    {.names = "superbpe", .patterns = kSuperBpeSet, .keep_spaces = true},
    {.names = "bailingmoe bailingmoe2 llada-moe", .patterns = kBailingSet, .keep_spaces = true},
    {.names = "seed-coder", .patterns = kSeedCoderSet, .keep_spaces = true},
    {.names = "kimi-k2", .patterns = kKimiK2Set, .keep_spaces = true},
    {.names = "ufakzeka", .patterns = kUfakzekaSet, .keep_spaces = true},
    {.names = "afmoe", .patterns = kAfmoeSet, .keep_spaces = true},
    {.names = "laguna", .patterns = kLagunaSet, .keep_spaces = true},
};
// clang-format on

bool Lists(std::string_view names, std::string_view name) {
  while (!names.empty()) {
    const size_t space = names.find(' ');
    if (names.substr(0, space) == name) return true;
    if (space == std::string_view::npos) break;
    names.remove_prefix(space + 1);
  }
  return false;
}

}  // namespace

std::span<const PreRule> PreRules() { return kRules; }

const PreRule* FindPreRule(std::string_view name) {
  for (const PreRule& rule : kRules) {
    if (Lists(rule.names, name)) return &rule;
  }
  return nullptr;
}

}  // namespace quern::converters
