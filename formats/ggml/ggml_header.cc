#include "formats/ggml/ggml_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>

#include "formats/core/checked_math.h"
#include "formats/core/error.h"
#include "formats/core/tensor_type.h"
#include "formats/core/utf8.h"

namespace quern::formats::ggml {
namespace {

constexpr std::string_view kUnversioned = "lmgg";
constexpr std::string_view kGgmf = "fmgg";
constexpr std::string_view kGgjt = "tjgg";
constexpr std::string_view kLora = "algg";
constexpr uint64_t kMagicBytes = 4;

// The generation of block layouts that a file was written with: 0 the first, 1 since GGJT v2 (May
// 2023: order of nibbles), 2 since GGJT v3 (F16 scales) and until today.
constexpr uint32_t kTodaysLayouts = 2;

struct StoredType {
  uint32_t id;
  TensorType type;
  uint32_t since;  // generation
};
// enum ggml_type of 2023: the ids that never changed and the K types, which are younger than v3.
constexpr std::array kGgmlTypes = {
    StoredType{0, TensorType::kF32, 0},   StoredType{1, TensorType::kF16, 0},
    StoredType{2, TensorType::kQ4_0, 2},  StoredType{3, TensorType::kQ4_1, 2},
    StoredType{6, TensorType::kQ5_0, 1},  StoredType{7, TensorType::kQ5_1, 1},
    StoredType{8, TensorType::kQ8_0, 2},  StoredType{10, TensorType::kQ2_K, 2},
    StoredType{11, TensorType::kQ3_K, 2}, StoredType{12, TensorType::kQ4_K, 2},
    StoredType{13, TensorType::kQ5_K, 2}, StoredType{14, TensorType::kQ6_K, 2},
};
// rwkv.cpp numbers them differently.
constexpr std::array kRwkvTypes = {
    StoredType{0, TensorType::kF32, 0},  StoredType{1, TensorType::kF16, 0},
    StoredType{2, TensorType::kQ4_0, 2}, StoredType{3, TensorType::kQ4_1, 2},
    StoredType{7, TensorType::kQ5_0, 1}, StoredType{8, TensorType::kQ5_1, 1},
    StoredType{9, TensorType::kQ8_0, 2},
};

class HeaderParser {
 public:
  explicit HeaderParser(ByteReader& reader) : reader_(reader) {}

  Header Parse() {
    ReadMagic();
    switch (header_.model) {
      case Model::kLlama:
        ReadLlamaOrWhisper();
        break;
      case Model::kRwkv:
        ReadNumbers({"n_vocab", "n_embd", "n_layer", "ftype"});
        break;
      case Model::kWhisper:  // found behind the magic only
        break;
    }
    constexpr std::array kNames = {"llama", "whisper", "rwkv"};
    header_.hyperparameters["model_type"] = kNames[static_cast<size_t>(header_.model)];
    ReadTensors();
    return std::move(header_);
  }

 private:
  void ReadMagic();
  void ReadVersion();
  void ReadLlamaOrWhisper();
  void ReadWhisper();
  void ReadTokens(uint64_t count);
  void ReadTensors();
  TensorInfo ReadTensor(const std::string& field);
  TensorType FindType(uint32_t id, const Where& where) const;

  uint32_t ReadNumber(const char* field) {
    const auto value = reader_.Read<uint32_t>(field);
    header_.hyperparameters[field] = value;
    return value;
  }
  void ReadNumbers(std::initializer_list<const char*> fields) {
    for (const char* field : fields) ReadNumber(field);
  }
  uint64_t Number(const char* field) const { return header_.hyperparameters.value(field, 0U); }

