// make_seeds FOLDER: writes the seeds of every fuzz target to FOLDER/TARGET/NAME, from the builders
// that the tests use. They are kept in the repository (tests/fuzz/seeds) so that CTest can replay
// them; findings of the fuzzers are put beside them by hand and stay.
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "converters/journal.h"
#include "formats/gguf/gguf_writer.h"
#include "formats/logits_base/logits_base.h"
#include "tests/converters/tokenizer/small_vocabulary_testing.h"
#include "tests/formats/gguf/gguf_testing.h"
#include "tests/formats/git/git_index_testing.h"
#include "tests/formats/torch/torch_testing.h"
#include "tests/formats/zip/zip_testing.h"
#include "tests/support/fixtures.h"
#include "tests/support/ggml_files.h"

namespace {

namespace fs = std::filesystem;
namespace pickle = quern::testing::pickle;
using quern::formats::gguf::GgufBytes;
using quern::testing::BuildZip;
using quern::testing::Le;

struct Seed {
  const char* target;
  const char* name;
  std::string bytes;
};
using Seeds = std::vector<Seed>;

std::string Text(std::span<const uint8_t> bytes) { return {bytes.begin(), bytes.end()}; }

std::string Gguf(uint32_t version, std::endian endian) {
  const quern::Metadata metadata = quern::formats::gguf::MetadataOfAllTypes();
  GgufBytes file(version, endian);
  file.Head(2, metadata.size());
  for (const auto& [key, value] : metadata.entries()) file.Key(key, value);
  file.Tensor("token_embd.weight", {8, 2}, 0, 0).Tensor("blk.0.attn_q.weight", {32, 1}, 8, 64);
  return Text(file.Pad().Zeros(64 + 64));
}

void AddGguf(Seeds& seeds) {
  seeds.push_back({"fuzz_gguf", "v3.gguf", Gguf(3, std::endian::little)});
  seeds.push_back({"fuzz_gguf", "v3-big-endian.gguf", Gguf(3, std::endian::big)});
  seeds.push_back({"fuzz_gguf", "v2.gguf", Gguf(2, std::endian::little)});
  seeds.push_back({"fuzz_gguf", "v1.gguf", Gguf(1, std::endian::little)});
}

// A Llama of one layer, with a tokenizer.
void AddExport(Seeds& seeds) {
  quern::Metadata metadata = quern::testing::ScoredVocabulary({});
  metadata.Set("general.architecture", std::string("llama"));
  metadata.Set("llama.block_count", uint32_t{1});
  metadata.Set("llama.embedding_length", uint32_t{4});
  metadata.Set("llama.feed_forward_length", uint32_t{2});
  metadata.Set("llama.attention.head_count", uint32_t{2});
  metadata.Set("llama.rope.dimension_count", uint32_t{2});
  metadata.Set("llama.vocab_size", uint32_t{3});
  std::vector<quern::formats::gguf::TensorSpec> tensors = {
      {"token_embd.weight", {3, 4}, quern::TensorType::kF16},
      {"output_norm.weight", {4}, quern::TensorType::kF32},
      {"rope_freqs.weight", {1}, quern::TensorType::kF32},
      {"blk.0.ffn_down.weight", {4, 2}, quern::TensorType::kF16}};
  for (const char* name : {"attn_norm", "ffn_norm"}) {
    tensors.push_back({std::string("blk.0.") + name + ".weight", {4}, quern::TensorType::kF32});
  }
  for (const char* name : {"attn_q", "attn_k", "attn_v", "attn_output"}) {
    tensors.push_back({std::string("blk.0.") + name + ".weight", {4, 4}, quern::TensorType::kF16});
  }
  for (const char* name : {"ffn_gate", "ffn_up"}) {
    tensors.push_back({std::string("blk.0.") + name + ".weight", {2, 4}, quern::TensorType::kF16});
  }
  const auto layout = quern::formats::gguf::LayOut(metadata, tensors);
  std::string file = Text(layout.header);
  file.resize(layout.file_bytes);
  seeds.push_back({"fuzz_export", "llama.gguf", std::move(file)});
}

void AddSafetensors(Seeds& seeds) {
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]},)"
      R"("b":{"dtype":"BF16","shape":[],"data_offsets":[16,18]}})";
  // The target takes the number of data bytes, shifted by 16, and the header.
  seeds.push_back({"fuzz_safetensors", "two", Le(18 << 16, 8) + header});
  seeds.push_back({"fuzz_safetensors", "empty", Le(0, 8) + "{}"});
}

