#include "converters/tokenizer/tokenizer_classes.h"

#include <algorithm>

namespace quern::converters {
namespace {

constexpr std::string_view kEndOfText = "bos=<|endoftext|> eos=<|endoftext|> unk=<|endoftext|>";
constexpr std::string_view kLlamaTokens = "bos=<s> eos=</s> unk=<unk>";
constexpr std::string_view kByteLevel =
    R"({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true})";
constexpr std::string_view kQwen2Split =
    R"({"type": "Sequence", "pretokenizers": [
        {"type": "Split", "behavior": "Isolated", "invert": false, "pattern": {"Regex":
         "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]})";
constexpr std::string_view kNfc = R"({"type": "NFC"})";

// transformers/models/*/tokenization_*_fast.py and convert_slow_tokenizer.py.
constexpr TokenizerClassInfo kClasses[] = {
    {"GPT2Tokenizer", "gpt2 gpt_bigcode gptj gpt_neo starcoder2 opt", kEndOfText, false, false, "",
     kByteLevel},
    {"CodeGenTokenizer", "phi codegen", kEndOfText, false, false, "", kByteLevel},
    {"GPTNeoXTokenizer", "gpt_neox olmo mpt", kEndOfText, true, false, "", ""},
    {"Qwen2Tokenizer", "qwen2 qwen2_moe qwen3 qwen3_moe",
     "eos=<|endoftext|> unk=<|endoftext|> pad=<|endoftext|>", false, false, kNfc, kQwen2Split},
    {"RobertaTokenizer", "roberta",
     "bos=<s> eos=</s> sep=</s> cls=<s> unk=<unk> pad=<pad> mask=<mask>", false, false, "",
     kByteLevel},
    {"LlamaTokenizer", "llama mistral mixtral", kLlamaTokens, true, true, "", ""},
    {"CodeLlamaTokenizer", "code_llama", kLlamaTokens, true, true, "", ""},
    {"GemmaTokenizer", "gemma gemma2 gemma3 gemma3_text", "bos=<bos> eos=<eos> unk=<unk> pad=<pad>",
     true, true, "", ""},
    {"CohereTokenizer", "cohere cohere2", "bos=<BOS_TOKEN> eos=<|END_OF_TURN_TOKEN|> unk=<UNK>",
     true, true, "", ""},
    {"BloomTokenizer", "bloom", "bos=<s> eos=</s> unk=<unk> pad=<pad>", false, false, "", ""},
};

}  // namespace

const TokenizerClassInfo* FindTokenizerClass(std::string_view name) {
  if (name.ends_with("Fast")) name.remove_suffix(4);
  const auto* found = std::find_if(std::begin(kClasses), std::end(kClasses),
                                   [&](const auto& entry) { return entry.name == name; });
  return found == std::end(kClasses) ? nullptr : found;
}

const TokenizerClassInfo* FindTokenizerClassOfModel(std::string_view model_type) {
  if (model_type.empty()) return nullptr;
  for (const TokenizerClassInfo& entry : kClasses) {
    std::string_view types = entry.model_types;
    while (!types.empty()) {
      const size_t end = std::min(types.find(' '), types.size());
      if (types.substr(0, end) == model_type) return &entry;
      types.remove_prefix(std::min(end + 1, types.size()));
    }
  }
  return nullptr;
}

}  // namespace quern::converters
