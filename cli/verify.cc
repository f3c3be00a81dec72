// quern verify PATH|ADDRESS...: models and the stores that they are in, against everything that is
// known of them; with --against, a GGUF against the weights that it was made from.
#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/verify_report.h"
#include "converters/converter.h"
#include "formats/core/error.h"
#include "formats/imatrix/imatrix_reader.h"
#include "verify/against.h"
#include "verify/duplicates.h"
#include "verify/store_checks.h"

namespace quern::cli {
namespace {

using verify::CheckList;
using verify::DuplicateFiles;
using verify::TensorComparison;

struct Arguments {
  std::vector<std::string> paths;
  verify::CheckOptions check;
  bool skip_weights = false;
  bool duplicates = false;
  std::string against;
  std::string imatrix;
  std::vector<std::string> architecture_files;
};

uint64_t Reclaimable(const std::vector<DuplicateFiles>& duplicates) {
  uint64_t bytes = 0;
  for (const DuplicateFiles& group : duplicates) bytes += group.reclaimable;
  return bytes;
}

void AddDuplicates(const std::vector<DuplicateFiles>& duplicates, Json& json) {
  Json groups = Json::array();
  for (const DuplicateFiles& group : duplicates) {
    groups.push_back({{"sha256", group.sha256},
                      {"bytes", group.bytes},
                      {"reclaimable_bytes", group.reclaimable},
                      {"paths", group.paths}});
  }
  json["duplicates"] = std::move(groups);
  json["reclaimable_bytes"] = Reclaimable(duplicates);
}

void PrintDuplicates(const std::vector<DuplicateFiles>& duplicates) {
  for (const DuplicateFiles& group : duplicates) {
    fmt::print("{} in {} places, {} reclaimable: sha256 {}\n", HumanBytes(group.bytes),
               group.paths.size(), HumanBytes(group.reclaimable), group.sha256);
    for (const std::string& path : group.paths) fmt::print("  {}\n", Printable(path, 4096));
  }
  fmt::print("duplicates: {} reclaimable with one copy of each (nothing was deleted)\n",
             HumanBytes(Reclaimable(duplicates)));
}

Json OrphansToJson(const CheckList& list) {
  Json orphans = Json::array();
  for (const verify::Orphan& orphan : list.orphans()) {
    orphans.push_back({{"path", orphan.path}, {"bytes", orphan.bytes}});
  }
  return orphans;
}

std::string DescribeOrphans(const std::vector<verify::Orphan>& orphans) {
  uint64_t bytes = 0;
  for (const verify::Orphan& orphan : orphans) bytes += orphan.bytes;
  return fmt::format("{} blobs that nothing refers to, {}", orphans.size(), HumanBytes(bytes));
}

int VerifyPaths(const Arguments& arguments, const CommonOptions& common) {
  CheckList list;
  for (const std::string& path : arguments.paths) {
    verify::CheckAddress(path, arguments.check, list);
  }
  if (arguments.duplicates) verify::RequestDigests(list);
  ProgressLine line(common);
  list.Run({.threads = common.threads,
            .weights = !arguments.skip_weights,
            .progress = [&](const verify::CheckProgress& progress) {
              ThrowIfInterrupted();
              line.UpdateBytes(progress.done, progress.total);
            }});
  line.Finish();
  VerifyReport report{.checked = list.checked(),
                      .bytes = list.bytes(),
                      .seconds = line.seconds(),
                      .problems = list.problems(),
                      .notes = list.notes()};
  report.more["orphans"] = OrphansToJson(list);
  std::vector<DuplicateFiles> duplicates;
  if (arguments.duplicates) {
    duplicates = verify::FindDuplicates(list);
    AddDuplicates(duplicates, report.more);
  }
  if (!common.json && !list.orphans().empty()) {
    report.notes.push_back(DescribeOrphans(list.orphans()));
  }
  const int code = PrintProblems(report, common);
  if (arguments.duplicates && !common.json) PrintDuplicates(duplicates);
  return code;
}

Json TensorsToJson(const std::vector<TensorComparison>& tensors) {
  Json list = Json::array();
  for (const TensorComparison& tensor : tensors) {
    list.push_back({{"name", tensor.name},
                    {"type", Name(tensor.type)},
                    {"verdict", verify::VerdictName(tensor.verdict)},
                    {"coding", tensor.how},
                    {"detail", tensor.detail},
                    {"blocks", tensor.blocks},
                    {"different_blocks", tensor.different_blocks},
                    {"relative_rmse", tensor.relative_rmse}});
  }
  return list;
}

// What is no problem and no exact proof either.
void NoteVerdicts(const std::vector<TensorComparison>& tensors, const CommonOptions& common,
                  VerifyReport& report) {
  size_t equal = 0;
  for (const TensorComparison& tensor : tensors) {
    equal += tensor.verdict == verify::Verdict::kEqual;
    if (tensor.verdict != verify::Verdict::kWithinBound || common.json) continue;
    report.notes.push_back(fmt::format("{}: {}", tensor.name, tensor.detail));
  }
  report.notes.push_back(fmt::format("{} of {} tensors are byte for byte what the source gives",
                                     equal, tensors.size()));
}

int VerifyAgainst(const Arguments& arguments, const CommonOptions& common) {
  const std::string& path = arguments.paths.front();
  if (arguments.paths.size() != 1) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--against"}, "takes one file; name one PATH");
  }
  const auto output = formats::OpenModel(path);
  if (output->layout() != "gguf") {
    throw Error(ErrorCode::kUsage, {path, {}, {}}, "--against proves GGUF files; name one");
  }
  const auto source = formats::OpenModel(arguments.against, arguments.check.open);
  converters::ConvertOptions options;
  for (const std::string& file : arguments.architecture_files) {
    options.architecture_files.emplace_back(file);
  }
  const converters::OutputModel model = converters::Convert(*source, options);
  std::optional<quant::Imatrix> imatrix;
  if (!arguments.imatrix.empty()) imatrix = formats::imatrix::ReadImatrix(arguments.imatrix);
  ProgressLine line(common);
  const auto result =
      verify::CompareWithSource(*output, *source, model,
                                {.threads = common.threads,
                                 .imatrix = imatrix ? &*imatrix : nullptr,
                                 .progress = [&](const converters::Progress& progress) {
                                   ThrowIfInterrupted();
                                   line.UpdateBytes(progress.done, progress.total);
                                 }});
  line.Finish();
  VerifyReport report{.what = "tensors",
                      .checked = result.tensors.size(),
                      .bytes = result.bytes,
                      .seconds = line.seconds(),
                      .problems = {},
                      .notes = result.notes};
  for (const TensorComparison& tensor : result.tensors) {
    if (verify::Holds(tensor.verdict)) continue;
    report.problems.push_back({path, std::string(verify::VerdictName(tensor.verdict)),
                               fmt::format("{}: {}", Printable(tensor.name), tensor.detail)});
  }
  NoteVerdicts(result.tensors, common, report);
  report.more["tensors"] = TensorsToJson(result.tensors);
  return PrintProblems(report, common);
}

int Verify(const Arguments& arguments, const CommonOptions& common) {
  if (!arguments.against.empty()) return VerifyAgainst(arguments, common);
  if (!arguments.imatrix.empty()) {
    throw Error(ErrorCode::kUsage, {{}, {}, "--imatrix"},
                "says what --against compares with; give both");
  }
  return VerifyPaths(arguments, common);
}

void AddAgainstOptions(CLI::App& command, Arguments& arguments) {
  command
      .add_option("--against", arguments.against,
                  "The weights that the GGUF should have been made from: every tensor is made "
                  "again and compared")
      ->type_name("SOURCE");
  command.add_option("--imatrix", arguments.imatrix,
                     "With --against: the importance matrix that the GGUF was made with");
  command
      .add_option("--architecture", arguments.architecture_files,
                  "With --against: architecture file to use beside the built-in ones")
      ->take_all();
}

}  // namespace

void AddVerify(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = AddCommand(
      app, program, "verify", "Check models and stores: checksums, structure, missing files",
      {.json = true}, [arguments, &program] { return Verify(*arguments, program.common); });
  command
      ->add_option("PATH", arguments->paths,
                   "Model, folder, Ollama store, Hugging Face cache, git clone, list of checksums; "
                   "or ollama:NAME[:TAG], hf:ORG/NAME[@REVISION]")
      ->required();
  command->add_flag("--allow-orphans", arguments->check.allow_orphans,
                    "List blobs that nothing refers to, but do not count them as problems");
  command->add_flag("--skip-weights", arguments->skip_weights,
                    "Do not look for NaN and infinity in the tensors: files that nobody has a "
                    "checksum of are not read then");
  command->add_flag("--duplicates", arguments->duplicates,
                    "List files that are there more than once, and what one copy of each would "
                    "free; nothing is deleted");
  AddAgainstOptions(*command, *arguments);
  AddOpenOptions(*command, arguments->check.open);
}

}  // namespace quern::cli
