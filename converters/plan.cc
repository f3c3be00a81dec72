#include "converters/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "converters/model_edits.h"
#include "formats/core/error.h"
#include "formats/gguf/gguf_format.h"
#include "formats/gguf/gguf_split.h"
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
void PlanCopy(const OutputModel& model, SplitRules rules, WritePlan& plan) {
  const bool as_gguf_split = rules == SplitRules::kGgufSplit || rules == SplitRules::kGgufMerge;
  const auto shape = [&](const Shape& of) {
    return as_gguf_split ? formats::gguf::WithoutOuterOnes(of) : of;
  };
  for (size_t i = 0; i < model.tensors.size(); ++i) {
    plan.tensors.push_back({.tensor = i,
                            .type = model.tensors[i].value.type,
                            .shape = shape(model.tensors[i].value.shape),
                            .reason = "copied"});
  }
  plan.type_name = "COPY";
}

std::vector<quant::TypeChoice> ChoicesFor(const OutputModel& model, const PlanOptions& options,
                                          std::span<const quant::RecipeTensor> tensors) {
  if (options.selection) return options.selection->choices;
  quant::RecipeOptions recipe = options.recipe;
  recipe.has_imatrix = options.imatrix != nullptr;
  Metadata metadata = model.metadata;
  OverrideKeys(options.overrides, metadata);
  return quant::ChooseTypes(*options.file_type, quant::FactsFrom(metadata), tensors, recipe);
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
      quant::RecipeTensor known = ordered[k];
      const std::string& unpruned = model.tensors[order[k]].unpruned_name;
      if (!unpruned.empty()) known.name = unpruned;
      planned.importance = quant::ImportanceOf(*options.imatrix, known, choices[k]);
    }
    plan.tensors.push_back(std::move(planned));
  }
  plan.type_name = options.selection ? options.selection->type_name : options.file_type->name;
  plan.metadata.SetLast("general.quantization_version", kQuantizationVersion);
  plan.metadata.SetLast("general.file_type", FileTypeId(model, options, ordered));
}

// What llama-quantize appends, in its order.
void AppendKeys(const OutputModel& model, const PlanOptions& options, bool quantizes,
                WritePlan& plan) {
  RequireDistinctKeys(options.overrides);
  for (const auto& [key, value] : options.overrides) {
    const Value* old = plan.metadata.Find(key);
    if (!old || TypeOf(*old) == TypeOf(value)) continue;
    plan.notes.push_back(fmt::format(
        "{} is {} in the model and becomes {}; llama.cpp refuses keys of an unexpected type",
        Printable(key), ValueTypeName(TypeOf(*old)), ValueTypeName(TypeOf(value))));
  }
  OverrideKeys(options.overrides, plan.metadata);
  if (options.imatrix && quantizes) {
    quant::AddImatrixMetadata(options.imatrix_file, *options.imatrix, plan.metadata);
  }
  if (model.layers_left) {
    const std::string architecture(plan.metadata.GetString("general.architecture").value_or(""));
    plan.metadata.SetLast(architecture + ".block_count", *model.layers_left);
  }
}

// "a (reason), b (reason) and 3 more"
std::string ListFallbacks(const OutputModel& model, const WritePlan& plan) {
  constexpr size_t kShown = 10;
  std::string list;
  size_t count = 0;
  for (const PlannedTensor& planned : plan.tensors) {
    if (!planned.fallback || ++count > kShown) continue;
    list += fmt::format("{}{} ({})", count > 1 ? ", " : "",
                        Printable(model.tensors[planned.tensor].name), planned.reason);
  }
  if (count > kShown) list += fmt::format(" and {} more", count - kShown);
  return list;
}

void RequireNoFallback(const OutputModel& model, const WritePlan& plan) {
  const std::string list = ListFallbacks(model, plan);
  if (list.empty()) return;
  throw Error(ErrorCode::kUnsupported, {{}, {}, "--strict"},
              fmt::format("{} cannot store the rows of {}; choose another type, or one for them by "
                          "--tensor-type",
                          plan.type_name, list));
}

// The file that the first source tensor of an expression is in.
std::optional<uint32_t> SourceFile(const Expression& value) {
  if (value.op == Op::kSource) return value.source->file;
  for (const Expression& input : value.inputs) {
    if (const auto file = SourceFile(input)) return file;
  }
  return std::nullopt;
}

Split AssignFiles(const OutputModel& model, const SplitOptions& options, WritePlan& plan) {
  std::vector<SplitTensor> tensors;
  for (const PlannedTensor& planned : plan.tensors) {
    const OutputTensor& tensor = model.tensors[planned.tensor];
    tensors.push_back({formats::gguf::DataBytes(planned.type, planned.shape, {{}, {}, tensor.name}),
                       SourceFile(tensor.value).value_or(0)});
  }
  Split split = SplitTensors(tensors, options);
  for (size_t i = 0; i < plan.tensors.size(); ++i) plan.tensors[i].file = split.files[i];
  std::stable_sort(plan.tensors.begin(), plan.tensors.end(),
                   [](const auto& a, const auto& b) { return a.file < b.file; });
  plan.named_as_shards = split.named_as_shards;
  if (options.rules == SplitRules::kConverter && split.count == 1) {
    plan.notes.push_back("the model is within the limits of a shard and stays one file");
  }
  return split;
}

