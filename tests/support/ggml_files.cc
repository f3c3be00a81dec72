#include "tests/support/ggml_files.h"

#include <cstring>

#include "formats/core/tensor_type.h"

namespace quern::testing {
namespace {

template <typename T>
void Put(std::string& out, T value) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out.append(raw, sizeof(T));
}

// Finite, small, different everywhere.
std::string Floats(uint64_t count, uint32_t seed) {
  std::string data;
  for (uint64_t i = 0; i < count; ++i) {
    seed = seed * 1664525 + 1013904223;
    Put(data, (static_cast<float>(seed >> 8) / 16777216.0f - 0.5f) / 4);
  }
  return data;
}

// Ids of these types are GGUF's. Blocks get f16 scales below 1: bytes below 0x3c are finite in
// whatever field they stand.
GgmlTensor MakeTensor(const std::string& name, const std::vector<uint32_t>& dims, uint32_t type) {
  GgmlTensor tensor{.name = name, .dims = dims, .type = type, .data = {}};
  uint64_t rows = 1;
  for (size_t i = 1; i < dims.size(); ++i) rows *= dims[i];
  uint32_t seed = static_cast<uint32_t>(name.size() * 31 + dims[0]);
  if (type == 0) {
    tensor.data = Floats(rows * dims[0], seed);
    return tensor;
  }
  const uint64_t bytes = rows * *RowBytes(*TensorTypeFromGgufId(type), dims[0]);
  for (uint64_t i = 0; i < bytes; ++i) {
    seed = seed * 1664525 + 1013904223;
    tensor.data += static_cast<char>((seed >> 24) % 0x3c);
  }
  return tensor;
}

}  // namespace

std::string GgmlFile::Build() const {
  std::string out = magic;
  if (version) Put(out, *version);
  for (const uint32_t number : numbers) Put(out, number);
  out += filters;
  for (size_t i = 0; i < tokens.size(); ++i) {
    Put(out, i == 0 && token_length ? *token_length : static_cast<uint32_t>(tokens[i].size()));
    out += tokens[i];
    if (scores) Put(out, -static_cast<float>(i));
  }
  for (const GgmlTensor& tensor : tensors) {
    Put(out, tensor.n_dims.value_or(static_cast<uint32_t>(tensor.dims.size())));
    Put(out, tensor.name_bytes.value_or(static_cast<uint32_t>(tensor.name.size())));
    Put(out, tensor.type);
    for (const uint32_t dim : tensor.dims) Put(out, dim);
    out += tensor.name;
    if (magic == "tjgg") out.resize((out.size() + 31) / 32 * 32);
    out += tensor.data;
  }
  return out;
}

GgmlFile GgmlLlama(const std::string& magic, std::optional<uint32_t> version, uint32_t type,
                   const GgmlLlamaShape& shape) {
  GgmlFile file{.magic = magic, .version = version};
  const uint32_t head = shape.embedding / shape.heads;
  constexpr uint32_t kMostlyQ8_0 = 7;
  file.numbers = {shape.vocabulary,
                  shape.embedding,
                  256,
                  shape.heads,
                  shape.layers,
                  head,
                  type == 8 ? kMostlyQ8_0 : type};
  file.scores = magic != "lmgg";
  for (uint32_t i = 0; i < shape.vocabulary; ++i) {
    // As SentencePiece's decoder gave them: three special ones, the bytes, then text.
    if (i < 3) {
      file.tokens.push_back(i == 0 ? " \u2047 " : "");
    } else if (i < 259) {
      file.tokens.push_back(std::string(1, static_cast<char>(i - 3)));
    } else {
      file.tokens.push_back(" word" + std::to_string(i));
    }
  }
  const auto add = [&](const std::string& name, const std::vector<uint32_t>& dims) {
    file.tensors.push_back(MakeTensor(name, dims, dims.size() == 1 ? 0 : type));
  };
  const uint32_t e = shape.embedding, ff = shape.feed_forward, kv = shape.kv_heads * head;
  add("tok_embeddings.weight", {e, shape.vocabulary});
  add("norm.weight", {e});
  add("output.weight", {e, shape.vocabulary});
  for (uint32_t i = 0; i < shape.layers; ++i) {
    const std::string layer = "layers." + std::to_string(i) + ".";
    add(layer + "attention.wq.weight", {e, e});
    add(layer + "attention.wk.weight", {e, kv});
    add(layer + "attention.wv.weight", {e, kv});
    add(layer + "attention.wo.weight", {e, e});
    add(layer + "attention_norm.weight", {e});
    add(layer + "feed_forward.w1.weight", {e, ff});
    add(layer + "feed_forward.w2.weight", {ff, e});
    add(layer + "feed_forward.w3.weight", {e, ff});
    add(layer + "ffn_norm.weight", {e});
  }
  return file;
}

GgmlFile GgmlWhisper() {
  GgmlFile file{.magic = "lmgg", .version = std::nullopt};
  file.numbers = {51865, 1500, 384, 6, 4, 448, 384, 6, 4, 2, 1};
  Put(file.filters, uint32_t{2});
  Put(file.filters, uint32_t{3});
  file.filters += Floats(6, 1);
  file.tokens = {"a", "b", "\xff", ""};
  Put(file.filters, static_cast<uint32_t>(file.tokens.size()));
  file.scores = false;
  file.tensors.push_back(MakeTensor("encoder.conv1.bias", {1, 4}, 0));
  return file;
}

GgmlFile GgmlRwkv(uint32_t version) {
  GgmlFile file{.magic = "fmgg", .version = version};
  file.numbers = {3, 4, 1, 0};
  file.tensors.push_back(MakeTensor("emb.weight", {4, 3}, 0));
  return file;
}

}  // namespace quern::testing
