#include "formats/llama2c/llama2c_source.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "formats/core/byte_reader.h"
#include "formats/core/checked_math.h"
#include "formats/core/error.h"
#include "formats/huggingface/side_files.h"
#include "formats/lfs/lfs_pointer.h"

namespace quern::formats::llama2c {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kMagic = 0x616b3432;
constexpr uint64_t kLegacyHeaderBytes = 28;
constexpr uint64_t kHeaderBytes = 256;  // of version 1

struct Header {
  uint64_t dim, hidden_dim, layers, heads, kv_heads, vocabulary, context;
  bool shared_output;
  bool legacy;
};

// The seven numbers. `vocabulary` may be negative in the legacy layout.
Header ReadNumbers(ByteReader& reader, bool legacy) {
  constexpr std::array<std::string_view, 7> kNames = {
      "dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len"};
  constexpr size_t kLayers = 2, kVocabulary = 5;
  std::array<uint64_t, 7> values{};
  bool shared = true;
  for (size_t i = 0; i < kNames.size(); ++i) {
    int64_t value = reader.Read<int32_t>(kNames[i]);
    if (legacy && i == kVocabulary && value < 0) {
      shared = false;
      value = -value;
    }
    if (value < 1 || value > (i == kLayers ? kMaxLayers : kMaxDimension)) {
      throw reader.Fail(ErrorCode::kBadValue, kNames[i],
                        fmt::format("{} is no size of a model; the file is damaged", value));
    }
    values[i] = static_cast<uint64_t>(value);
  }
  const Header header{values[0], values[1], values[2], values[3], values[4],
                      values[5], values[6], shared,    legacy};
  if (header.dim % header.heads != 0 || header.dim / header.heads % 2 != 0 ||
      header.heads % header.kv_heads != 0) {
    throw reader.Fail(ErrorCode::kBadValue, "n_heads",
                      fmt::format("{} heads with {} for keys and values do not divide a model of "
                                  "{} dimensions; the file is damaged",
                                  header.heads, header.kv_heads, header.dim));
  }
  return header;
}

Header ReadHeader(ByteReader& reader, bool legacy) {
  if (legacy) return ReadNumbers(reader, true);
  reader.Skip(sizeof(kMagic), "magic");
  const auto version = reader.Read<int32_t>("version");
  if (version == 2) {
    throw reader.Fail(ErrorCode::kUnsupported, "version",
                      "version 2 holds weights quantized in llama2.c's own way; export the model "
                      "as version 1 or as a Hugging Face folder (export.py)");
  }
  if (version != 1) {
    throw reader.Fail(ErrorCode::kBadVersion, "version",
                      fmt::format("{} is no version of llama2.c's format; 1 is read", version));
  }
  Header header = ReadNumbers(reader, false);
  const auto shared = reader.Read<uint8_t>("shared classifier");
  if (shared > 1) {
    throw reader.Fail(ErrorCode::kBadValue, "shared classifier",
                      fmt::format("{} is neither 0 nor 1; the file is damaged", shared));
  }
  header.shared_output = shared == 1;
  return header;
}

// One array of the file.
struct Stored {
  std::string_view name;  // of one layer: after "layers.N."
  bool per_layer;
  Shape shape;  // of one layer
};

std::vector<Stored> Layout(const Header& h) {
  const uint64_t kv_dim = h.dim / h.heads * h.kv_heads, half_head = h.dim / h.heads / 2;
  const Stored embeddings{"tok_embeddings.weight", false, {h.vocabulary, h.dim}};
  const Stored attention_norm{"attention_norm.weight", true, {h.dim}};
  const Stored ffn_norm{"ffn_norm.weight", true, {h.dim}};
  const Stored norm{"norm.weight", false, {h.dim}};
  const Stored q{"attention.wq.weight", true, {h.dim, h.dim}};
  const Stored k{"attention.wk.weight", true, {kv_dim, h.dim}};
  const Stored v{"attention.wv.weight", true, {kv_dim, h.dim}};
  const Stored o{"attention.wo.weight", true, {h.dim, h.dim}};
  const Stored gate{"feed_forward.w1.weight", true, {h.hidden_dim, h.dim}};
  const Stored down{"feed_forward.w2.weight", true, {h.dim, h.hidden_dim}};
  const Stored up{"feed_forward.w3.weight", true, {h.hidden_dim, h.dim}};
  const Stored cosines{"freq_cis_real", false, {h.context, half_head}};
  const Stored sines{"freq_cis_imag", false, {h.context, half_head}};
  std::vector<Stored> stored =
      h.legacy ? std::vector<Stored>{embeddings, attention_norm, q,  k,    v,       o,    ffn_norm,
                                     gate,       down,           up, norm, cosines, sines}
               : std::vector<Stored>{attention_norm, ffn_norm, norm, embeddings, q, k, v, o,
                                     gate,           down,     up};
  if (!h.shared_output) stored.push_back({"output.weight", false, {h.vocabulary, h.dim}});
  return stored;
}

// Bytes of the file; the header's limits keep every factor below 2^24.
std::optional<uint64_t> FileBytes(const Header& header) {
  std::optional<uint64_t> total = header.legacy ? kLegacyHeaderBytes : kHeaderBytes;
  for (const Stored& array : Layout(header)) {
    const auto elements = CheckedProduct(array.shape);
    const auto bytes = CheckedMul(*elements, sizeof(float) * (array.per_layer ? header.layers : 1));
    total = total && bytes ? CheckedAdd(*total, *bytes) : std::nullopt;
  }
  return total;
}

bool IsVersioned(std::string_view head) {
  constexpr std::string_view kMagicBytes = "24ka";
  return head.starts_with(kMagicBytes);
}

bool Matches(const Probe& probe) {
  if (probe.is_folder || probe.head.size() < kLegacyHeaderBytes) return false;
  if (IsVersioned(probe.head)) return true;
  const auto* bytes = reinterpret_cast<const uint8_t*>(probe.head.data());
  ByteReader reader(std::span(bytes, kLegacyHeaderBytes), {});
  try {
    return FileBytes(ReadHeader(reader, true)) == probe.size;
  } catch (const Error&) {
    return false;
  }
}

}  // namespace

