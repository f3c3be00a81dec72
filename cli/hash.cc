// quern hash MODEL: the SHA-256 of each tensor; --check compares with such a list.
#include <fmt/format.h>

#include <memory>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "cli/verify_report.h"
#include "formats/core/file.h"
#include "formats/reader.h"
#include "verify/tensor_hash.h"
#include "verify/tensor_manifest.h"

namespace quern::cli {
namespace {

struct Arguments {
  std::string model;
  std::string check;
  formats::OpenOptions open;
};

int Hash(const Arguments& arguments, const CommonOptions& common) {
  const auto source = formats::OpenModel(arguments.model, arguments.open);
  std::vector<verify::ManifestTensor> manifest;
  if (!arguments.check.empty()) {  // what is wrong with it is found before anything is read
    manifest = verify::ParseTensorManifest(
        ReadTextFile(arguments.check, verify::kMaxTensorManifestBytes), arguments.check);
  }
  ProgressLine line(common);
  uint64_t bytes = 0;
  const auto digests =
      verify::HashTensors(*source, common.threads, [&](uint64_t done, uint64_t total) {
        ThrowIfInterrupted();
        bytes = done;
        line.UpdateBytes(done, total);
      });
  line.Finish();
  if (!arguments.check.empty()) {
    return PrintProblems({.what = "tensors",
                          .checked = digests.size(),
                          .bytes = bytes,
                          .seconds = line.seconds(),
                          .problems = verify::CheckTensors(*source, digests, manifest)},
                         common);
  }
  if (common.json) {
    PrintJson(verify::TensorManifestToJson(*source, digests));
  } else {
    fmt::print("{}", verify::TensorManifestToText(*source, digests));
  }
  return 0;
}

}  // namespace

void AddHash(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command =
      AddCommand(app, program, "hash", "SHA-256 of every tensor of a model", {.json = true},
                 [arguments, &program] { return Hash(*arguments, program.common); });
  command->add_option("MODEL", arguments->model, "Folder or file")->required();
  command
      ->add_option("--check", arguments->check,
                   "Compare with this list, as this command has written it, and name the tensors "
                   "that differ")
      ->type_name("MANIFEST");
  AddOpenOptions(*command, arguments->open);
}

}  // namespace quern::cli