void AddTorch(Seeds& seeds) {
  const std::string tensor =
      pickle::Tensor(pickle::Storage("FloatStorage", "0", 6), 0, {2, 3}, {3, 1});
  const std::string transposed =
      pickle::Tensor(pickle::Storage("FloatStorage", "0", 6), 1, {2, 2}, {1, 2});
  const std::string both =
      pickle::Dict({{pickle::Str("a"), tensor}, {pickle::Str("b"), transposed}});
  const std::string nested =
      pickle::Dict({{pickle::Str("epoch"), pickle::Int(3)}, {pickle::Str("state_dict"), both}});
  const quern::testing::Storages storages = {{"0", std::string(24, '\1')}};
  seeds.push_back({"fuzz_pickle", "tensor.pkl", pickle::Whole(pickle::OneTensor(tensor))});
  seeds.push_back({"fuzz_pickle", "nested.pkl", pickle::Whole(nested)});
  seeds.push_back(
      {"fuzz_pickle", "system.pkl",
       pickle::Whole(pickle::Call(pickle::Global("os", "system"), {pickle::Str("true")}))});
  seeds.push_back({"fuzz_pickle", "values.pkl",
                   pickle::Whole(pickle::List({pickle::Int(-1), pickle::Int(int64_t{1} << 40),
                                               pickle::Ints({1, 2}), pickle::Str("text")}))});
  seeds.push_back(
      {"fuzz_torch_legacy", "legacy.pt", quern::testing::TorchLegacy(nested, storages)});
  seeds.push_back(
      {"fuzz_torch_legacy", "zip.pt", BuildZip(quern::testing::TorchZip(both, storages))});
  seeds.push_back({"fuzz_torch_legacy", "zip-big-endian.pt",
                   BuildZip(quern::testing::TorchZip(both, storages, true))});
}

void AddZip(Seeds& seeds) {
  using quern::testing::ZipMember;
  const ZipMember stored{.name = "a/data.pkl", .data = "stored"};
  const ZipMember deflated{.name = "a/b", .data = std::string(200, 'x'), .deflate = true};
  const ZipMember streamed{.name = "c", .data = "streamed", .descriptor = true};
  const ZipMember wide{.name = "d", .data = "wide", .zip64 = true};
  seeds.push_back({"fuzz_zip", "plain.zip", BuildZip({.members = {stored, deflated}})});
  seeds.push_back({"fuzz_zip", "zip64.zip",
                   BuildZip({.members = {streamed, wide}, .comment = "note", .zip64 = true})});
}

void AddGgml(Seeds& seeds) {
  const quern::testing::GgmlLlamaShape tiny{
      .vocabulary = 8, .embedding = 4, .heads = 2, .kv_heads = 1, .layers = 1, .feed_forward = 4};
  seeds.push_back(
      {"fuzz_ggml", "ggml.bin", quern::testing::GgmlLlama("lmgg", {}, 0, tiny).Build()});
  seeds.push_back({"fuzz_ggml", "ggmf.bin", quern::testing::GgmlLlama("fmgg", 1, 0, tiny).Build()});
  seeds.push_back({"fuzz_ggml", "ggjt.bin", quern::testing::GgmlLlama("tjgg", 3, 0, tiny).Build()});
  seeds.push_back({"fuzz_ggml", "whisper.bin", quern::testing::GgmlWhisper().Build()});
  seeds.push_back({"fuzz_ggml", "rwkv.bin", quern::testing::GgmlRwkv().Build()});
}

