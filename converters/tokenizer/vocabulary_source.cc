#include "converters/tokenizer/vocabulary_source.h"

#include <fmt/format.h>

#include <memory>
#include <utility>

#include "converters/tokenizer/ggml_vocabulary.h"
#include "formats/core/error.h"
#include "formats/huggingface/side_files.h"
#include "formats/reader.h"

namespace quern::converters {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPrefix = "tokenizer.";

// Tokenizer files without weights.
class TokenizerFolder : public ModelSource {
 public:
  TokenizerFolder(const fs::path& path, SideFiles files) : ModelSource(path) {
    side_files_ = std::move(files);
    config_ = formats::huggingface::ReadConfig(side_files_);
  }
  std::string_view format() const override { return "tokenizer"; }
};

bool IsTokenizerFile(const std::string& name) {
  return name.ends_with("tokenizer.model") || name.ends_with("tokenizer.json");
}

std::unique_ptr<ModelSource> Open(const fs::path& path) {
  if (fs::is_directory(path)) {
    return std::make_unique<TokenizerFolder>(path, formats::huggingface::FindSideFiles(path));
  }
  const std::string name = path.filename().string();
  if (fs::exists(path) && IsTokenizerFile(name)) {
    const std::string known = name.ends_with(".json") ? "tokenizer.json" : "tokenizer.model";
    return std::make_unique<TokenizerFolder>(path, SideFiles{{known, path}});
  }
  return formats::OpenModel(path);
}

void RemoveTokenizer(Metadata& metadata) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : metadata.entries()) {
    if (key.starts_with(kPrefix)) keys.push_back(key);
  }
  for (const std::string& key : keys) metadata.Remove(key);
}

}  // namespace

void TakeTokenizer(const fs::path& path, const TokenizerOptions& options, Metadata& metadata,
                   std::vector<std::string>& notes) {
  const auto source = Open(path);
  RemoveTokenizer(metadata);
  if (source->layout() == "gguf") {
    for (const auto& [key, value] : source->metadata().entries()) {
      if (key.starts_with(kPrefix)) metadata.Append(key, value);
    }
  } else if (source->layout() == "ggml") {
    AddGgmlVocabulary(*source, metadata, notes);
  } else {
    TokenizerOptions own = options;
    own.vocab_size = 0;  // its own size, or a foreign vocabulary would be padded or cut to fit
    if (own.kind == "ggml") own.kind = "auto";  // what the model has in place of files
    AddTokenizerMetadata(*source, own, metadata, notes);
  }
  const Array* tokens = metadata.Get<Array>("tokenizer.ggml.tokens");
  if (!tokens) {
    throw Error(ErrorCode::kMissing, {path.string(), {}, "tokenizer.ggml.tokens"},
                "there is no vocabulary here; name another source with --vocab-from");
  }
  if (options.vocab_size != 0 && tokens->size() != options.vocab_size) {
    throw Error(ErrorCode::kMismatch, {path.string(), {}, "tokenizer.ggml.tokens"},
                fmt::format("{} tokens, and the model has {}; the vocabulary is another model's",
                            tokens->size(), options.vocab_size));
  }
}

}  // namespace quern::converters
