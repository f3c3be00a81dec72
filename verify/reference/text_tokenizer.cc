#include "verify/reference/text_tokenizer.h"

#include "converters/tokenizer/hf_encoder.h"
#include "formats/core/error.h"

namespace quern::verify {
namespace {

class JsonTokenizer : public TextTokenizer {
 public:
  explicit JsonTokenizer(const std::filesystem::path& path)
      : encoder_(formats::huggingface::ReadTokenizerJson(path)) {}

  std::vector<int32_t> Encode(std::string_view text, bool add_special) const override {
    const auto ids = encoder_.Encode(text, add_special);
    return {ids.begin(), ids.end()};
  }

 private:
  converters::HfEncoder encoder_;
};

}  // namespace

std::unique_ptr<TextTokenizer> MakeTextTokenizer(const ReferenceModel& model) {
  const SideFiles& files = model.source->side_files();
  const auto json = files.find("tokenizer.json");
  if (json == files.end()) {
    throw Error(ErrorCode::kUnsupported, {model.source->path().string(), {}, {}},
                "text can be tokenized only with a tokenizer.json beside the weights; give the "
                "text's ids with --token-ids FILE");
  }
  return std::make_unique<JsonTokenizer>(json->second);
}

}  // namespace quern::verify