std::string Npy(const std::string& descr, const std::string& order, const std::string& data) {
  const std::string dict =
      "{'descr': '" + descr + "', 'fortran_order': " + order + ", 'shape': (2, 3), }\n";
  return std::string("\x93NUMPY\1\0", 8) + Le(dict.size(), 2) + dict + data;
}

void AddNumpy(Seeds& seeds) {
  const std::string plain = Npy("<f4", "False", std::string(24, '\2'));
  const std::string turned = Npy(">u2", "True", std::string(12, '\3'));
  seeds.push_back({"fuzz_numpy", "plain.npy", plain});
  seeds.push_back({"fuzz_numpy", "fortran.npy", turned});
  seeds.push_back({"fuzz_numpy", "both.npz",
                   BuildZip({.members = {{.name = "a.npy", .data = plain},
                                         {.name = "b.npy", .data = turned, .deflate = true}}})});
}

void AddImatrix(Seeds& seeds) {
  const std::string name = "blk.0.attn_k.weight";
  const float values[] = {1, 2, 10};
  std::string raw(sizeof(values), '\0');
  std::memcpy(raw.data(), values, sizeof(values));
  const std::string entry = Le(name.size(), 4) + name + Le(3, 4) + Le(3, 4) + raw;
  seeds.push_back({"fuzz_imatrix", "one.dat", Le(1, 4) + entry + Le(40, 4) + Le(1, 4) + "w"});
}

// Fields of sentencepiece_model.proto by number, in protobuf's wire format; lengths below 128.
std::string Message(int field, const std::string& bytes) {
  return static_cast<char>(field << 3 | 2) + std::string(1, static_cast<char>(bytes.size())) +
         bytes;
}
std::string Number(int field, int value) {
  return static_cast<char>(field << 3) + std::string(1, static_cast<char>(value));
}

void AddSentencePiece(Seeds& seeds) {
  const auto piece = [](const std::string& text, int type) {
    return Message(1, Message(1, text) + "\x15" + Le(0xbf800000, 4) + Number(3, type));
  };
  const std::string pieces = piece("<unk>", 2) + piece("<s>", 3) + piece("</s>", 3) +
                             piece("\u2581a", 1) + piece("<0x41>", 6);
  const std::string trainer = Message(2, Number(3, 2) + Number(4, 5));
  // One unit of a trie and no replacements.
  const std::string charsmap = Le(4, 4) + Le(0, 4) + std::string(1, '\0');
  seeds.push_back({"fuzz_sentencepiece", "bpe.model",
                   pieces + trainer + Message(3, Message(1, "identity") + Number(3, 1))});
  seeds.push_back({"fuzz_sentencepiece", "nmt.model", pieces + Message(3, Message(2, charsmap))});
  seeds.push_back({"fuzz_sentencepiece", "charsmap", charsmap});
}

void AddTokenizers(Seeds& seeds) {
  const std::string bpe =
      R"({"version":"1.0","added_tokens":[{"id":4,"content":"<s>","special":true}],)"
      R"("normalizer":{"type":"NFC"},"pre_tokenizer":{"type":"ByteLevel","add_prefix_space":false,)"
      R"("use_regex":true},"post_processor":null,"decoder":{"type":"ByteLevel"},"model":{"type":)"
      R"("BPE","vocab":{"a":0,"b":1,"ab":2,"\u0120":3},"merges":["a b"]}})";
  const std::string fallback =
      R"({"added_tokens":[],"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend",)"
      R"("prepend":"\u2581"},{"type":"Replace","pattern":{"String":" "},"content":"\u2581"}]},)"
      R"("pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\p{L}+|\\s"},"behavior":"Isolated",)"
      R"("invert":false},"decoder":{"type":"Sequence","decoders":[]},"model":{"type":"BPE",)"
      R"("byte_fallback":true,"unk_token":"a","vocab":{"a":0,"<0x62>":1},"merges":[["a","a"]]}})";
  const std::string unigram = R"({"model":{"type":"Unigram","unk_id":0,"vocab":[["a",-1.5]]}})";
  for (const char* target : {"fuzz_tokenizer", "fuzz_tokenizer_json"}) {
    seeds.push_back({target, "bpe.json", bpe});
    seeds.push_back({target, "fallback.json", fallback});
    seeds.push_back({target, "unigram.json", unigram});
  }
}