  ByteReader& reader_;
  Header header_{.hyperparameters = Json::object()};
  uint32_t layouts_ = 0;  // generation
};

void HeaderParser::ReadMagic() {
  const uint64_t at = reader_.offset();
  const std::string magic = reader_.ReadString(kMagicBytes, "magic");
  const Where where{reader_.name(), at, "magic"};
  if (magic == kLora) {
    throw Error(ErrorCode::kUnsupported, where,
                "a LoRA adapter of before GGUF; make it again from the adapter's own files");
  }
  if (!LooksLikeGgml(magic)) {
    throw Error(ErrorCode::kBadMagic, where,
                fmt::format("the file begins with \"{}\"; it is no GGML file", Printable(magic)));
  }
  header_.container = magic == kUnversioned ? "GGML" : magic == kGgmf ? "GGMF" : "GGJT";
  if (magic != kUnversioned) ReadVersion();
}

void HeaderParser::ReadVersion() {
  constexpr uint32_t kRwkvFirst = 100, kRwkvSecond = 101;
  const bool ggjt = header_.container == "GGJT";
  const uint64_t at = reader_.offset();
  const auto version = header_.version = reader_.Read<uint32_t>("version");
  if (!ggjt && (version == kRwkvFirst || version == kRwkvSecond)) {
    header_.model = Model::kRwkv;
    layouts_ = version == kRwkvSecond ? kTodaysLayouts : 0;
    return;
  }
  if (version < 1 || version > (ggjt ? 3 : 1)) {
    throw Error(ErrorCode::kBadVersion, {reader_.name(), at, "version"},
                fmt::format("{} version {}; {} read, the file is damaged", header_.container,
                            version, ggjt ? "1 to 3 are" : "1 (LLaMA) and 100, 101 (RWKV) are"));
  }
  if (ggjt) layouts_ = version - 1;
}

// Both have the unversioned magic and begin with the vocabulary's size; what follows tells.
void HeaderParser::ReadLlamaOrWhisper() {
  const uint64_t at = reader_.offset();
  std::array<uint32_t, 7> numbers;
  for (auto& number : numbers) number = reader_.Read<uint32_t>("hyperparameters");
  const auto [n_vocab, n_embd, n_mult, n_head, n_layer, n_rot, ftype] = numbers;
  const bool llama =
      n_head > 0 && n_layer > 0 && n_embd > 0 && n_embd % n_head == 0 && n_rot == n_embd / n_head;
  if (llama) {
    header_.hyperparameters = {{"n_vocab", n_vocab}, {"n_embd", n_embd},   {"n_mult", n_mult},
                               {"n_head", n_head},   {"n_layer", n_layer}, {"n_rot", n_rot},
                               {"ftype", ftype}};
    header_.has_scores = header_.container != "GGML";
    ReadTokens(n_vocab);
    return;
  }
  const auto [vocabulary, audio_ctx, audio_state, audio_head, audio_layer, text_ctx, text_state] =
      numbers;
  if (header_.container == "GGML" && audio_head > 0 && audio_state % audio_head == 0 &&
      audio_state == text_state) {
    header_.hyperparameters = {{"n_vocab", vocabulary},        {"n_audio_ctx", audio_ctx},
                               {"n_audio_state", audio_state}, {"n_audio_head", audio_head},
                               {"n_audio_layer", audio_layer}, {"n_text_ctx", text_ctx},
                               {"n_text_state", text_state}};
    ReadWhisper();
    return;
  }
  const Where where{reader_.name(), at, "hyperparameters"};
  if (header_.container == "GGML") {
    throw Error(ErrorCode::kUnsupported, where,
                "neither a LLaMA nor a whisper model: many programs (GPT-2, GPT-J, MPT, ...) used "
                "this magic, each with its own header; convert the original model instead");
  }
  throw Error(ErrorCode::kBadValue, where,
              fmt::format("{} heads, {} rotary dimensions and an embedding of {} are no LLaMA "
                          "model's; the file is damaged",
                          n_head, n_rot, n_embd));
}

void HeaderParser::ReadWhisper() {
  header_.model = Model::kWhisper;
  ReadNumbers({"n_text_head", "n_text_layer", "n_mels", "ftype"});
  // Quantized files state the generation in the thousands.
  constexpr uint64_t kQuantizationFactor = 1000;
  layouts_ = static_cast<uint32_t>(
      std::min<uint64_t>(Number("ftype") / kQuantizationFactor, kTodaysLayouts));
  const uint64_t at = reader_.offset();
  const uint64_t mels = reader_.Read<uint32_t>("mel filters"),
                 width = reader_.Read<uint32_t>("mel filters");
  if (mels != Number("n_mels") || width == 0) {
    throw Error(ErrorCode::kBadValue, {reader_.name(), at, "mel filters"},
                fmt::format("{} filters of {} values, and n_mels is {}; if this is no whisper "
                            "model, convert the original instead, else the file is damaged",
                            mels, width, Number("n_mels")));
  }
  const uint64_t filters = mels * width;  // of 32-bit numbers
  reader_.Require(filters, sizeof(float), "mel filters");
  reader_.Skip(filters * sizeof(float), "mel filters");
  ReadTokens(reader_.Read<uint32_t>("token count"));
}

void HeaderParser::ReadTokens(uint64_t count) {
  if (count > kMaxVocabulary) {
    throw reader_.Fail(ErrorCode::kLimitExceeded, "n_vocab",
                       fmt::format("a vocabulary of {} tokens; at most {} are supported, the file "
                                   "is damaged",
                                   count, kMaxVocabulary));
  }
  reader_.Require(count, header_.has_scores ? 8 : 4, "n_vocab");
  for (uint64_t i = 0; i < count; ++i) {
    const std::string field = fmt::format("token {}", i);
    const auto length = reader_.Read<uint32_t>(field);
    if (length > kMaxTokenBytes) {
      throw reader_.Fail(ErrorCode::kLimitExceeded, field,
                         fmt::format("{} bytes; at most {} are supported, the file is damaged",
                                     length, kMaxTokenBytes));
    }
    Token token{.text = reader_.ReadString(length, field)};
    if (header_.has_scores) token.score = reader_.Read<float>(field);
    header_.tokens.push_back(std::move(token));
  }
}

void HeaderParser::ReadTensors() {
  while (reader_.remaining() > 0) {
    const std::string field = fmt::format("tensor {}", header_.tensors.size());
    if (header_.tensors.size() == kMaxTensors) {
      throw reader_.Fail(ErrorCode::kLimitExceeded, field,
                         fmt::format("at most {} tensors are supported", kMaxTensors));
    }
    header_.tensors.push_back(ReadTensor(field));
  }
}

TensorInfo HeaderParser::ReadTensor(const std::string& field) {
  const uint64_t at = reader_.offset();
  const auto dimensions = reader_.Read<uint32_t>(field);
  const auto name_bytes = reader_.Read<uint32_t>(field);
  const auto type = reader_.Read<uint32_t>(field);
  Where where{reader_.name(), at, field};
  if (dimensions == 0 || dimensions > kMaxDimensions) {
    throw Error(ErrorCode::kBadShape, where,
                fmt::format("{} dimensions instead of 1 to {}; the file is damaged", dimensions,
                            kMaxDimensions));
  }
  if (name_bytes == 0 || name_bytes > kMaxNameBytes) {
    throw Error(ErrorCode::kLimitExceeded, where,
                fmt::format("a name of {} bytes instead of 1 to {}; the file is damaged",
                            name_bytes, kMaxNameBytes));
  }
  TensorInfo tensor;
  for (uint32_t i = 0; i < dimensions; ++i) tensor.shape.push_back(reader_.Read<uint32_t>(field));
  std::reverse(tensor.shape.begin(), tensor.shape.end());
  tensor.name = reader_.ReadString(name_bytes, field);
  if (!IsValidUtf8(tensor.name) || tensor.name.find('\0') != std::string::npos) {
    throw Error(ErrorCode::kBadText, where, "the name is no text; the file is damaged");
  }
  where.subject = tensor.name;
  tensor.type = FindType(type, where);
  const auto bytes = TensorBytes(tensor.type, tensor.shape);
  if (!bytes || *bytes == 0) {
    throw Error(ErrorCode::kBadShape, where,
                fmt::format("the shape [{}] cannot be stored as {}; the file is damaged",
                            fmt::join(tensor.shape, ", "), Name(tensor.type)));
  }
  tensor.bytes = *bytes;
  if (header_.container == "GGJT") {
    reader_.Skip(AlignUp(reader_.offset(), kAlignment) - reader_.offset(), tensor.name);
  }
  tensor.offset = reader_.offset();
  reader_.Skip(tensor.bytes, tensor.name);
  return tensor;
}

TensorType HeaderParser::FindType(uint32_t id, const Where& where) const {
  const auto types = header_.model == Model::kRwkv ? std::span<const StoredType>(kRwkvTypes)
                                                   : std::span<const StoredType>(kGgmlTypes);
  const auto found =
      std::find_if(types.begin(), types.end(), [&](const auto& type) { return type.id == id; });
  if (found == types.end()) {
    throw Error(ErrorCode::kBadType, where,
                fmt::format("there is no readable tensor type {}; the file is damaged, or has a "
                            "type that was given up in 2023 (Q4_2, Q4_3)",
                            id));
  }
  if (layouts_ < found->since) {
    throw Error(ErrorCode::kUnsupported, where,
                fmt::format("{} blocks of {} version {} are laid out in another way than today's; "
                            "convert the original model, or an F16 file of it",
                            Name(found->type), header_.container, header_.version));
  }
  return found->type;
}

}  // namespace

bool LooksLikeGgml(std::string_view head) {
  return head.starts_with(kUnversioned) || head.starts_with(kGgmf) || head.starts_with(kGgjt) ||
         head.starts_with(kLora);
}

Header ParseHeader(ByteReader& reader) { return HeaderParser(reader).Parse(); }

}  // namespace quern::formats::ggml
