#include "converters/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "formats/core/error.h"
#include "formats/gguf/gguf_writer.h"
#include "quant/codec.h"

namespace quern::converters {
namespace {

constexpr uint32_t kQuantizationVersion = 2;  // GGML_QNT_VERSION

// The type in which llama.cpp's converter would have stored a tensor.
TensorType ConvertedType(const OutputTensor& tensor, TensorType weights) {
  return tensor.keep_f32 ? TensorType::kF32 : weights;
}

bool CanDecode(TensorType type) {
  const quant::Codec* codec = quant::FindCodec(type);
  return codec != nullptr && codec->dequantize != nullptr;
}

void RequireDecoder(const OutputTensor& tensor, TensorType target) {
  if (tensor.value.type == target || CanDecode(tensor.value.type)) return;
  throw Error(
      ErrorCode::kUnsupported, {{}, {}, tensor.name},
      fmt::format("{} weights cannot be decoded by this build; `quern types` lists what can",
                  Name(tensor.value.type)));
}

// As llama.cpp's converter: the model's own order, one type for all weights.
void PlanConversion(const OutputModel& model, TensorType type, WritePlan& plan) {
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    const OutputTensor& tensor = model.tensors[i];
    plan.tensors.push_back(
        {.tensor = i,
         .type = ConvertedType(tensor, type),
         .shape = tensor.value.shape,
         .reason = tensor.keep_f32 ? "always stored as F32" : "the type of all weights"});
  }
  const quant::FileType* file_type = quant::FindFileType(Name(type));
  plan.type_name = file_type->name;
  if (model.metadata.Has("general.file_type")) {
    plan.metadata.Set("general.file_type", file_type->id);
  }
}

// A GGUF source under "auto": every tensor as it is.
void PlanCopy(const OutputModel& model, WritePlan& plan) {
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    plan.tensors.push_back({.tensor = i,
                            .type = model.tensors[i].value.type,
                            .shape = model.tensors[i].value.shape,
                            .reason = "copied"});
  }
  plan.type_name = "COPY";
}

std::vector<quant::TypeChoice> ChoicesFor(const OutputModel& model, const PlanOptions& options,
                                          std::span<const quant::RecipeTensor> tensors) {
  if (options.selection) return options.selection->choices;
  quant::RecipeOptions recipe = options.recipe;
  recipe.has_imatrix = options.imatrix != nullptr;
  return quant::ChooseTypes(*options.file_type, quant::FactsFrom(model.metadata), tensors, recipe);
}

uint32_t FileTypeId(const OutputModel& model, const PlanOptions& options,
                    std::span<const quant::RecipeTensor> tensors) {
  if (options.selection) return options.selection->file_type;
  return options.file_type->only_copy ? quant::CopiedFileType(model.metadata, tensors)
                                      : options.file_type->id;
}

// As llama.cpp's quantizer run on the converter's file: its order, its choices, its keys.
void PlanQuantization(const OutputModel& model, const PlanOptions& options, WritePlan& plan) {
  const auto [order, ordered] = InputOfQuantizer(model, options);
  const auto choices = ChoicesFor(model, options, ordered);
  quant::RequireCodecs(ordered, choices);
  for (size_t k = 0; k < order.size(); ++k) {
    PlannedTensor planned{
        .tensor = order[k],
        .type = choices[k].type,
        // llama.cpp's quantizer drops outer dimensions of 1; its converter does not
        .shape = formats::gguf::WithoutOuterOnes(ordered[k].shape),
        .reason = choices[k].reason,
        .fallback = choices[k].fallback};
    const TensorType stored = ordered[k].type;
    if (stored != planned.type) {
      planned.via = RoundingBefore(model.tensors[order[k]].value.type, stored);
    }
    if (options.imatrix && stored != planned.type) {
      planned.importance = quant::ImportanceOf(*options.imatrix, ordered[k], choices[k]);
    }
    plan.tensors.push_back(std::move(planned));
  }
  plan.type_name = options.selection ? options.selection->type_name : options.file_type->name;
  plan.metadata.SetLast("general.quantization_version", kQuantizationVersion);
  plan.metadata.SetLast("general.file_type", FileTypeId(model, options, ordered));
  if (options.imatrix) {
    quant::AddImatrixMetadata(options.imatrix_file, *options.imatrix, plan.metadata);
  }
}

