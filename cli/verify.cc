// quern verify PATH|ADDRESS...: models and the stores that they are in, against everything that is
// known of them.
#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "formats/core/error.h"
#include "verify/duplicates.h"
#include "verify/store_checks.h"

namespace quern::cli {
namespace {

using verify::CheckList;
using verify::DuplicateFiles;

constexpr int kExitProblems = 1;

struct Arguments {
  std::vector<std::string> paths;
  verify::CheckOptions check;
  bool skip_weights = false;
  bool duplicates = false;
};

uint64_t Reclaimable(const std::vector<DuplicateFiles>& duplicates) {
  uint64_t bytes = 0;
  for (const DuplicateFiles& group : duplicates) bytes += group.reclaimable;
  return bytes;
}

Json ReportToJson(const CheckList& list) {
  Json problems = Json::array(), orphans = Json::array();
  for (const verify::Problem& problem : list.problems()) {
    problems.push_back(
        {{"path", problem.path}, {"kind", problem.kind}, {"detail", problem.detail}});
  }
  for (const verify::Orphan& orphan : list.orphans()) {
    orphans.push_back({{"path", orphan.path}, {"bytes", orphan.bytes}});
  }
  return {{"ok", problems.empty()},        {"checked", list.checked()},
          {"bytes", list.bytes()},         {"problems", std::move(problems)},
          {"orphans", std::move(orphans)}, {"notes", list.notes()}};
}

Json DuplicatesToJson(const std::vector<DuplicateFiles>& duplicates) {
  Json groups = Json::array();
  for (const DuplicateFiles& group : duplicates) {
    groups.push_back({{"sha256", group.sha256},
                      {"bytes", group.bytes},
                      {"reclaimable_bytes", group.reclaimable},
                      {"paths", group.paths}});
  }
  return groups;
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

void PrintReport(const CheckList& list, double seconds, const CommonOptions& common) {
  const auto problems = list.problems();
  for (const verify::Problem& problem : problems) {
    fmt::print("{}: {}: {}\n", Printable(problem.path, 4096), problem.kind,
               Printable(problem.detail, 4096));
  }
  for (const std::string& note : list.notes()) Say(common, "note: " + Printable(note, 4096));
  if (!list.orphans().empty()) {
    uint64_t bytes = 0;
    for (const verify::Orphan& orphan : list.orphans()) bytes += orphan.bytes;
    Say(common, fmt::format("note: {} orphans, {}", list.orphans().size(), HumanBytes(bytes)));
  }
  const double rate = seconds > 0 ? static_cast<double>(list.bytes()) / seconds : 0;
  fmt::print("{}: checked {} files, {} ({}/s)\n",
             problems.empty() ? "ok" : fmt::format("{} problems", problems.size()), list.checked(),
             HumanBytes(list.bytes()), HumanBytes(static_cast<uint64_t>(rate)));
}

int Verify(const Arguments& arguments, const CommonOptions& common) {
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
  std::vector<DuplicateFiles> duplicates;
  if (arguments.duplicates) duplicates = verify::FindDuplicates(list);
  if (common.json) {
    Json report = ReportToJson(list);
    if (arguments.duplicates) {
      report["duplicates"] = DuplicatesToJson(duplicates);
      report["reclaimable_bytes"] = Reclaimable(duplicates);
    }
    PrintJson(report);
  } else {
    PrintReport(list, line.seconds(), common);
    if (arguments.duplicates) PrintDuplicates(duplicates);
  }
  return list.problems().empty() ? 0 : kExitProblems;
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
  command->add_option("--store", arguments->check.open.store,
                      "Ollama store that ollama:NAME is in (default: the usual places)");
  command->add_flag("--allow-orphans", arguments->check.allow_orphans,
                    "List blobs that nothing refers to, but do not count them as problems");
  command->add_flag("--skip-weights", arguments->skip_weights,
                    "Do not look for NaN and infinity in the tensors: files that nobody has a "
                    "checksum of are not read then");
  command->add_flag("--duplicates", arguments->duplicates,
                    "List files that are there more than once, and what one copy of each would "
                    "free; nothing is deleted");
  AddOpenOptions(*command, arguments->check.open);
}

}  // namespace quern::cli
