#include "formats/torch/torch_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>

#include "formats/reader.h"
#include "tests/formats/torch/torch_testing.h"
#include "tests/support/fixtures.h"

namespace quern::formats {
namespace {

using testing::BuildZip;
using ::testing::ElementsAre;
using testing::ErrorOf;
using testing::Le;
using testing::Storages;
using testing::TempFolder;
using testing::TorchLegacy;
using testing::TorchZip;
using testing::ZipFile;
namespace p = testing::pickle;

template <typename T>
std::string Raw(const std::vector<T>& values) {
  return {reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)};
}

std::vector<float> Floats(size_t count) {
  std::vector<float> values(count);
  std::iota(values.begin(), values.end(), 0.0f);
  return values;
}

std::unique_ptr<ModelSource> Open(const std::string& bytes, const OpenOptions& options = {}) {
  static const TempFolder folder;
  return OpenModel(folder.Write("model", bytes), options);
}

std::unique_ptr<ModelSource> Open(const ZipFile& zip, const OpenOptions& options = {}) {
  return Open(BuildZip(zip), options);
}

template <typename T = float>
std::vector<T> ReadTensor(const ModelSource& source, std::string_view name) {
  const TensorInfo* tensor = source.FindTensor(name);
  EXPECT_NE(tensor, nullptr) << name;
  if (!tensor) return {};
  std::vector<T> values(tensor->bytes / sizeof(T));
  source.Read(*tensor, 0, {reinterpret_cast<uint8_t*>(values.data()), tensor->bytes});
  return values;
}

std::vector<std::string> Names(const ModelSource& source) {
  std::vector<std::string> names;
  for (const auto& tensor : source.tensors()) names.push_back(tensor.name);
  return names;
}

std::string FloatTensor(int64_t elements, int64_t offset, const std::vector<int64_t>& shape,
                        const std::vector<int64_t>& strides) {
  return p::Tensor(p::Storage("FloatStorage", "0", elements), offset, shape, strides);
}

const Storages kTwelve = {{"0", Raw(Floats(12))}};

TEST(TorchSource, ReadsViewsOfOneStorageInBothContainers) {
  const std::string pickle = p::Dict({
      {p::Str("whole"), FloatTensor(12, 0, {3, 4}, {4, 1})},
      {p::Str("transposed"), FloatTensor(12, 0, {4, 3}, {1, 4})},
      {p::Str("column"), FloatTensor(12, 1, {3}, {4})},
      {p::Str("expanded"), FloatTensor(12, 2, {2, 3}, {0, 1})},
      {p::Str("scalar"), FloatTensor(12, 11, {}, {})},
      {p::Str("empty"), FloatTensor(12, 0, {0, 5}, {5, 1})},
  });
  ZipFile deflated = TorchZip(pickle, kTwelve);
  for (auto& member : deflated.members) member.deflate = true;
  for (const std::string& file :
       {BuildZip(TorchZip(pickle, kTwelve)), BuildZip(deflated), TorchLegacy(pickle, kTwelve)}) {
    const auto source = Open(file);
    EXPECT_EQ(ReadTensor(*source, "whole"), Floats(12));
    EXPECT_THAT(ReadTensor(*source, "transposed"),
                ElementsAre(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11));
    EXPECT_THAT(ReadTensor(*source, "column"), ElementsAre(1, 5, 9));
    EXPECT_THAT(ReadTensor(*source, "expanded"), ElementsAre(2, 3, 4, 2, 3, 4));
    EXPECT_THAT(ReadTensor(*source, "scalar"), ElementsAre(11));
    EXPECT_EQ(source->FindTensor("scalar")->shape, Shape{});
    EXPECT_THAT(ReadTensor(*source, "empty"), ElementsAre());
    EXPECT_EQ(source->FindTensor("empty")->shape, (Shape{0, 5}));
  }
}

TEST(TorchSource, SwapsTheBytesOfBigEndianFiles) {
  const std::string pickle =
      p::Dict({{p::Str("i"), p::Tensor(p::Storage("IntStorage", "0", 2), 0, {2}, {1})},
               {p::Str("b"), p::Tensor(p::Storage("ByteStorage", "1", 2), 0, {2}, {1})}});
  const Storages storages = {{"0", std::string("\0\0\0\x01\0\0\x02\0", 8)}, {"1", "ab"}};
  const auto source = Open(TorchZip(pickle, storages, true));
  EXPECT_THAT(ReadTensor<int32_t>(*source, "i"), ElementsAre(1, 512));
  EXPECT_THAT(ReadTensor<char>(*source, "b"), ElementsAre('a', 'b'));
}

TEST(TorchSource, KnowsEveryPlainStorageAndDtype) {
  const std::vector<std::tuple<std::string, TensorType, size_t>> storages = {
      {"FloatStorage", TensorType::kF32, 4}, {"DoubleStorage", TensorType::kF64, 8},
      {"HalfStorage", TensorType::kF16, 2},  {"BFloat16Storage", TensorType::kBF16, 2},
      {"LongStorage", TensorType::kI64, 8},  {"IntStorage", TensorType::kI32, 4},
      {"ShortStorage", TensorType::kI16, 2}, {"CharStorage", TensorType::kI8, 1},
      {"ByteStorage", TensorType::kU8, 1},   {"BoolStorage", TensorType::kBool, 1}};
  for (const auto& [name, type, bytes] : storages) {
    const std::string pickle = p::OneTensor(p::Tensor(p::Storage(name, "0", 3), 0, {3}, {1}));
    const auto source = Open(TorchZip(pickle, {{"0", std::string(3 * bytes, 'x')}}));
    EXPECT_EQ(source->tensors()[0].type, type);
    EXPECT_EQ(source->tensors()[0].bytes, 3 * bytes);
  }
  for (const auto& [name, type] : {std::pair("float8_e4m3fn", TensorType::kF8E4M3),
                                   std::pair("float8_e5m2", TensorType::kF8E5M2)}) {
    const std::string untyped = "(" + p::Str("storage") +
                                p::Global("torch.storage", "UntypedStorage") + p::Str("0") +
                                p::Str("cpu") + p::Int(4) + "tQ";
    const std::string tensor = p::Call(
        p::Global("torch._utils", "_rebuild_tensor_v3"),
        {untyped, p::Int(1), p::Ints({3}), p::Ints({1}), "\x89", "N", p::Global("torch", name)});
    const auto source = Open(TorchZip(p::OneTensor(tensor), {{"0", "abcd"}}));
    EXPECT_EQ(source->tensors()[0].type, type);
    EXPECT_THAT(ReadTensor<char>(*source, "t"), ElementsAre('b', 'c', 'd'));
  }
}

TEST(TorchSource, ReadsParametersModulesAndStorageViews) {
  const std::string tensor = FloatTensor(12, 0, {2}, {1});
  const std::string parameter =
      p::Call(p::Global("torch._utils", "_rebuild_parameter"), {tensor, "\x88", "N"});
  const std::string linear =
      p::Global("torch.nn.modules.linear", "Linear") + ")\x81" +
      p::Dict(
          {{p::Str("training"), "\x88"},
           {p::Str("_buffers"), p::Dict({{p::Str("kept"), tensor}, {p::Str("gone"), tensor}})},
           {p::Str("_parameters"), p::Dict({{p::Str("weight"), parameter}, {p::Str("bias"), "N"}})},
           {p::Str("_modules"), "}"},
           {p::Str("_non_persistent_buffers_set"),
            p::Call(p::Global("__builtin__", "set"), {p::List({p::Str("gone")})})}}) +
      "b";
  const std::string model = p::Global("torch.nn.modules.container", "Sequential") + ")\x81" +
                            p::Dict({{p::Str("_modules"), p::Dict({{p::Str("0"), linear}})}}) + "b";
  EXPECT_THAT(Names(*Open(TorchZip(model, kTwelve))), ElementsAre("0.weight", "0.kept"));

  const std::string view =
      p::Storage("FloatStorage", "0", 12, p::Tuple({p::Str("v"), p::Int(4), p::Int(3)}));
  const auto legacy = Open(TorchLegacy(p::OneTensor(p::Tensor(view, 1, {2}, {1})), kTwelve));
  EXPECT_THAT(ReadTensor(*legacy, "t"), ElementsAre(5, 6));
  EXPECT_QUERN_ERROR(Open(TorchLegacy(p::OneTensor(p::Tensor(view, 2, {2}, {1})), kTwelve)),
                     ErrorCode::kOutOfBounds);
}

TEST(TorchSource, NamesFollowDictsListsAndKeysOfAnyPlainKind) {
  const std::string t = FloatTensor(12, 0, {1}, {1});
  const std::string pickle = p::Dict({{p::Str("a"), p::List({t, p::Tuple({p::Int(3), t})})},
                                      {p::Int(7), p::Dict({{"\x88", t}, {"N", t}})},
                                      {p::Str("b.c"), t}});
  EXPECT_THAT(Names(*Open(TorchZip(pickle, kTwelve))),
              ElementsAre("a.0", "a.1.1", "7.True", "7.None", "b.c"));
}

TEST(TorchSource, ChoosesTheModelByRuleAndOnRequest) {
  const std::string t = FloatTensor(12, 0, {1}, {1});
  const std::string state = p::Dict({{p::Str("module.w"), t}, {p::Str("module.b"), t}});
  const std::string pickle = p::Dict({{p::Str("epoch"), p::Int(3)},
                                      {p::Str("optimizer"), p::Dict({{p::Str("m"), t}})},
                                      {p::Str("model"), p::Dict({{p::Str("state_dict"), state}})}});
  const ZipFile zip = TorchZip(pickle, kTwelve);
  const auto source = Open(zip);
  EXPECT_THAT(Names(*source), ElementsAre("w", "b"));
  EXPECT_EQ(source->metadata().GetString("pytorch.root"), "model.state_dict.module");
  EXPECT_THAT(Names(*Open(zip, {.root = "optimizer"})), ElementsAre("m"));
  EXPECT_THAT(Names(*Open(zip, {.root = "model"})),
              ElementsAre("state_dict.module.w", "state_dict.module.b"));
  EXPECT_EQ(Open(zip, {.root = std::string(kWholeFile)})->tensors().size(), 3u);
  EXPECT_QUERN_ERROR(Open(zip, {.root = "nothing"}), ErrorCode::kMissing);
  const auto other = quern::testing::TestData("layouts/hf_safetensors/small-llama");
  EXPECT_QUERN_ERROR(OpenModel(other, {.root = "model"}), ErrorCode::kUsage);
  EXPECT_NO_THROW(OpenModel(other, {.root = std::string(kWholeFile)}));
  // a state dict whose names begin with "model." is where it should be
  const std::string plain = p::Dict({{p::Str("model.w"), t}, {p::Str("lm_head.w"), t}});
  EXPECT_THAT(Names(*Open(TorchZip(plain, kTwelve))), ElementsAre("model.w", "lm_head.w"));
}

TEST(TorchSource, RefusesComplexQuantizedAndSparseTensorsByName) {
  const auto complex = p::Tensor(p::Storage("ComplexFloatStorage", "0", 6), 0, {6}, {1});
  const auto quantized = p::Call(p::Global("torch._utils", "_rebuild_qtensor"), {"N"});
  const auto sparse = p::Call(p::Global("torch._utils", "_rebuild_sparse_tensor"), {"N"});
  const auto rows = p::Call(p::Global("torch._utils", "_rebuild_sparse_csr_tensor"), {"N"});
  const std::string good = FloatTensor(12, 0, {1}, {1});
  for (const auto& [tensor, word] :
       {std::pair(complex, "complex"), std::pair(quantized, "quantized"),
        std::pair(sparse, "sparse"), std::pair(rows, "sparse")}) {
    const Storages storages =
        word == std::string("complex") ? Storages{{"0", std::string(48, 'x')}} : Storages{};
    const ZipFile zip = TorchZip(p::Dict({{p::Str("bad"), tensor}}), storages);
    const Error error = ErrorOf([&] { Open(zip); });
    EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
    EXPECT_EQ(error.where().subject, "bad");
    EXPECT_NE(error.message().find(word), std::string::npos);
    EXPECT_TRUE(Open(zip, {.allow_opaque = true})->tensors().empty());
  }
  // beside the model they harm nobody
  const ZipFile beside = TorchZip(p::Dict({{p::Str("state_dict"), p::Dict({{p::Str("w"), good}})},
                                           {p::Str("extra"), quantized}}),
                                  kTwelve);
  EXPECT_THAT(Names(*Open(beside)), ElementsAre("w"));
}

TEST(TorchSource, ReadsWeightsBesideUnknownObjectsOnlyWhenAsked) {
  const std::string args = p::Global("argparse", "Namespace") + ")\x81}b";
  const ZipFile zip =
      TorchZip(p::Dict({{p::Str("args"), args},
                        {p::Str("model"), p::Dict({{p::Str("w"), FloatTensor(12, 0, {1}, {1})}})}}),
               kTwelve);
  const Error error = ErrorOf([&] { Open(zip); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsafe);
  EXPECT_NE(error.message().find("argparse.Namespace"), std::string::npos);
  const auto source = Open(zip, {.allow_opaque = true});
  EXPECT_THAT(Names(*source), ElementsAre("w"));
  EXPECT_EQ(std::get<std::vector<std::string>>(
                source->metadata().Get<Array>("pytorch.placeholders")->items),
            std::vector<std::string>{"args: argparse.Namespace"});
}

TEST(TorchSource, RefusesArchivesThatAreNotWhatTheySeem) {
  const std::string pickle = p::OneTensor(FloatTensor(12, 0, {12}, {1}));
  const auto refused = [&](auto change, ErrorCode code) {
    ZipFile zip = TorchZip(pickle, kTwelve);
    change(zip);
    EXPECT_QUERN_ERROR(Open(zip), code);
  };
  EXPECT_NO_THROW(Open(TorchZip(pickle, kTwelve)));
  refused([](ZipFile& z) { z.members[0].name = "archive/DATA.PKL"; }, ErrorCode::kMissing);
  refused([](ZipFile& z) { z.members[0].name = "archive/data.txt"; }, ErrorCode::kMissing);
  refused([](ZipFile& z) { z.members.push_back({.name = "other/data.pkl", .data = "N."}); },
          ErrorCode::kDuplicate);
  refused([](ZipFile& z) { z.members.push_back({.name = "archive/Data.pkl", .data = "N."}); },
          ErrorCode::kDuplicate);
  refused([](ZipFile& z) { z.members.push_back({.name = "archive/code/a.py", .data = "x"}); },
          ErrorCode::kUnsupported);
  refused([](ZipFile& z) { z.members[1].data = "middle"; }, ErrorCode::kBadValue);
  refused([](ZipFile& z) { z.members[1].data = std::string(100, 'x'); }, ErrorCode::kLimitExceeded);
  refused([](ZipFile& z) { z.members[2].data.pop_back(); }, ErrorCode::kMismatch);
  refused([](ZipFile& z) { z.members[2].data += "x"; }, ErrorCode::kMismatch);
  refused([](ZipFile& z) { z.members[2].name = "archive/data/1"; }, ErrorCode::kMissing);
  refused([](ZipFile& z) { z.members[0].data += "cos\nsystem\n."; }, ErrorCode::kUnusedBytes);
  refused([](ZipFile& z) { z.members[0].crc = 1; }, ErrorCode::kMismatch);
}

// Only data.pkl is read as a pickle; whatever else an archive holds is bytes.
TEST(TorchSource, PicklesHiddenInOtherMembersAreNotLookedAt) {
  const std::string payload = "cos\nsystem\n(S'touch /tmp/quern-was-here'\ntR.";
  ZipFile zip = TorchZip(p::OneTensor(FloatTensor(12, 0, {12}, {1})), kTwelve);
  for (const char* name : {"archive/extra", "archive/data/1", "archive/.data/data"}) {
    zip.members.push_back({.name = name, .data = payload});
  }
  EXPECT_THAT(Names(*Open(zip)), ElementsAre("t"));
  zip.members[2].data = payload + std::string(48 - payload.size(), ' ');
  EXPECT_THAT(Names(*Open(zip)), ElementsAre("t"));
}

TEST(TorchSource, FindsADamagedStorageWhenItIsRead) {
  ZipFile zip = TorchZip(p::OneTensor(FloatTensor(12, 0, {12}, {1})), kTwelve);
  zip.members[2].crc = 1;
  const auto source = Open(zip);
  EXPECT_QUERN_ERROR(ReadTensor(*source, "t"), ErrorCode::kMismatch);
}

TEST(TorchSource, RefusesLegacyFilesThatLie) {
  const std::string pickle = p::OneTensor(FloatTensor(12, 0, {12}, {1}));
  const std::string good = TorchLegacy(pickle, kTwelve);
  EXPECT_NO_THROW(Open(good));
  EXPECT_QUERN_ERROR(Open(good + "x"), ErrorCode::kUnusedBytes);
  EXPECT_QUERN_ERROR(Open(TorchLegacy(pickle, {{"0", Raw(Floats(11))}})), ErrorCode::kMismatch);
  EXPECT_QUERN_ERROR(Open(TorchLegacy(pickle, {})), ErrorCode::kMissing);
  EXPECT_QUERN_ERROR(Open(TorchLegacy(pickle, {kTwelve[0], {"1", "abcd"}})),
                     ErrorCode::kUnexpected);
  EXPECT_QUERN_ERROR(Open(TorchLegacy(pickle, {kTwelve[0], kTwelve[0]})), ErrorCode::kDuplicate);
  // 334 bytes that ask for gigabytes
  const int64_t huge = int64_t{1} << 30;
  std::string asks = TorchLegacy(p::OneTensor(FloatTensor(huge, 0, {huge}, {1})), {{"0", ""}});
  asks.replace(asks.size() - 8, 8, Le(static_cast<uint64_t>(huge), 8));
  EXPECT_QUERN_ERROR(Open(asks), ErrorCode::kTruncated);
  EXPECT_QUERN_ERROR(Open(p::Whole("}")), ErrorCode::kBadMagic);
  EXPECT_QUERN_ERROR(Open("\x80\x02"
                          "cos\nsystem\n(S'x'\ntR."),
                     ErrorCode::kUnsafe);
  for (size_t length = 2; length < good.size(); ++length) {
    const auto code = ErrorOf([&] { Open(good.substr(0, length)); }).code();
    // Two bytes are no magic; every longer head is a pickle that ends too early.
    EXPECT_EQ(code, length < 3 ? ErrorCode::kBadMagic : ErrorCode::kTruncated) << length;
  }
}

TEST(TorchSource, RefusesTheTarFormatClearly) {
  std::string tar(1024, '\0');
  tar.replace(0, 8, "sys_info");
  tar.replace(257, 5, "ustar");
  const Error error = ErrorOf([&] { Open(tar); });
  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_NE(error.message().find("tar"), std::string::npos);
}

TEST(TorchSource, RefusesTreesThatAreAmbiguousEndlessOrTooDeep) {
  const std::string t = FloatTensor(12, 0, {1}, {1});
  const auto refused = [&](const std::string& pickle, ErrorCode code) {
    EXPECT_QUERN_ERROR(Open(TorchZip(pickle, kTwelve)), code);
  };
  refused(p::Dict({{p::Str("a"), t}, {p::Str("a"), "N"}}), ErrorCode::kDuplicate);
  refused(p::Dict({{p::Str("a.b"), t}, {p::Str("a"), p::Dict({{p::Str("b"), t}})}}),
          ErrorCode::kDuplicate);
  refused(
      "]q\x01h\x01"
      "a",
      ErrorCode::kLimitExceeded);  // a list that holds itself
  std::string deep = t;
  for (int i = 0; i < 101; ++i) deep = p::List({deep});
  refused(deep, ErrorCode::kLimitExceeded);
  std::string sharing = "](NNe";  // each level holds the last one twice: 2^60 places
  for (int i = 1; i <= 60; ++i) {
    const std::string put = Le(static_cast<uint64_t>(i), 1);
    sharing += "q" + put + "0](h" + put + "h" + put + "e";
  }
  refused(sharing, ErrorCode::kLimitExceeded);
  refused(p::Dict({{p::Str(std::string(2000, 'n')), t}}), ErrorCode::kLimitExceeded);
  refused(p::Dict({{p::Ints({1}), t}}), ErrorCode::kLimitExceeded);
  // one tensor listed without end
  std::string many = t +
                     "q\x01"
                     "0](";
  for (int i = 0; i < 200'000; ++i) many += "h\x01";
  refused(many + "e", ErrorCode::kLimitExceeded);
}

TEST(TorchSource, ShardsOfAFolderAreReadThroughItsIndex) {
  const TempFolder folder;
  const auto shard = [&](const char* file, const std::string& name, bool zip) {
    const std::string pickle = p::Dict({{p::Str(name), FloatTensor(12, 4, {2}, {1})}});
    folder.Write(file, zip ? BuildZip(TorchZip(pickle, kTwelve)) : TorchLegacy(pickle, kTwelve));
  };
  shard("pytorch_model-00001-of-00002.bin", "model.b.weight", true);
  shard("pytorch_model-00002-of-00002.bin", "model.a.weight", false);
  folder.Write("config.json", std::string_view(R"({"model_type": "x"})"));
  folder.Write("pytorch_model.bin.index.json", std::string_view(R"({"weight_map": {
      "model.b.weight": "pytorch_model-00001-of-00002.bin",
      "model.a.weight": "pytorch_model-00002-of-00002.bin"}})"));
  const auto source = OpenModel(folder.path());
  EXPECT_EQ(source->format(), "huggingface");
  EXPECT_THAT(Names(*source), ElementsAre("model.b.weight", "model.a.weight"));
  EXPECT_THAT(ReadTensor(*source, "model.b.weight"), ElementsAre(4, 5));
  EXPECT_THAT(ReadTensor(*source, "model.a.weight"), ElementsAre(4, 5));
  // a single file knows its folder, too
  const auto single = OpenModel(folder.path() / "pytorch_model-00001-of-00002.bin");
  EXPECT_EQ(single->config()["model_type"], "x");
}

TEST(TorchSource, IsFoundByContentNotByName) {
  const TempFolder folder;
  for (const char* name : {"model.pth", "model.safetensors", "model.gguf", "noextension"}) {
    const auto path = folder.Write(name, BuildZip(TorchZip("}", {})));
    EXPECT_EQ(OpenModel(path)->format(), "pytorch");
  }
  for (const auto& bytes : {std::string("hello"), "7z\xbc\xaf\x27\x1c" + std::string(60, 'x'),
                            std::string(4096, '\0')}) {
    EXPECT_QUERN_ERROR(OpenModel(folder.Write("a.pth", bytes)), ErrorCode::kBadMagic);
  }
}

}  // namespace
}  // namespace quern::formats