Llama2cSource::Llama2cSource(const fs::path& path) : ModelSource(path) {
  layout_ = "llama2c";
  files_.push_back(lfs::OpenFile(path));
  const File& file = files_.front();
  ByteReader reader(file);
  std::array<uint8_t, sizeof(kMagic)> head{};
  if (file.size() >= head.size()) file.ReadAt(0, head);
  const Header header =
      ReadHeader(reader, !IsVersioned({reinterpret_cast<const char*>(head.data()), head.size()}));
  const auto expected = FileBytes(header);
  if (!expected || *expected != file.size()) {
    const bool short_file = !expected || *expected > file.size();
    throw Error(short_file ? ErrorCode::kTruncated : ErrorCode::kUnusedBytes, {file.path(), {}, {}},
                fmt::format("has {} bytes, and by its header it needs {}; download it again",
                            file.size(), expected ? fmt::to_string(*expected) : "more than 2^64"));
  }
  uint64_t offset = header.legacy ? kLegacyHeaderBytes : kHeaderBytes;
  for (const Stored& array : Layout(header)) {
    const uint64_t bytes = *CheckedProduct(array.shape) * sizeof(float);
    for (uint64_t layer = 0; layer < (array.per_layer ? header.layers : 1); ++layer) {
      AddTensor({.name = array.per_layer ? fmt::format("layers.{}.{}", layer, array.name)
                                         : std::string(array.name),
                 .shape = array.shape,
                 .bytes = bytes,
                 .offset = offset});
      offset += bytes;
    }
  }
  config_ = {{"dim", header.dim},
             {"hidden_dim", header.hidden_dim},
             {"n_layers", header.layers},
             {"n_heads", header.heads},
             {"n_kv_heads", header.kv_heads},
             {"vocab_size", header.vocabulary},
             {"max_seq_len", header.context},
             {"norm_eps", 1e-5},
             {"rope_theta", 10000.0}};
  FindTokenizer();
}

void Llama2cSource::FindTokenizer() {
  const fs::path folder = path().parent_path();
  const std::set<std::string> present = huggingface::ListFiles(folder);
  const auto find = [&](const std::string& suffix,
                        std::initializer_list<std::string> names) -> std::optional<std::string> {
    for (const std::string& name : names) {
      if (present.contains(name)) return name;
    }
    std::vector<std::string> others;
    for (const std::string& name : present) {
      if (name.starts_with("tok") && name.ends_with(suffix)) others.push_back(name);
    }
    if (others.size() != 1) return std::nullopt;
    return others.front();
  };
  if (const auto name = find(".model", {path().stem().string() + ".model", "tokenizer.model"})) {
    side_files_.emplace("tokenizer.model", folder / *name);
  } else if (const auto binary = find(".bin", {"tokenizer.bin"})) {
    side_files_.emplace("tokenizer.bin", folder / *binary);
  }
  if (present.contains("README.md")) side_files_.emplace("README.md", folder / "README.md");
}

constinit const FormatInfo kFormat = {
    "llama2c", "a llama2.c checkpoint (.bin, legacy or version 1) with its tokenizer", Matches,
    [](const fs::path& path, const OpenOptions&) -> std::unique_ptr<ModelSource> {
      return std::make_unique<Llama2cSource>(path);
    }};

}  // namespace quern::formats::llama2c
