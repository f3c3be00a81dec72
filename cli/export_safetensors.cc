#include "cli/export_safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <system_error>

#include "cli/interrupt.h"
#include "cli/progress.h"
#include "converters/executor.h"
#include "formats/core/error.h"
#include "formats/huggingface/side_files.h"
#include "formats/reader.h"

namespace quern::cli {
namespace {

namespace fs = std::filesystem;
using converters::HuggingFaceExport;
using converters::Job;
using converters::WritePlan;

converters::HuggingFaceOptions OptionsOf(const ExportSafetensorsArguments& arguments) {
  converters::HuggingFaceOptions options{
      .architecture_files = {arguments.architecture_files.begin(),
                             arguments.architecture_files.end()},
      .dtype = {},
      .shard_bytes = arguments.shard_bytes};
  if (arguments.dtype == "bf16") options.dtype = TensorType::kBF16;
  if (arguments.dtype == "f16") options.dtype = TensorType::kF16;
  if (arguments.dtype == "f32") options.dtype = TensorType::kF32;
  return options;
}

bool IsWeights(const std::string& name) {
  return name.ends_with(".safetensors") || name.ends_with(".index.json") ||
         name.ends_with(".bin") || name.ends_with(".pth") || name.ends_with(".pt");
}

// What lies in the folder already and is not replaced would be taken for part of the model.
void RequireNothingElse(const fs::path& folder, const WritePlan& plan) {
  for (const std::string& name : formats::huggingface::ListFiles(folder)) {
    const bool replaced = std::find(plan.names.begin(), plan.names.end(), name) != plan.names.end();
    const bool known =
        IsWeights(name) || (name != "README.md" && formats::huggingface::IsSideFile(name));
    if (replaced || !known) continue;
    throw Error(ErrorCode::kExists, {(folder / name).string(), {}, {}},
                "belongs to another model; choose an empty folder");
  }
}

// A folder that is made for the output, and taken away again where nothing came into it.
class OutputFolder {
 public:
  explicit OutputFolder(const fs::path& path) : path_(path) {
    std::error_code error;
    made_ = fs::create_directory(path, error);
    if (error || !fs::is_directory(path)) {
      throw Error(ErrorCode::kIo, {path.string(), {}, {}},
                  fmt::format("cannot be made: {}", error ? error.message() : "it is a file"));
    }
  }
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;
  ~OutputFolder() {
    std::error_code ignored;
    if (made_) fs::remove(path_, ignored);  // which leaves a folder that is not empty
  }

 private:
  fs::path path_;
  bool made_ = false;
};

Json ToJson(const HuggingFaceExport& result, const Job& job, bool full) {
  const WritePlan& plan = result.plan;
  Json json =
      full ? converters::PlanToJson(result.model, plan)
           : Json{{"type", plan.type_name}, {"file_bytes", plan.file_bytes}, {"notes", plan.notes}};
  json["files"] = Json::array();
  for (size_t file = 0; file < plan.files.size(); ++file) {
    json["files"].push_back({{"path", converters::FilePath(plan, job.path, file).string()},
                             {"bytes", plan.files[file].bytes}});
  }
  json["output"] = job.path.string();
  json["architecture"] = result.model.architecture;
  json["format"] = "safetensors";
  return json;
}

void PrintPlan(const HuggingFaceExport& result, const Job& job) {
  const WritePlan& plan = result.plan;
  for (size_t file = 0; file < plan.files.size(); ++file) {
    fmt::print("{}  {} bytes\n", converters::FilePath(plan, job.path, file).string(),
               plan.files[file].bytes);
    for (const auto& planned : plan.tensors) {
      if (planned.file != file) continue;
      const auto& tensor = result.model.tensors[planned.tensor];
      fmt::print("{:>12} {:>12}  {:<5} {:<50} [{}]  {}\n", planned.offset, planned.bytes,
                 Name(planned.type), Printable(tensor.name, 70), fmt::join(planned.shape, ", "),
                 Describe(tensor.value));
    }
  }
}

void Write(const ModelSource& source, const HuggingFaceExport& result, const Job& job,
           const CommonOptions& common) {
  ProgressLine line(common);
  converters::ExecuteOptions options{.threads = common.threads,
                                     .memory = common.memory,
                                     .output = {.force = common.force, .resume = common.resume}};
  options.progress = [&](const converters::Progress& progress) {
    ThrowIfInterrupted(common.resume ? Leaves::kPartial : Leaves::kNothing);
    line.Update(progress);
  };
  options.note = [&](const std::string& note) { Say(common, "note: " + note); };
  const OutputFolder folder(job.path);
  RequireNothingElse(job.path, result.plan);
  converters::Execute(source, result.model, {&job, 1}, options);
  line.Finish();
  if (common.json) {
    Json json = ToJson(result, job, false);
    json["dry_run"] = false;
    json["seconds"] = line.seconds();
    PrintJson(json);
  }
  Say(common, fmt::format("{}: {} files, {} tensors, {}, {:.1f} s", job.path.string(),
                          result.plan.files.size(), result.plan.tensors.size(),
                          HumanBytes(result.plan.file_bytes), line.seconds()));
}

}  // namespace

void AddExportSafetensorsOptions(CLI::App& command, ExportSafetensorsArguments& arguments) {
  command
      .add_option("--dtype", arguments.dtype,
                  "Type of the weights: auto (as they are, quantized ones as f16), bf16, f16, f32")
      ->check(CLI::IsMember({"auto", "bf16", "f16", "f32"}));
  command
      .add_option_function<std::string>(
          "--shard-size",
          [&arguments](const std::string& text) { arguments.shard_bytes = ParseSize(text); },
          "Largest shard of weights, e.g. 2G (default 5 GB)")
      ->type_name("SIZE");
  command
      .add_option("--architecture", arguments.architecture_files,
                  "Architecture file to look into first; repeatable (docs/architectures.md)")
      ->take_all()
      ->type_name("FILE");
}

int ExportSafetensors(const ExportSafetensorsArguments& arguments, const CommonOptions& common) {
  const auto source = formats::OpenModel(arguments.model, arguments.open);
  const HuggingFaceExport result = converters::PlanHuggingFaceExport(*source, OptionsOf(arguments));
  const Job job{&result.plan, arguments.output};
  for (const std::string& note : result.plan.notes) Say(common, "note: " + note);
  if (!common.dry_run) {
    Write(*source, result, job, common);
  } else if (common.json) {
    Json json = ToJson(result, job, true);
    json["dry_run"] = true;
    PrintJson(json);
  } else {
    PrintPlan(result, job);
  }
  return 0;
}

}  // namespace quern::cli