void LayOut(const OutputModel& model, const SplitOptions& options, WritePlan& plan) {
  for (const PlannedTensor& planned : plan.tensors) {
    RequireDecoder(model.tensors[planned.tensor], planned.type);
  }
  const Split split = AssignFiles(model, options, plan);
  auto begin = plan.tensors.begin();
  for (uint32_t file = 0; file < split.count; ++file) {
    const auto end = std::find_if(begin, plan.tensors.end(), [&](const PlannedTensor& planned) {
      return planned.file != file;
    });
    std::vector<formats::gguf::TensorSpec> specs;
    for (auto planned = begin; planned != end; ++planned) {
      specs.push_back({model.tensors[planned->tensor].name, planned->shape, planned->type});
    }
    formats::gguf::Layout layout =
        formats::gguf::LayOut(MetadataOfFile(plan.metadata, split, options.rules, file), specs);
    for (size_t i = 0; begin != end; ++begin, ++i) {
      begin->offset = layout.offsets[i];
      begin->bytes = layout.bytes[i];
    }
    plan.file_bytes += layout.file_bytes;
    plan.files.push_back({std::move(layout.header), layout.file_bytes});
  }
}

void AddNotes(const OutputModel& model, WritePlan& plan) {
  size_t fallbacks = 0;
  size_t requantized = 0;
  std::optional<TensorType> via;
  for (const PlannedTensor& planned : plan.tensors) {
    const TensorType source = model.tensors[planned.tensor].value.type;
    fallbacks += planned.fallback;
    requantized += IsRequantized(model, planned);
    if (planned.via && source == TensorType::kF32) via = planned.via;
  }
  if (requantized > 0) {
    plan.notes.push_back(fmt::format(
        "{} of {} tensors are quantized already and lose precision a second time; a F16, BF16 or "
        "F32 source gives a better file of this size",
        requantized, plan.tensors.size()));
  }
  if (fallbacks > 0) {
    plan.notes.push_back(
        fmt::format("{} tensors have rows that {} cannot store; they get another type (--explain "
                    "lists them, --strict refuses them)",
                    fallbacks, plan.type_name));
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
  // llama.cpp takes the files' order then
  if (options.split.rules == SplitRules::kKeep) {
    std::iota(input.order.begin(), input.order.end(), size_t{0});
  }
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
  plan.notes = model.notes;
  if (options.selection) {
    const auto& notes = options.selection->notes;
    plan.notes.insert(plan.notes.end(), notes.begin(), notes.end());
  }
  const bool from_gguf = !model.auto_type;
  const quant::FileType* type = options.file_type;
  const bool as_it_is = type == nullptr || type->only_copy;
  const bool copies = from_gguf && type == nullptr && !options.selection;
  const bool converts = !from_gguf && !options.selection && (as_it_is || !IsQuantized(type->base));
  if (copies) {
    PlanCopy(model, options.split.rules, plan);
  } else if (converts) {
    PlanConversion(model, as_it_is ? *model.auto_type : type->base, plan);
  } else {
    PlanQuantization(model, options, plan);
  }
  if (options.strict) RequireNoFallback(model, plan);
  AppendKeys(model, options, !copies && !converts, plan);
  LayOut(model, options.split, plan);
  AddNotes(model, plan);
  return plan;
}

std::filesystem::path FilePath(const WritePlan& plan, const std::filesystem::path& output,
                               size_t file) {
  if (!plan.names.empty()) return output / plan.names[file];
  if (!plan.named_as_shards) return output;
  constexpr std::string_view kExtension = ".gguf";
  std::string prefix = output.filename().string();
  if (prefix.ends_with(kExtension)) prefix.resize(prefix.size() - kExtension.size());
  return output.parent_path() /
         formats::gguf::MakeShardName(
             {prefix, static_cast<uint32_t>(file + 1), static_cast<uint32_t>(plan.files.size())});
}

Json PlanToJson(const OutputModel& model, const WritePlan& plan) {
  Json tensors = Json::array();
  for (const PlannedTensor& planned : plan.tensors) {
    const OutputTensor& tensor = model.tensors[planned.tensor];
    Json entry = {{"name", tensor.name},
                  {"type", Name(planned.type)},
                  {"shape", planned.shape},
                  {"offset", planned.offset},
                  {"bytes", planned.bytes},
                  {"source", Describe(tensor.value)},
                  {"source_type", Name(tensor.value.type)},
                  {"reason", planned.reason},
                  {"fallback", planned.fallback},
                  {"importance", !planned.importance.empty()}};
    if (plan.files.size() > 1) entry["file"] = planned.file;
    if (planned.via) entry["via"] = Name(*planned.via);
    tensors.push_back(std::move(entry));
  }
  uint64_t header_bytes = 0;
  for (const PlannedFile& file : plan.files) header_bytes += file.header.size();
  return {{"type", plan.type_name},
          {"file_bytes", plan.file_bytes},
          {"header_bytes", header_bytes},
          {"notes", plan.notes},
          {"tensors", std::move(tensors)}};
}

}  // namespace quern::converters
