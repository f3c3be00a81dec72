#include "cli/write_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "cli/error_report.h"
#include "cli/interrupt.h"
#include "cli/json_file.h"
#include "cli/progress.h"
#include "cli/provenance.h"
#include "converters/executor.h"
#include "converters/model_edits.h"
#include "converters/naming.h"
#include "converters/size_target.h"
#include "formats/core/error.h"
#include "verify/written.h"

namespace quern::cli {
namespace {

namespace fs = std::filesystem;
using converters::Job;
using converters::OutputModel;
using converters::PlanOptions;
using converters::WritePlan;

// FILE with {type} replaced, or a name made from the metadata in the current folder.
fs::path OutputPath(const PlanArguments& arguments, const ModelSource& source,
                    const WritePlan& plan) {
  if (!arguments.output.empty()) {
    std::string path = arguments.output;
    constexpr std::string_view kPlaceholder = "{type}";
    for (size_t at; (at = path.find(kPlaceholder)) != path.npos;) {
      path.replace(at, kPlaceholder.size(), plan.type_name);
    }
    return path;
  }
  fs::path stem = fs::absolute(source.path()).lexically_normal();
  stem = stem.has_filename() ? stem.filename() : stem.parent_path().filename();
  if (stem.extension() == ".gguf" || stem.extension() == ".safetensors") stem = stem.stem();
  return converters::DefaultFileName(plan.metadata, plan.type_name, stem.string());
}

void RequireNotTheSource(const fs::path& path, const ModelSource& source) {
  for (const File& file : source.files()) {
    std::error_code ignored;
    if (fs::equivalent(path, file.path(), ignored)) {
      throw Error(ErrorCode::kUsage, {path.string(), {}, "--output"},
                  "the output is the model itself; choose another name");
    }
  }
}

std::vector<Job> MakeJobs(const std::vector<WritePlan>& plans, const PlanArguments& arguments,
                          const ModelSource& source) {
  std::vector<Job> jobs;
  std::set<fs::path> paths;
  for (const WritePlan& plan : plans) {
    jobs.push_back({&plan, OutputPath(arguments, source, plan)});
    for (size_t file = 0; file < plan.files.size(); ++file) {
      const fs::path path =
          fs::weakly_canonical(converters::FilePath(plan, jobs.back().path, file));
      if (!paths.insert(path).second) {
        throw Error(ErrorCode::kUsage, {path.string(), {}, "--output"},
                    "two types would go to one file; put {type} into the name");
      }
      RequireNotTheSource(path, source);
    }
  }
  return jobs;
}

Json FilesToJson(const Job& job) {
  Json files = Json::array();
  for (size_t file = 0; file < job.plan->files.size(); ++file) {
    files.push_back({{"path", converters::FilePath(*job.plan, job.path, file).string()},
                     {"bytes", job.plan->files[file].bytes}});
  }
  return files;
}

std::vector<const WritePlan*> PlansOf(const std::vector<Job>& jobs) {
  std::vector<const WritePlan*> plans;
  for (const Job& job : jobs) plans.push_back(job.plan);
  return plans;
}

bool RequantizesAny(const OutputModel& model, const std::vector<Job>& jobs) {
  return std::any_of(jobs.begin(), jobs.end(), [&](const Job& job) {
    return std::any_of(
        job.plan->tensors.begin(), job.plan->tensors.end(),
        [&](const auto& planned) { return converters::IsRequantized(model, planned); });
  });
}

Json JobToJson(const OutputModel& model, const Job& job, bool full) {
  Json json = full ? converters::PlanToJson(model, *job.plan)
                   : Json{{"type", job.plan->type_name},
                          {"file_bytes", job.plan->file_bytes},
                          {"notes", job.plan->notes}};
  json["output"] = job.path.string();
  json["files"] = FilesToJson(job);
  json["architecture"] = model.architecture;
  return json;
}

void PrintPlan(const OutputModel& model, const Job& job) {
  const WritePlan& plan = *job.plan;
  fmt::print("{}  {}  {} tensors  {} bytes ({})\n", job.path.string(), plan.type_name,
             plan.tensors.size(), plan.file_bytes, HumanBytes(plan.file_bytes));
  const bool shards = plan.named_as_shards;
  for (size_t file = 0; shards && file < plan.files.size(); ++file) {
    fmt::print("{}  {} bytes\n", converters::FilePath(plan, job.path, file).string(),
               plan.files[file].bytes);
  }
  for (const auto& planned : plan.tensors) {
    const auto& tensor = model.tensors[planned.tensor];
    if (shards) fmt::print("{:>5}: ", planned.file + 1);
    fmt::print("{:>12} {:>12}  {:<8} {:<40} [{}]  {}{}\n", planned.offset, planned.bytes,
               Name(planned.type), Printable(tensor.name, 60), fmt::join(tensor.value.shape, ", "),
               planned.reason, planned.via ? fmt::format("; through {}", Name(*planned.via)) : "");
  }
}

// A table: name, shape, type in the source, type in the output, the rule that chose it.
void Explain(const OutputModel& model, const Job& job) {
  size_t names = 0;
  size_t shapes = 0;
  const auto shape = [](const auto& planned) {
    return fmt::format("[{}]", fmt::join(planned.shape, ", "));
  };
  for (const auto& planned : job.plan->tensors) {
    names = std::max(names, Printable(model.tensors[planned.tensor].name, 60).size());
    shapes = std::max(shapes, shape(planned).size());
  }
  fmt::print("{}\n", job.plan->type_name);
  for (const auto& planned : job.plan->tensors) {
    const auto& tensor = model.tensors[planned.tensor];
    fmt::print("{:<{}}  {:<{}}  {:>7} -> {:<7}  {}{}{}\n", Printable(tensor.name, 60), names,
               shape(planned), shapes, Name(tensor.value.type), Name(planned.type), planned.reason,
               planned.via ? fmt::format("; through {}", Name(*planned.via)) : "",
               planned.importance.empty() ? "" : "; by importance");
  }
}

void DryRun(const OutputModel& model, const std::vector<Job>& jobs, uint64_t memory,
            const CommonOptions& common) {
  if (common.json) {
    Json plans = Json::array();
    for (const Job& job : jobs) plans.push_back(JobToJson(model, job, true));
    PrintJson({{"dry_run", true}, {"memory_bytes", memory}, {"outputs", std::move(plans)}});
    return;
  }
  for (const Job& job : jobs) PrintPlan(model, job);
  Say(common, fmt::format("memory for rows in flight and headers: {}", HumanBytes(memory)));
}

void Report(const OutputModel& model, const std::vector<Job>& jobs, double seconds,
            const CommonOptions& common) {
  if (common.json) {
    Json outputs = Json::array();
    for (const Job& job : jobs) outputs.push_back(JobToJson(model, job, false));
    PrintJson({{"dry_run", false}, {"seconds", seconds}, {"outputs", std::move(outputs)}});
  }
  for (const Job& job : jobs) {
    const size_t files = job.plan->files.size();
    Say(common, fmt::format("{}: {} tensors, {}, {:.1f} s",
                            converters::FilePath(*job.plan, job.path, 0).string() +
                                (files > 1 ? fmt::format(" and {} more shards", files - 1) : ""),
                            job.plan->tensors.size(), HumanBytes(job.plan->file_bytes), seconds));
  }
}

// The plan for --target-size or --target-bpw.
WritePlan PlanForTarget(const ModelSource& source, const OutputModel& model, PlanOptions options,
                        const converters::SizeTarget& target, const CommonOptions& common) {
  ProgressLine line(common);
  converters::TypeTrialOptions trials{.threads = common.threads};
  trials.progress = [&](const converters::Progress& progress) {
    ThrowIfInterrupted();
    line.Update(progress);
  };
  const auto selection = converters::SelectTypes(source, model, options, target, trials);
  line.Finish();
  options.selection = &selection;
  return converters::MakePlan(model, options);
}

std::vector<WritePlan> MakePlans(const ModelSource& source, const OutputModel& model,
                                 const PlanArguments& arguments, const quant::Imatrix* imatrix,
                                 const CommonOptions& common) {
  std::vector<WritePlan> plans;
  for (const std::string& type : arguments.types) {
    plans.push_back(converters::MakePlan(model, MakePlanOptions(arguments, type, imatrix)));
  }
  const auto add = [&](const converters::SizeTarget& target) {
    plans.push_back(
        PlanForTarget(source, model, MakePlanOptions(arguments, "auto", imatrix), target, common));
  };
  if (arguments.target_size) add(converters::FileBytes{*arguments.target_size});
  if (arguments.target_bpw) add(converters::BitsPerWeight{*arguments.target_bpw});
  return plans;
}

void RequireJsonPaths(const PlanArguments& arguments, const std::vector<Job>& jobs,
                      const CommonOptions& common) {
  const std::string& report = arguments.report;
  const std::string& manifest = arguments.manifest;
  if (!report.empty()) RequireJsonPath(report, "--report", jobs, common);
  if (manifest.empty()) return;
  RequireJsonPath(manifest, "--manifest", jobs, common);
  if (fs::weakly_canonical(manifest) == fs::weakly_canonical(report)) {
    throw Error(ErrorCode::kUsage, {manifest, {}, "--manifest"},
                "the report would go to the same file; choose another name");
  }
}

// Those that several plans share once.
void SayNotes(const std::vector<WritePlan>& plans, const CommonOptions& common) {
  std::set<std::string> said;
  for (const WritePlan& plan : plans) {
    for (const std::string& note : plan.notes) {
      if (said.insert(note).second) Say(common, "note: " + note);
    }
  }
}

}  // namespace

int WriteModel(const ModelSource& source, OutputModel model, const PlanArguments& arguments,
               const CommonOptions& common) {
  if (!arguments.prune_layers.empty()) {
    converters::PruneLayers(converters::ParseLayers(arguments.prune_layers), model);
  }
  const std::optional<quant::Imatrix> imatrix = ReadImatrix(arguments);
  const std::vector<WritePlan> plans =
      MakePlans(source, model, arguments, imatrix ? &*imatrix : nullptr, common);
  const std::vector<Job> jobs = MakeJobs(plans, arguments, source);
  SayNotes(plans, common);

  ProgressLine line(common);
  converters::ExecuteOptions options{.threads = common.threads,
                                     .memory = common.memory,
                                     .output = {.force = common.force, .resume = common.resume}};
  options.progress = [&](const converters::Progress& progress) {
    ThrowIfInterrupted(common.resume ? Leaves::kPartial : Leaves::kNothing);
    line.Update(progress);
  };
  options.allow_nonfinite = arguments.allow_nonfinite;
  options.check = [&](const Job& job, size_t file, const fs::path& partial) {
    verify::CheckWritten(partial, model, *job.plan, file);
  };
  options.note = [&](const std::string& note) { Say(common, "note: " + note); };
  if (arguments.explain && !common.json) {
    for (const Job& job : jobs) Explain(model, job);
    return 0;
  }
  if (common.dry_run || arguments.explain) {
    DryRun(model, jobs, converters::ExecuteMemory(model, jobs, options), common);
    return 0;
  }
  RequireJsonPaths(arguments, jobs, common);
  converters::ErrorReport errors(model, PlansOf(jobs));
  // Measuring again what an earlier run has written is only done for a report.
  if (!arguments.report.empty() || (!common.resume && RequantizesAny(model, jobs))) {
    options.errors = &errors;
  }
  converters::Execute(source, model, jobs, options);
  line.Finish();
  if (!arguments.report.empty()) WriteErrorReport(arguments.report, errors, jobs, common);
  if (!arguments.manifest.empty()) {
    WriteProvenance(arguments.manifest, source, model.architecture, jobs, common);
  }
  SayRequantizationErrors(model, errors, jobs, common);
  Report(model, jobs, line.seconds(), common);
  return 0;
}

}  // namespace quern::cli
