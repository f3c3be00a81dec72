#include "converters/huggingface_export.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include "converters/architecture.h"
#include "converters/config_inverse.h"
#include "converters/hyperparameters.h"
#include "converters/inverse.h"
#include "converters/mapper.h"
#include "converters/model_card.h"
#include "converters/tokenizer/tokenizer_export.h"
#include "formats/core/error.h"
#include "formats/gguf/gguf_writer.h"
#include "formats/safetensors/safetensors_writer.h"

namespace quern::converters {
namespace {

using formats::gguf::WithoutOuterOnes;
using formats::safetensors::Layout;
using formats::safetensors::NamedTensor;

// The folder as its reader would list it, for the way back.
class FutureFolder : public ModelSource {
 public:
  FutureFolder(const OutputModel& model, Json config) : ModelSource("the exported folder") {
    for (const OutputTensor& tensor : model.tensors) {
      AddTensor({.name = tensor.name, .type = tensor.value.type, .shape = tensor.value.shape});
    }
    config_ = std::move(config);
  }
  std::string_view format() const override { return "huggingface"; }
};

void RequireWayBack(const ModelSource& gguf, const Architecture& architecture,
                    const OutputModel& model, const Json& config) {
  const FutureFolder folder(model, config);
  const Hyperparameters h(config, architecture, gguf.path().string(), &folder);
  for (const OutputTensor& tensor : MapTensors(folder, architecture, h).tensors) {
    const TensorInfo* origin = gguf.FindTensor(tensor.name);
    if (origin != nullptr &&
        WithoutOuterOnes(origin->shape) == WithoutOuterOnes(tensor.value.shape))
      continue;
    throw Error(
        ErrorCode::kMismatch, {gguf.path().string(), {}, tensor.name},
        origin == nullptr
            ? std::string("converting the export back would make this tensor, which the GGUF has "
                          "not; the architecture file cannot be read backwards")
            : fmt::format("has shape [{}], and converting the export back would give [{}]; the "
                          "architecture file cannot be read backwards",
                          fmt::join(origin->shape, ", "), fmt::join(tensor.value.shape, ", ")));
  }
}

void NoteUnequalKeys(const ModelSource& gguf, const Architecture& architecture, const Json& config,
                     std::vector<std::string>& notes) {
  const auto keys = UnequalKeys(gguf, architecture, config);
  if (keys.empty()) return;
  notes.push_back(fmt::format("config.json cannot say these keys as the GGUF has them: {}",
                              fmt::join(keys, ", ")));
}

TensorType ExportedType(const OutputTensor& tensor, bool quantized,
                        const HuggingFaceOptions& options) {
  if (!IsFloat(tensor.value.type)) return tensor.value.type;
  if (options.dtype) return *options.dtype;
  return quantized ? TensorType::kF16 : tensor.value.type;
}

// Whether decoding is part of how the tensor is made.
bool IsDecoded(const Expression& value) {
  return value.op == Op::kDecode ||
         std::any_of(value.inputs.begin(), value.inputs.end(), IsDecoded);
}

std::string_view TorchName(TensorType type) {
  switch (type) {
    case TensorType::kBF16:
      return "bfloat16";
    case TensorType::kF16:
      return "float16";
    default:
      return "float32";
  }
}

// Of most of the weights.
TensorType MainType(const std::vector<NamedTensor>& tensors) {
  std::map<TensorType, uint64_t> bytes;
  for (const NamedTensor& tensor : tensors) {
    if (IsFloat(tensor.type)) bytes[tensor.type] += *TensorBytes(tensor.type, tensor.shape);
  }
  const auto most = std::max_element(
      bytes.begin(), bytes.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == bytes.end() ? TensorType::kF32 : most->first;
}

// The model's tensors in the types that they are written in.
std::vector<NamedTensor> ExportedTensors(const OutputModel& model,
                                         const HuggingFaceOptions& options,
                                         std::vector<std::string>& notes) {
  size_t decoded = 0;
  std::vector<NamedTensor> tensors;
  for (const OutputTensor& tensor : model.tensors) {
    const bool quantized = IsDecoded(tensor.value);
    if (quantized) ++decoded;
    tensors.push_back({tensor.name, ExportedType(tensor, quantized, options), tensor.value.shape});
  }
  if (decoded > 0) {
    notes.push_back(fmt::format(
        "{} tensors are decoded from quantized ones; what quantizing lost does not come back",
        decoded));
  }
  return tensors;
}

void AddText(std::string name, const std::string& content, WritePlan& plan) {
  plan.names.push_back(std::move(name));
  plan.files.push_back({{content.begin(), content.end()}, content.size()});
}

void AddWeights(const std::vector<NamedTensor>& tensors, const OutputModel& model, Layout layout,
                WritePlan& plan) {
  for (auto& file : layout.files) {
    for (const auto& placed : file.tensors) {
      const NamedTensor& tensor = tensors[placed.tensor];
      const TensorType stored = model.tensors[placed.tensor].value.type;
      PlannedTensor planned{.tensor = placed.tensor, .type = tensor.type, .shape = tensor.shape};
      planned.reason = tensor.type == stored ? "as it is" : "the type of the export";
      planned.file = static_cast<uint32_t>(plan.files.size());
      planned.offset = placed.offset;
      planned.bytes = placed.bytes;
      plan.tensors.push_back(std::move(planned));
    }
    plan.names.push_back(file.name);
    plan.files.push_back({std::move(file.header), file.bytes});
  }
  if (!layout.index.empty()) {
    AddText(std::string(formats::safetensors::kIndexName), layout.index, plan);
  }
}

std::string ArchitectureOf(const ModelSource& gguf) {
  const auto name = gguf.metadata().GetString("general.architecture");
  if (gguf.layout() == "gguf" && name) return std::string(*name);
  throw Error(ErrorCode::kUsage, {gguf.path().string(), {}, {}},
              "only a GGUF with general.architecture can be exported; convert the model first");
}

}  // namespace

HuggingFaceExport PlanHuggingFaceExport(const ModelSource& gguf,
                                        const HuggingFaceOptions& options) {
  const Architecture architecture = FindExport(ArchitectureOf(gguf), options.architecture_files);
  HuggingFaceExport result;
  OutputModel& model = result.model;
  WritePlan& plan = result.plan;
  model.architecture = architecture.name;
  Json config = InvertConfig(gguf, architecture, plan.notes);
  const Hyperparameters h(config, architecture, gguf.path().string());
  model.tensors = InvertTensors(gguf, architecture, h);
  config["tie_word_embeddings"] = gguf.FindTensor("output.weight") == nullptr;
  RequireWayBack(gguf, architecture, model, config);
  NoteUnequalKeys(gguf, architecture, config, plan.notes);

  const std::vector<NamedTensor> tensors = ExportedTensors(model, options, plan.notes);
  plan.type_name = TorchName(MainType(tensors));
  config["torch_dtype"] = plan.type_name;
  const auto tokenizer = ExportTokenizer(gguf.metadata(), config, plan.notes);
  AddText("config.json", config.dump(2, ' ', false, Json::error_handler_t::replace) + "\n", plan);
  for (const SideFile& file : tokenizer) AddText(file.name, file.content, plan);
  for (const SideFile& file : ExportModelCard(gguf.metadata(), plan.notes)) {
    AddText(file.name, file.content, plan);
  }
  AddWeights(tensors, model, formats::safetensors::LayOut(tensors, options.shard_bytes), plan);
  for (const PlannedFile& file : plan.files) plan.file_bytes += file.bytes;
  return result;
}

}  // namespace quern::converters