void LayOut(const OutputModel& model, WritePlan& plan) {
  std::vector<formats::gguf::TensorSpec> specs;
  for (const PlannedTensor& planned : plan.tensors) {
    const OutputTensor& tensor = model.tensors[planned.tensor];
    RequireDecoder(tensor, planned.type);
    specs.push_back({tensor.name, planned.shape, planned.type});
  }
  formats::gguf::Layout layout = formats::gguf::LayOut(plan.metadata, specs);
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    plan.tensors[i].offset = layout.offsets[i];
    plan.tensors[i].bytes = layout.bytes[i];
  }
  plan.header = std::move(layout.header);
  plan.file_bytes = layout.file_bytes;
}

void AddNotes(const OutputModel& model, const TypeSelection* selection, WritePlan& plan) {
  plan.notes = model.notes;
  if (selection)
    plan.notes.insert(plan.notes.end(), selection->notes.begin(), selection->notes.end());
  size_t fallbacks = 0, requantized = 0;
  std::optional<TensorType> via;
  for (const PlannedTensor& planned : plan.tensors) {
    fallbacks += planned.fallback;
    requantized += IsRequantized(model, planned);
    if (planned.via && model.tensors[planned.tensor].value.type == TensorType::kF32) {
      via = planned.via;
    }
  }
  if (fallbacks > 0) {
    plan.notes.push_back(fmt::format(
        "{} tensors have rows that {} cannot store; they get another type (see --dry-run)",
        fallbacks, plan.type_name));
  }
  if (requantized > 0) {
    plan.notes.push_back(fmt::format(
        "{} of {} tensors are quantized already and lose precision a second time; a F16, BF16 or "
        "F32 source gives a better file of this size",
        requantized, plan.tensors.size()));
  }
  if (via) {
    plan.notes.push_back(fmt::format(
        "F32 weights pass through {0}, as they do in llama.cpp's converter; --via F32 keeps their "
        "precision and gives other bytes",
        Name(*via)));
  }
}

}  // namespace

bool IsRequantized(const OutputModel& model, const PlannedTensor& planned) {
  const TensorType source = model.tensors[planned.tensor].value.type;
  return IsQuantized(source) && IsQuantized(planned.type) && source != planned.type;
}

QuantizerInput InputOfQuantizer(const OutputModel& model, const PlanOptions& options) {
  const bool from_gguf = !model.auto_type;
  std::vector<quant::RecipeTensor> tensors;
  for (const OutputTensor& tensor : model.tensors) {
    const TensorType type = from_gguf
                                ? tensor.value.type
                                : ConvertedType(tensor, options.via.value_or(*model.auto_type));
    tensors.push_back({tensor.name, tensor.value.shape, type});
  }
  QuantizerInput input{.order = quant::QuantizeOrder(tensors)};
  for (const size_t i : input.order) input.tensors.push_back(tensors[i]);
  return input;
}

std::optional<TensorType> RoundingBefore(TensorType value, TensorType stored) {
  if (stored == value || stored == TensorType::kF32) return std::nullopt;
  return stored;
}

WritePlan MakePlan(const OutputModel& model, const PlanOptions& options) {
  WritePlan plan;
  plan.metadata = model.metadata;
  const bool from_gguf = !model.auto_type;
  const quant::FileType* type = options.file_type;
  const bool as_it_is = type == nullptr || type->only_copy;
  if (options.selection) {
    PlanQuantization(model, options, plan);
  } else if (from_gguf && type == nullptr) {
    PlanCopy(model, plan);
  } else if (!from_gguf && (as_it_is || !IsQuantized(type->base))) {
    PlanConversion(model, as_it_is ? *model.auto_type : type->base, plan);
  } else {
    PlanQuantization(model, options, plan);
  }
  LayOut(model, plan);
  AddNotes(model, options.selection, plan);
  return plan;
}

Json PlanToJson(const OutputModel& model, const WritePlan& plan) {
  Json tensors = Json::array();
  for (const PlannedTensor& planned : plan.tensors) {
    const OutputTensor& tensor = model.tensors[planned.tensor];
    Json entry = {{"name", tensor.name},     {"type", Name(planned.type)},
                  {"shape", planned.shape},  {"offset", planned.offset},
                  {"bytes", planned.bytes},  {"source", Describe(tensor.value)},
                  {"reason", planned.reason}};
    if (planned.via) entry["via"] = Name(*planned.via);
    tensors.push_back(std::move(entry));
  }
  return {{"type", plan.type_name},
          {"file_bytes", plan.file_bytes},
          {"header_bytes", plan.header.size()},
          {"notes", plan.notes},
          {"tensors", std::move(tensors)}};
}

}  // namespace quern::converters
