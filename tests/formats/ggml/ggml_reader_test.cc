#include "formats/ggml/ggml_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "formats/ggml/ggml_header.h"
#include "tests/support/fixtures.h"
#include "tests/support/ggml_files.h"

namespace quern::formats::ggml {
namespace {

using testing::ErrorOf;
using testing::GgmlFile;
using testing::GgmlLlama;
using testing::GgmlRwkv;
using testing::GgmlWhisper;
using ::testing::HasSubstr;
using testing::TempFolder;

Header Parse(const std::string& bytes) {
  ByteReader reader({reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "old.bin");
  return ParseHeader(reader);
}

ErrorCode CodeOf(const GgmlFile& file) {
  return ErrorOf([&] { Parse(file.Build()); }).code();
}

TEST(GgmlReader, ReadsEveryContainerOfLlama) {
  struct Case {
    const char* magic;
    std::optional<uint32_t> version;
    const char* container;
  };
  for (const auto& [magic, version, container] :
       {Case{"lmgg", {}, "GGML"}, Case{"fmgg", 1, "GGMF"}, Case{"tjgg", 1, "GGJT"},
        Case{"tjgg", 2, "GGJT"}, Case{"tjgg", 3, "GGJT"}}) {
    const GgmlFile file = GgmlLlama(magic, version);
    const std::string bytes = file.Build();
    const Header header = Parse(bytes);
    EXPECT_EQ(header.model, Model::kLlama);
    EXPECT_EQ(header.container, container);
    EXPECT_EQ(header.version, version.value_or(0));
    EXPECT_EQ(header.hyperparameters["n_head"], 4);
    EXPECT_EQ(header.has_scores, version.has_value());
    ASSERT_EQ(header.tokens.size(), file.tokens.size());
    EXPECT_EQ(header.tokens[299].text, " word299");
    EXPECT_EQ(header.tokens[299].score, version ? -299.0f : 0.0f);
    ASSERT_EQ(header.tensors.size(), file.tensors.size());
    for (size_t i = 0; i < file.tensors.size(); ++i) {
      const TensorInfo& tensor = header.tensors[i];
      EXPECT_EQ(tensor.name, file.tensors[i].name);
      EXPECT_EQ(bytes.substr(tensor.offset, tensor.bytes), file.tensors[i].data);
      if (header.container == "GGJT") {
        EXPECT_EQ(tensor.offset % kAlignment, 0u);
      }
    }
    EXPECT_EQ(header.tensors[0].shape, (Shape{300, 64}));
  }
}

TEST(GgmlReader, OpensAsAModelByContent) {
  const TempFolder folder;
  const GgmlFile file = GgmlLlama("tjgg", 3, 8);
  const auto path = folder.Write("model.whatever", file.Build());
  const auto source = OpenModel(path);
  EXPECT_EQ(source->format(), "ggml");
  EXPECT_EQ(source->layout(), "ggml");
  EXPECT_EQ(source->config()["model_type"], "llama");
  EXPECT_EQ(source->metadata().GetString("ggml.container"), "GGJT");
  EXPECT_EQ(source->metadata().GetInteger("ggml.version"), 3);
  const TensorInfo* tensor = source->FindTensor("layers.1.feed_forward.w2.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->type, TensorType::kQ8_0);
  std::vector<uint8_t> bytes(tensor->bytes);
  source->Read(*tensor, 0, bytes);
  EXPECT_TRUE(std::string(bytes.begin(), bytes.end()) == file.tensors[18].data);
}

TEST(GgmlReader, RecognizesWhisper) {
  const Header header = Parse(GgmlWhisper().Build());
  EXPECT_EQ(header.model, Model::kWhisper);
  EXPECT_EQ(header.hyperparameters["n_audio_ctx"], 1500);
  EXPECT_EQ(header.tokens.size(), 4u);
  EXPECT_EQ(header.tensors.at(0).name, "encoder.conv1.bias");
}

TEST(GgmlReader, RecognizesRwkv) {
  const Header header = Parse(GgmlRwkv().Build());
  EXPECT_EQ(header.model, Model::kRwkv);
  EXPECT_EQ(header.hyperparameters["n_embd"], 4);
  EXPECT_EQ(header.tensors.at(0).shape, (Shape{3, 4}));
}

// Which block types each container may hold: those whose bytes mean today what they meant then.
TEST(GgmlReader, RefusesBlockLayoutsOfThePast) {
  struct Case {
    uint32_t type;
    uint32_t first_version;  // of GGJT
  };
  for (const auto& [type, first_version] :
       {Case{0, 1}, Case{1, 1}, Case{2, 3}, Case{3, 3}, Case{6, 2}, Case{7, 2}, Case{8, 3}}) {
    for (uint32_t version = 1; version <= 3; ++version) {
      const std::string bytes = GgmlLlama("tjgg", version, type).Build();
      if (version >= first_version) {
        EXPECT_NO_THROW(Parse(bytes)) << type << " in version " << version;
      } else {
        const Error error = ErrorOf([&] { Parse(bytes); });
        EXPECT_EQ(error.code(), ErrorCode::kUnsupported) << type << " in version " << version;
        EXPECT_THAT(error.what(), HasSubstr("laid out in another way"));
      }
    }
  }
  EXPECT_EQ(CodeOf(GgmlLlama("lmgg", {}, 2)), ErrorCode::kUnsupported);
  EXPECT_EQ(CodeOf(GgmlLlama("fmgg", 1, 6)), ErrorCode::kUnsupported);
  GgmlFile rwkv = GgmlRwkv(100);
  rwkv.tensors[0].dims = {32, 1};
  rwkv.tensors[0].type = 7;  // Q5_0 in rwkv.cpp's numbering
  rwkv.tensors[0].data = std::string(22, '\1');
  EXPECT_EQ(CodeOf(rwkv), ErrorCode::kUnsupported);
  rwkv.version = 101;
  EXPECT_EQ(Parse(rwkv.Build()).tensors[0].type, TensorType::kQ5_0);
}

TEST(GgmlReader, RefusesOtherProgramsAndAdapters) {
  GgmlFile gpt2{.magic = "lmgg", .version = {}};
  gpt2.numbers = {50257, 1024, 768, 12, 12, 1, 50257};  // n_vocab n_ctx n_embd n_head n_layer ftype
  EXPECT_EQ(CodeOf(gpt2), ErrorCode::kUnsupported);
  EXPECT_EQ(ErrorOf([] { Parse("algg\1\0\0\0"); }).code(), ErrorCode::kUnsupported);
}

TEST(GgmlReader, RefusesVersionsThatDoNotExist) {
  for (const uint32_t version : {0u, 4u, 0x80000000u}) {
    EXPECT_EQ(CodeOf(GgmlLlama("tjgg", version)), ErrorCode::kBadVersion) << version;
  }
  for (const uint32_t version : {0u, 2u, 102u}) {
    EXPECT_EQ(CodeOf(GgmlLlama("fmgg", version)), ErrorCode::kBadVersion) << version;
  }
}

// Every cut of a file must fail, but for those between two tensors, where a file may end.
TEST(GgmlReader, RefusesTruncationAtEveryByte) {
  for (GgmlFile file : {GgmlLlama("tjgg", 3, 0, {270, 4, 2, 1, 1, 4}), GgmlWhisper(), GgmlRwkv()}) {
    const std::string bytes = file.Build();
    std::vector<size_t> ends;
    while (true) {
      ends.push_back(file.Build().size());
      if (file.tensors.empty()) break;
      file.tensors.pop_back();
    }
    for (size_t size = 0; size < bytes.size(); ++size) {
      if (std::find(ends.begin(), ends.end(), size) != ends.end()) continue;
      const Error error = ErrorOf([&] { Parse(bytes.substr(0, size)); });
      ASSERT_EQ(ErrorCodeName(error.code()), ErrorCodeName(ErrorCode::kTruncated)) << size;
    }
  }
}

TEST(GgmlReader, RefusesHostileFields) {
  struct Case {
    const char* what;
    ErrorCode code;
    std::function<void(GgmlFile&)> damage;
  };
  const std::vector<Case> cases = {
      {"vocabulary beyond the limit", ErrorCode::kLimitExceeded,
       [](GgmlFile& f) { f.numbers[0] = 0xffffffff; }},
      {"vocabulary beyond the file", ErrorCode::kTruncated,
       [](GgmlFile& f) { f.numbers[0] = kMaxVocabulary; }},
      {"no heads", ErrorCode::kBadValue, [](GgmlFile& f) { f.numbers[3] = 0; }},
      {"no embedding", ErrorCode::kBadValue, [](GgmlFile& f) { f.numbers[1] = f.numbers[5] = 0; }},
      {"rotary dimensions of another model", ErrorCode::kBadValue,
       [](GgmlFile& f) { f.numbers[5] = 1; }},
      {"token length", ErrorCode::kLimitExceeded, [](GgmlFile& f) { f.token_length = 0xffffffff; }},
      {"no dimensions", ErrorCode::kBadShape, [](GgmlFile& f) { f.tensors[0].n_dims = 0; }},
      {"five dimensions", ErrorCode::kBadShape, [](GgmlFile& f) { f.tensors[0].n_dims = 5; }},
      {"2^32-1 dimensions", ErrorCode::kBadShape,
       [](GgmlFile& f) { f.tensors[0].n_dims = 0xffffffff; }},
      {"a dimension of zero", ErrorCode::kBadShape, [](GgmlFile& f) { f.tensors[0].dims[1] = 0; }},
      {"a product that wraps", ErrorCode::kBadShape,
       [](GgmlFile& f) {
         f.tensors[0].dims = {0x80000000, 0x80000000, 4};
       }},
      {"a product beyond the file", ErrorCode::kTruncated,
       [](GgmlFile& f) {
         f.tensors[0].dims = {0xffffffff, 2};
       }},
      {"rows of no whole blocks", ErrorCode::kBadShape,
       [](GgmlFile& f) {
         f.tensors[0].type = 8;
         f.tensors[0].dims = {33, 2};
       }},
      {"no name", ErrorCode::kLimitExceeded, [](GgmlFile& f) { f.tensors[0].name_bytes = 0; }},
      {"a name beyond the limit", ErrorCode::kLimitExceeded,
       [](GgmlFile& f) { f.tensors[0].name_bytes = 0xffffffff; }},
      {"a name that is no text", ErrorCode::kBadText,
       [](GgmlFile& f) { f.tensors[0].name = "\xff\xfe"; }},
      {"a name with a zero", ErrorCode::kBadText,
       [](GgmlFile& f) { f.tensors[0].name = std::string("a\0b", 3); }},
      {"an unknown type", ErrorCode::kBadType, [](GgmlFile& f) { f.tensors[0].type = 99; }},
      {"Q4_2, which was given up", ErrorCode::kBadType, [](GgmlFile& f) { f.tensors[0].type = 4; }},
      {"another magic", ErrorCode::kBadMagic, [](GgmlFile& f) { f.magic = "GGUF"; }},
  };
  for (const Case& test : cases) {
    GgmlFile file = GgmlLlama("tjgg", 3, 0, {270, 32, 2, 1, 1, 32});
    test.damage(file);
    EXPECT_EQ(ErrorCodeName(CodeOf(file)), ErrorCodeName(test.code)) << test.what;
  }
}

TEST(GgmlReader, RefusesWhisperFiltersBeyondTheFile) {
  GgmlFile file = GgmlWhisper();
  file.filters[4] = file.filters[5] = file.filters[6] = file.filters[7] = '\xff';
  EXPECT_EQ(CodeOf(file), ErrorCode::kTruncated);
  file = GgmlWhisper();
  file.filters[0] = 7;
  EXPECT_EQ(CodeOf(file), ErrorCode::kBadValue);
}

TEST(GgmlReader, RefusesATensorNamedTwice) {
  const TempFolder folder;
  GgmlFile file = GgmlRwkv();
  file.tensors.push_back(file.tensors[0]);
  const auto path = folder.Write("old.bin", file.Build());
  EXPECT_QUERN_ERROR(GgmlSource{path}, ErrorCode::kDuplicate);
}

TEST(GgmlReader, ReadsRealVocabularies) {
  QUERN_SHARED_OR_SKIP(shared, "fixtures/ggml-legacy");
  const GgmlSource ggjt(shared / "ggml-vocab.ggjt.bin"), ggmf(shared / "ggml-vocab.ggmf.bin");
  EXPECT_EQ(ggjt.metadata().GetString("ggml.container"), "GGJT");
  EXPECT_EQ(ggmf.metadata().GetString("ggml.container"), "GGMF");
  const Array* tokens = ggjt.metadata().Get<Array>("ggml.tokens");
  ASSERT_NE(tokens, nullptr);
  EXPECT_EQ(tokens->size(), 32000u);
  EXPECT_EQ(*tokens, *ggmf.metadata().Get<Array>("ggml.tokens"));
  EXPECT_TRUE(ggjt.tensors().empty());
}

TEST(GgmlReader, ReadsRealWhisperAndRwkvFiles) {
  QUERN_SHARED_OR_SKIP(shared, "fixtures/ggml-legacy");
  const GgmlSource whisper(shared / "for-tests-ggml-tiny.bin");
  EXPECT_EQ(whisper.config()["model_type"], "whisper");
  EXPECT_EQ(whisper.config()["n_mels"], 80);
  const GgmlSource f32(shared / "tiny-rwkv-4v0-660K-FP32.bin");
  const GgmlSource q5(shared / "tiny-rwkv-4v0-660K-Q5_0.bin");
  EXPECT_EQ(f32.config()["model_type"], "rwkv");
  ASSERT_EQ(f32.tensors().size(), q5.tensors().size());
  size_t quantized = 0;
  for (size_t i = 0; i < f32.tensors().size(); ++i) {
    EXPECT_EQ(f32.tensors()[i].name, q5.tensors()[i].name);
    EXPECT_EQ(f32.tensors()[i].shape, q5.tensors()[i].shape);
    quantized += q5.tensors()[i].type == TensorType::kQ5_0;
  }
  EXPECT_GT(quantized, 20u);
}

}  // namespace
}  // namespace quern::formats::ggml
