// Ids of the encoder against Hugging Face's JavaScript tokenizer, for every real tokenizer.json.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "converters/tokenizer/hf_encoder.h"
#include "converters/tokenizer/pre_hashes.h"
#include "formats/core/file.h"
#include "formats/core/json.h"
#include "formats/huggingface/tokenizer_json.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

namespace fs = std::filesystem;

// The node_modules folder that @huggingface/tokenizers may be in: beside the oracle's libraries
// (.../node_modules/@node-llama-cpp/linux-x64/bins/linux-x64), or $QUERN_NODE_MODULES.
std::optional<fs::path> NodeModules() {
  if (const char* folder = std::getenv("QUERN_NODE_MODULES")) return fs::path(folder);
  const auto oracle = testing::OracleLibraries();
  if (!oracle) return std::nullopt;
  return oracle->parent_path().parent_path().parent_path().parent_path();
}

constexpr std::string_view kStress[] = {
    "",
    " ",
    "  ",
    "a",
    " a",
    "a ",
    "\n",
    "\r\n\r\n x\t\ty",
    "don't I'LL we'Ve 'tis",
    "1 12 123 1234 12345 3.14 \u0661\u0662\u0663 \u00bd \u2167",
    "caf\u00e9 cafe\u0301 \u212b \ufb01 \uff21\uff22",
    "\u4f60\u597d\u4e16\u754c\u3001\u3053\u3093\u306b\u3061\u306f\u3002\uc548\ub155",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd \u0939\u093f\u0928\u094d\u0926\u0940",
    "<|endoftext|>x <|endoftext|> <s>a</s> <unk> <pad> <mask>",
    "x<|im_start|>user\nhi<|im_end|>",
    "                                        deep",
    "a\u00a0b\u3000c\u2009d",
    "!!!???...,,,;;;",
    "http://example.com/?q=a&b=c#d",
    "if (x != 0) { return x->y[3]; } // done",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "\u2581already \u2581marked\u0120too",
    "tab\there\vvertical\fform",
    "\u0130stanbul \u1e9e",
    "\u0001\u0002 control",
    "end of text   "};

// Lines of the first 200 KB of WikiText and the whole of it, the check text, and hard cases.
Json Texts(const fs::path& wiki) {
  Json texts = Json::array();
  for (const std::string_view text : kStress) texts.push_back(text);
  texts.push_back(kPreCheckText);
  std::string text = ReadTextFile(wiki, uint64_t{16} << 20).substr(0, 200'000);
  text.resize(text.rfind('\n') + 1);
  for (size_t at = 0; at < text.size();) {
    const size_t end = text.find('\n', at) + 1;
    texts.push_back(text.substr(at, end - at));
    at = end;
  }
  texts.push_back(text);
  return texts;
}

// Where the JavaScript library is known to differ from the Rust library, which defines what is
// right: its Digits knows ASCII digits only (Rust: char::is_numeric, which counts among the
// characters of byte-level BPE those for 0xB2, 0xB3, 0xB9, 0xBC, ...).
bool OracleErrs(const Json& pre_tokenizer, const std::string& text) {
  const bool digits = pre_tokenizer.dump().find("\"Digits\"") != std::string::npos;
  return digits && std::any_of(text.begin(), text.end(), [](char c) { return (c & 0x80) != 0; });
}

// A real vocabulary and the steps around it, changed or not.
struct Case {
  std::string name;
  std::string folder;  // below shared/fixtures
  Json steps = Json::object();
};

Json Split(std::string_view pattern, std::string_view behavior = "Isolated") {
  return {{"type", "Split"},
          {"pattern", {{"Regex", pattern}}},
          {"behavior", behavior},
          {"invert", false}};
}

Json Bytes(bool regex, bool prefix = false) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", prefix},
          {"trim_offsets", true},
          {"use_regex", regex}};
}

Json PreTokenizers(Json list) {
  return {{"pre_tokenizer", {{"type", "Sequence"}, {"pretokenizers", std::move(list)}}}};
}