void AddLlama2c(Seeds& seeds) {
  // dim, hidden_dim, n_layers, n_heads, n_kv_heads, vocab_size, seq_len: one layer, tied.
  std::string numbers;
  for (const uint64_t number : {2, 2, 1, 1, 1, 2, 2}) numbers += Le(number, 4);
  // Two norms, four attention and three feed-forward matrices, the last norm, the embedding; the
  // legacy form has the rotary tables as well.
  const std::string weights(4 * (2 + 2 + 4 * 4 + 3 * 4 + 2 + 4), '\0');
  std::string head = Le(0x616b3432, 4) + Le(1, 4) + numbers + '\1';
  head.resize(256);
  seeds.push_back({"fuzz_llama2c", "legacy.bin", numbers + weights + std::string(4 * 4, '\0')});
  seeds.push_back({"fuzz_llama2c", "v1.bin", head + weights});
}

void AddJournal(Seeds& seeds) {
  const quern::testing::TempFolder folder;
  const std::string path = (folder.path() / "journal").string();
  quern::converters::Journal journal(path, quern::converters::Identity{1, 2, 3});
  journal.Append({0, 0, 16, 0x1234});
  journal.Append({7, 16, 1, 5});
  std::ifstream file(path, std::ios::binary);
  seeds.push_back({"fuzz_journal", "two", {std::istreambuf_iterator<char>(file), {}}});
}

void AddLogitsBase(Seeds& seeds) {
  namespace base = quern::formats::logits_base;
  const quern::testing::TempFolder folder;
  const fs::path path = folder.path() / "base";
  const base::Dimensions dimensions{.context = 6, .vocabulary = 5, .windows = 1};
  const std::vector<int32_t> tokens = {1, 0, 2, 4, 3, 1};
  base::LogitsBaseWriter writer(path, dimensions, tokens, {});
  writer.Write(0, std::vector<float>{0, 1, 2, -30, 4});
  writer.Write(1, std::vector<float>{1, 1, 1, 1, 1});
  writer.Commit();
  std::ifstream file(path, std::ios::binary);
  seeds.push_back({"fuzz_logits_base", "two-rows", {std::istreambuf_iterator<char>(file), {}}});
}

void AddChecks(Seeds& seeds) {
  const std::string sha(64, 'a');
  seeds.push_back({"fuzz_checksum_list", "SHA256SUMS",
                   sha + "  a\n" + sha + " *b\n\\" + sha + "  c\\nd\nSHA256 (e) = " + sha + "\n"});
  seeds.push_back({"fuzz_checksum_list", "checklist.chk", std::string(32, 'b') + "  x.pth\r\n"});
  seeds.push_back({"fuzz_tensor_manifest", "list.txt", sha + "  blk.0.attn_q.weight\n"});
  seeds.push_back({"fuzz_tensor_manifest", "list.json",
                   R"({"format":"gguf","tensors":[{"name":"a","type":"F32","shape":[2],"bytes":8,)"
                   R"("sha256":")" +
                       sha + "\"}]}"});
  seeds.push_back({"fuzz_git_index", "v3",
                   quern::testing::IndexBytes(3, 2).Entry("a").Entry("b/c", 0x4000).bytes()});
  seeds.push_back(
      {"fuzz_git_index", "v4",
       quern::testing::IndexBytes(4, 2).Entry(std::string("\0b/c", 4)).Entry("\1d").bytes()});
}

