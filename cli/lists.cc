// quern formats | architectures | types: what this build supports.
#include <fmt/format.h>

#include "cli/command.h"
#include "converters/architecture.h"
#include "formats/reader.h"
#include "quant/codec.h"
#include "quant/recipe.h"

namespace quern::cli {
namespace {

int ListFormats(const CommonOptions& common) {
  Json list = Json::array();
  for (const auto& format : formats::Formats()) {
    if (!common.json) fmt::print("{:<16} {}\n", format.name, format.description);
    list.push_back({{"name", format.name}, {"description", format.description}});
  }
  if (common.json) PrintJson({{"formats", std::move(list)}});
  return 0;
}

Json FileTypeList(bool print) {
  Json list = Json::array();
  if (print) fmt::print("File types (-t):\n");
  for (const auto& type : quant::FileTypes()) {
    const quant::Codec* codec = quant::FindCodec(type.base);
    if (codec == nullptr || codec->quantize == nullptr) continue;
    if (print) fmt::print("  {:<10} {}\n", type.name, type.description);
    list.push_back({{"name", type.name},
                    {"id", type.id},
                    {"base", Name(type.base)},
                    {"description", type.description}});
  }
  return list;
}

Json TensorTypeList(bool print) {
  Json list = Json::array();
  if (print) fmt::print("Tensor types:\n");
  for (const auto& info : TensorTypes()) {
    const quant::Codec* codec = quant::FindCodec(info.type);
    const bool reads = codec != nullptr && codec->dequantize != nullptr;
    const bool writes = codec != nullptr && codec->quantize != nullptr;
    const double bits = 8.0 * info.block_bytes / info.block_elements;
    if (print) {
      fmt::print("  {:<10} {:7.4g} bits per weight, blocks of {:<3} {}\n", info.name, bits,
                 info.block_elements,
                 writes  ? "read, write"
                 : reads ? "read"
                         : "listed only");
    }
    list.push_back({{"name", info.name},
                    {"gguf_id", info.gguf_id},
                    {"block_elements", info.block_elements},
                    {"block_bytes", info.block_bytes},
                    {"bits_per_weight", bits},
                    {"reads", reads},
                    {"writes", writes}});
  }
  return list;
}

int ListArchitectures(const CommonOptions& common) {
  Json list = Json::array();
  for (const auto& architecture : converters::Architectures()) {
    if (!common.json) {
      fmt::print("{:<12} {}\n", architecture.name, fmt::join(architecture.accepts, ", "));
    }
    list.push_back({{"name", architecture.name}, {"accepts", architecture.accepts}});
  }
  if (common.json) PrintJson({{"architectures", std::move(list)}});
  return 0;
}

int ListTypes(const CommonOptions& common) {
  Json file_types = FileTypeList(!common.json);
  Json tensor_types = TensorTypeList(!common.json);
  if (common.json) {
    PrintJson({{"file_types", std::move(file_types)}, {"tensor_types", std::move(tensor_types)}});
  }
  return 0;
}

}  // namespace

void AddLists(CLI::App& app, Program& program) {
  const auto add = [&](const char* name, const char* description,
                       int (*list)(const CommonOptions&)) {
    AddCommand(app, program, name, description, {.json = true},
               [list, &program] { return list(program.common); });
  };
  add("formats", "List the formats that can be read", ListFormats);
  add("architectures", "List the architectures that can be converted", ListArchitectures);
  add("types", "List file types and tensor types", ListTypes);
}

}  // namespace quern::cli