// The pre-tokenizers of other families over GPT-2's vocabulary.
std::vector<Case> Cases() {
  const std::string gpt2 = "hf/gpt2-tiny-0.8M";
  const Json digits = {{"type", "Digits"}, {"individual_digits", true}};
  std::vector<Case> cases;
  for (const char* name :
       {"llama-2-7b", "mistral-7b", "phi-1.5-2", "pythia-410m", "roberta", "smollm2"})
    cases.push_back({name, std::string("tokenizers/") + name});
  cases.push_back({"gpt2-tiny", gpt2});
  cases.push_back(
      {"llama3", gpt2,
       PreTokenizers(
           {Split(
                R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
            Bytes(false)})});
  cases.push_back(
      {"qwen2", gpt2,
       PreTokenizers(
           {Split(
                R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
            Bytes(false)})});
  cases.back().steps["normalizer"] = {{"type", "NFC"}};
  cases.push_back(
      {"tekken", gpt2,
       PreTokenizers(
           {Split(
                R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
            Bytes(false)})});
  cases.push_back(
      {"deepseek-v3", gpt2,
       PreTokenizers(
           {Split(R"(\p{N}{1,3})"), Split("[一-龥぀-ゟ゠-ヿ]+"),
            Split(
                R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"),
            Bytes(false)})});
  cases.push_back({"deepseek-coder", gpt2,
                   PreTokenizers({Split("[\r\n]"), Split(R"(\s?\p{L}+)"), Split(R"(\s?\p{P}+)"),
                                  Split("[一-龥ࠀ-一가-퟿]+"), digits, Bytes(false)})});
  cases.push_back({"falcon", gpt2,
                   PreTokenizers({{{"type", "Punctuation"}, {"behavior", "Contiguous"}},
                                  Bytes(true),
                                  {{"type", "Digits"}, {"individual_digits", false}},
                                  Split("[0-9][0-9][0-9]")})});
  cases.push_back({"merged-with-previous", gpt2,
                   PreTokenizers({Split(R"(\s)", "MergedWithPrevious"), Bytes(false)})});
  cases.push_back({"removed", gpt2, PreTokenizers({Split(R"(\s+)", "Removed"), Bytes(false)})});
  cases.push_back({"prefix-space", gpt2, PreTokenizers({Bytes(true, true)})});
  cases.push_back({"lower", gpt2, {{"normalizer", {{"type", "Lowercase"}}}}});
  cases.push_back({"nfkc", gpt2, {{"normalizer", {{"type", "NFKC"}}}}});
  cases.push_back({"nfd-strip",
                   gpt2,
                   {{"normalizer",
                     {{"type", "Sequence"},
                      {"normalizers", {{{"type", "NFD"}}, {{"type", "StripAccents"}}}}}}}});
  cases.push_back({"metaspace",
                   "tokenizers/llama-2-7b",
                   {{"normalizer", nullptr},
                    {"pre_tokenizer",
                     {{"type", "Metaspace"},
                      {"replacement", "\u2581"},
                      {"prepend_scheme", "always"},
                      {"split", false}}}}});
  return cases;
}

class HfEncoderOracleSlow : public ::testing::TestWithParam<Case> {};

TEST_P(HfEncoderOracleSlow, GivesTheIdsOfHuggingFace) {
  const auto fixtures = testing::Shared("fixtures");
  const auto modules = NodeModules();
  if (!fixtures) GTEST_SKIP() << "no shared/fixtures beside this clone";
  if (!modules) GTEST_SKIP() << "no node_modules: set QUERN_NODE_MODULES";
  const testing::TempFolder temp;
  Json json = ReadJsonFile(*fixtures / GetParam().folder / "tokenizer.json");
  json.update(GetParam().steps);
  const fs::path tokenizer_file = temp.Write("tokenizer.json", json.dump());
  const Json texts = Texts(*fixtures / "text/wiki.test.raw");
  const fs::path text_file = temp.Write("texts.json", texts.dump());
  const fs::path id_file = temp.path() / "ids.json";
  const std::string command = fmt::format(
      "node '{}/tests/conformance/hf_tokenizer_ids.mjs' '{}' '{}' '{}' > '{}' 2>/dev/null",
      QUERN_SOURCE_DIR, modules->string(), temp.path().string(), text_file.string(),
      id_file.string());
  if (std::system(command.c_str()) != 0) GTEST_SKIP() << "node or @huggingface/tokenizers missing";

  const HfEncoder encoder(formats::huggingface::ReadTokenizerJson(tokenizer_file));
  const Json expected = ReadJsonFile(id_file);
  ASSERT_EQ(expected.size(), texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    if (OracleErrs(json["pre_tokenizer"], text)) continue;
    EXPECT_EQ(encoder.Encode(text), expected[i].get<std::vector<TokenId>>())
        << "text " << i << ": " << Printable(text);
  }
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, HfEncoderOracleSlow, ::testing::ValuesIn(Cases()),
                         [](const auto& instance) {
                           std::string name = instance.param.name;
                           for (char& c : name) c = c == '-' || c == '.' ? '_' : c;
                           return name;
                         });

}  // namespace
}  // namespace quern::converters