void AddTexts(Seeds& seeds) {
  seeds.push_back({"fuzz_tiktoken", "three.model", "YQ== 0\nYg== 1\nYWI= 2\n"});
  seeds.push_back({"fuzz_yaml", "values.yaml",
                   "name: x\nn_layer: 2\nlist: [1, 2.5, true]\nmap:\n  - {a: null}\n  - 'b'\n"});
  seeds.push_back({"fuzz_json", "values.json",
                   R"({"a":[1,-2.5e3,true,null,"\u00e9\ud83d\ude00"],"b":{"c":{}}})"});
  seeds.push_back({"fuzz_front_matter", "card.md",
                   "---\nlicense: apache-2.0\nbase_model:\n- org/Name-7B\ntags: [a, 'b c']\n"
                   "language:\n  - en\nmodel-index: {name: \"x\"}\n---\n# Title\n"});
  seeds.push_back(
      {"fuzz_architecture", "small.jsonc",
       "// comment\n{\"name\":\"x\",\"accepts\":[\"XForCausalLM\"],\"extends\":\"text\","
       "\"keys\":{\"a\":{\"compute\":\"hidden_size // 2\"},\"b\":{\"type\":\"f32\",\"value\":1}},"
       "\"tensors\":{\"output.weight\":{\"from\":\"lm_head.weight\",\"apply\":\"transpose\","
       "\"shape\":[\"vocab_size\",\"hidden_size\"]}}}"});
  seeds.push_back({"fuzz_architecture", "name", "org/Model-Name-v1.5-7B-Instruct"});
}

// The names and stores that models are kept under.
void AddStores(Seeds& seeds) {
  seeds.push_back(
      {"fuzz_ollama_manifest", "manifest.json",
       "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifes"
       "t.v2+json\",\"config\":{\"mediaType\":\"application/vnd.docker.container.image.v"
       "1+json\",\"digest\":\"sha256:0123456789abcdef0123456789abcdef0123456789abcdef012"
       "3456789abcdef\",\"size\":9},\"layers\":[{\"mediaType\":\"application/vnd.ollama."
       "image.model\",\"digest\":\"sha256:fedcba9876543210fedcba9876543210fedcba98765432"
       "10fedcba9876543210\",\"size\":5,\"from\":\"/a/b\"}]}"});
  seeds.push_back(
      {"fuzz_ollama_manifest", "list.json",
       "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.ollama.manifest.list.v2+jso"
       "n\",\"manifests\":[{\"runner\":\"mlx\",\"format\":\"safetensors\",\"digest\":\"s"
       "ha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\"}]}"});
  seeds.push_back({"fuzz_ollama_manifest", "name", "hf.co/org/model:Q8_0"});
  seeds.push_back({"fuzz_lfs_pointer", "pointer",
                   "version https://git-lfs.github.com/spec/v1\n"
                   "ext-0-a sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
                   "\n"
                   "oid sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n"
                   "size 12345\n"});
  seeds.push_back({"fuzz_modelfile", "Modelfile",
                   "# from\n"
                   "FROM ./model.gguf\n"
                   "TEMPLATE \"\"\"{{ .System }}\n"
                   "{{ .Prompt }}\"\"\"\n"
                   "SYSTEM You are.\n"
                   "PARAMETER stop \"<|end|>\"\n"
                   "PARAMETER temperature 0.7\n"
                   "parameter num_ctx 4096\n"
                   "MESSAGE user \"\"\"Hi\n"
                   "\"\"\"\n"
                   "LICENSE \"MIT\"\n"
                   "ADAPTER ./a.gguf\n"});
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::fprintf(stderr, "usage: make_seeds FOLDER\n");
    return 2;
  }
  Seeds seeds;
  AddGguf(seeds);
  AddExport(seeds);
  AddSafetensors(seeds);
  AddTorch(seeds);
  AddZip(seeds);
  AddGgml(seeds);
  AddNumpy(seeds);
  AddImatrix(seeds);
  AddSentencePiece(seeds);
  AddTokenizers(seeds);
  AddLlama2c(seeds);
  AddJournal(seeds);
  AddLogitsBase(seeds);
  AddChecks(seeds);
  AddTexts(seeds);
  AddStores(seeds);
  for (const Seed& seed : seeds) {
    const fs::path folder = fs::path(argv[1]) / seed.target;
    fs::create_directories(folder);
    std::ofstream(folder / seed.name, std::ios::binary) << seed.bytes;
  }
  std::printf("%zu seeds\n", seeds.size());
} catch (const std::exception& error) {
  std::fprintf(stderr, "make_seeds: %s\n", error.what());
  return 4;
}
