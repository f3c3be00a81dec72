#include "tests/support/ollama_store.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "formats/gguf/gguf_writer.h"

namespace quern::testing {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

constexpr uint32_t kVocabulary = 32, kWidth = 32, kHidden = 64;

Metadata SmallMetadata() {
  Metadata metadata;
  metadata.Set("general.architecture", std::string("llama"));
  metadata.Set("general.name", std::string("small"));
  metadata.Set("general.file_type", uint32_t{7});  // mostly Q8_0
  metadata.Set("llama.context_length", uint32_t{64});
  metadata.Set("llama.embedding_length", kWidth);
  metadata.Set("llama.block_count", uint32_t{1});
  metadata.Set("llama.feed_forward_length", kHidden);
  metadata.Set("llama.attention.head_count", uint32_t{2});
  metadata.Set("llama.attention.head_count_kv", uint32_t{2});
  metadata.Set("llama.rope.dimension_count", kWidth / 2);
  metadata.Set("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  std::vector<std::string> tokens = {"<unk>", "<s>", "</s>"};
  std::vector<float> scores;
  std::vector<int32_t> types = {2, 3, 3};
  while (tokens.size() < kVocabulary) tokens.push_back(fmt::format("token{}", tokens.size()));
  for (uint32_t i = 0; i < kVocabulary; ++i) scores.push_back(-static_cast<float>(i));
  types.resize(kVocabulary, 1);
  metadata.Set("tokenizer.ggml.model", std::string("llama"));
  metadata.Set("tokenizer.ggml.tokens", Array{tokens});
  metadata.Set("tokenizer.ggml.scores", Array{scores});
  metadata.Set("tokenizer.ggml.token_type", Array{types});
  metadata.Set("tokenizer.ggml.bos_token_id", uint32_t{1});
  metadata.Set("tokenizer.ggml.eos_token_id", uint32_t{2});
  return metadata;
}

std::vector<formats::gguf::TensorSpec> SmallTensors() {
  using enum TensorType;
  return {{"token_embd.weight", {kVocabulary, kWidth}, kQ8_0},
          {"blk.0.attn_norm.weight", {kWidth}, kF32},
          {"blk.0.attn_q.weight", {kWidth, kWidth}, kQ8_0},
          {"blk.0.attn_k.weight", {kWidth, kWidth}, kQ8_0},
          {"blk.0.attn_v.weight", {kWidth, kWidth}, kQ8_0},
          {"blk.0.attn_output.weight", {kWidth, kWidth}, kQ8_0},
          {"blk.0.ffn_norm.weight", {kWidth}, kF32},
          {"blk.0.ffn_gate.weight", {kHidden, kWidth}, kQ8_0},
          {"blk.0.ffn_up.weight", {kHidden, kWidth}, kQ8_0},
          {"blk.0.ffn_down.weight", {kWidth, kHidden}, kQ8_0},
          {"output_norm.weight", {kWidth}, kF32},
          {"output.weight", {kVocabulary, kWidth}, kQ8_0}};
}

void FillF32(std::mt19937& random, char* data, uint64_t bytes) {
  for (uint64_t at = 0; at < bytes; at += sizeof(float)) {
    const float value = static_cast<float>(random() % 2000) / 1000.0f - 1.0f;
    std::memcpy(data + at, &value, sizeof(value));
  }
}

// Blocks of 34 bytes: a scale of 2^-9 to 2^-7 in f16, then 32 quants.
void FillQ8(std::mt19937& random, char* data, uint64_t bytes) {
  constexpr std::array<uint16_t, 3> kScales = {0x1800, 0x1c00, 0x2000};
  for (uint64_t at = 0; at < bytes; ++at) data[at] = static_cast<char>(random() % 255 - 127);
  for (uint64_t at = 0; at < bytes; at += 34) {
    std::memcpy(data + at, &kScales[random() % kScales.size()], 2);
  }
}

OrderedJson LayerToJson(std::string_view media_type, std::string_view digest, uint64_t size) {
  return {{"mediaType", media_type}, {"digest", fmt::format("sha256:{}", digest)}, {"size", size}};
}

void WriteFile(const fs::path& path, std::string_view content) {
  fs::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << content;
}

// What a layer of this kind holds, in a store that is like a real one.
std::string ContentFor(const std::string& kind, const std::string& model) {
  if (kind == "model" || kind == "projector" || kind == "adapter") {
    return SmallGguf(
        static_cast<uint32_t>(std::stoul(Sha256Hex(model + kind).substr(0, 8), nullptr, 16)));
  }
  if (kind == "params") return "{\"stop\":[\"<|end|>\",\"<|user|>\"],\"temperature\":0.7}\n";
  if (kind == "messages") return "[{\"role\":\"user\",\"content\":\"Hello\"}]\n";
  if (kind == "template") return "{{ .System }}\nUSER: {{ .Prompt }}\nASSISTANT: ";
  if (kind == "license") return "A license.\n\nOf several \"lines\".\n";
  return fmt::format("You are {}.", model);
}

}  // namespace

std::string Sha256Hex(std::string_view bytes) {
  std::array<uint8_t, SHA256_DIGEST_LENGTH> digest;
  ::SHA256(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size(), digest.data());
  return fmt::format("{:02x}", fmt::join(digest, ""));
}

std::string SmallGguf(uint32_t seed) {
  const auto tensors = SmallTensors();
  const auto layout = formats::gguf::LayOut(SmallMetadata(), tensors);
  std::string file(layout.file_bytes, '\0');
  std::copy(layout.header.begin(), layout.header.end(), file.begin());
  std::mt19937 random(seed);
  for (size_t i = 0; i < tensors.size(); ++i) {
    const auto fill = tensors[i].type == TensorType::kF32 ? FillF32 : FillQ8;
    fill(random, file.data() + layout.offsets[i], layout.bytes[i]);
  }
  return file;
}

OllamaStore::OllamaStore(fs::path root) : root_(std::move(root)) {
  fs::create_directories(root_ / "blobs");
  fs::create_directories(root_ / "manifests");
}

std::string OllamaStore::AddBlob(std::string_view content) const {
  const std::string digest = Sha256Hex(content);
  WriteFile(BlobPath(digest), content);
  return digest;
}

fs::path OllamaStore::BlobPath(std::string_view digest) const {
  return root_ / "blobs" / fmt::format("sha256-{}", digest);
}

fs::path OllamaStore::AddModel(std::string_view name,
                               const std::vector<OllamaLayer>& layers) const {
  OrderedJson list = OrderedJson::array(), digests = OrderedJson::array();
  for (const OllamaLayer& layer : layers) {
    const std::string digest = AddBlob(layer.content);
    list.push_back(
        LayerToJson("application/vnd.ollama.image." + layer.kind, digest, layer.content.size()));
    if (!layer.from.empty()) list.back()["from"] = layer.from;
    if (!layer.name.empty()) list.back()["name"] = layer.name;
    digests.push_back("sha256:" + digest);
  }
  const OrderedJson config = {{"model_format", "gguf"},
                              {"model_family", "llama"},
                              {"model_families", {"llama"}},
                              {"model_type", "12K"},
                              {"file_type", "Q8_0"},
                              {"architecture", "amd64"},
                              {"os", "linux"},
                              {"rootfs", {{"type", "layers"}, {"diff_ids", digests}}}};
  const std::string config_text = config.dump() + "\n";
  const OrderedJson manifest = {
      {"schemaVersion", 2},
      {"mediaType", "application/vnd.docker.distribution.manifest.v2+json"},
      {"config", LayerToJson("application/vnd.docker.container.image.v1+json", AddBlob(config_text),
                             config_text.size())},
      {"layers", list}};
  const fs::path path = root_ / "manifests" / name;
  WriteFile(path, manifest.dump() + "\n");
  return path;
}

std::vector<fs::path> OllamaStore::AddLike(const fs::path& manifests) const {
  constexpr std::string_view kPrefix = "application/vnd.ollama.image.";
  std::vector<fs::path> added;
  for (const auto& entry : fs::recursive_directory_iterator(manifests)) {
    if (entry.path().extension() != ".json") continue;
    fs::path name = entry.path().lexically_relative(manifests);
    name.replace_extension();
    std::ifstream file(entry.path());
    std::vector<OllamaLayer> layers;
    const OrderedJson manifest = OrderedJson::parse(file);
    for (const auto& layer : manifest["layers"]) {
      const std::string kind = layer["mediaType"].get<std::string>().substr(kPrefix.size());
      layers.push_back({kind, ContentFor(kind, name.string()), layer.value("from", ""),
                        layer.value("name", "")});
    }
    added.push_back(AddModel(name.string(), layers));
  }
  std::sort(added.begin(), added.end());
  return added;
}

}  // namespace quern::testing
