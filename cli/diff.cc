// quern diff A B: what differs between two models of any readable kind.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "cli/command.h"
#include "cli/interrupt.h"
#include "cli/metadata_json.h"
#include "cli/progress.h"
#include "cli/tensor_errors.h"
#include "converters/name_pattern.h"
#include "formats/core/error.h"
#include "verify/model_diff.h"

namespace quern::cli {
namespace {

using verify::MetadataDiff;
using verify::TensorDiff;
using verify::TensorRelation;

struct Arguments {
  std::string a, b;
  formats::OpenOptions open;
  std::vector<std::string> architecture_files;
  std::vector<std::string> ignored;  // metadata keys
  bool tensors_only = false, metadata_only = false;
};

struct Result {
  std::vector<MetadataDiff> metadata;
  size_t keys_of_a = 0;
  std::vector<TensorDiff> tensors;

  bool equal() const {
    return metadata.empty() && std::all_of(tensors.begin(), tensors.end(),
                                           [](const TensorDiff& diff) { return diff.equal(); });
  }
};

using Models = std::pair<verify::ComparedModel, verify::ComparedModel>;

Json TypedToJson(const Value& value) {
  return {{"type", ValueTypeName(TypeOf(value))}, {"value", ValueToJson(value, false)}};
}

Json MetadataDiffToJson(const MetadataDiff& diff) {
  Json json = {{"key", diff.key},
               {"a", diff.a ? TypedToJson(*diff.a) : Json()},
               {"b", diff.b ? TypedToJson(*diff.b) : Json()}};
  if (diff.first) {
    json["first_difference"] = {{"index", *diff.first},
                                {"a", ItemToJson(std::get<Array>(*diff.a), *diff.first)},
                                {"b", ItemToJson(std::get<Array>(*diff.b), *diff.first)}};
  }
  return json;
}

Json SideToJson(const converters::OutputTensor* tensor) {
  if (!tensor) return nullptr;
  return {
      {"name", tensor->name}, {"type", Name(tensor->value.type)}, {"shape", tensor->value.shape}};
}

Json TensorDiffToJson(const TensorDiff& diff) {
  Json json = {{"name", diff.name()},
               {"relation", verify::RelationName(diff.relation)},
               {"renamed", diff.renamed()},
               {"a", SideToJson(diff.a)},
               {"b", SideToJson(diff.b)}};
  if (diff.error) json["error"] = TensorErrorToJson(*diff.error);
  return json;
}

Json ModelToJson(const std::string& path, const verify::ComparedModel& model) {
  return {{"model", path},
          {"format", model.source->format()},
          {"converted", model.converted},
          {"tensors", model.model.tensors.size()}};
}

Json ResultToJson(const Arguments& arguments, const Models& models, const Result& result) {
  Json metadata = Json::array(), tensors = Json::array();
  for (const MetadataDiff& diff : result.metadata) metadata.push_back(MetadataDiffToJson(diff));
  for (const TensorDiff& diff : result.tensors) tensors.push_back(TensorDiffToJson(diff));
  return {{"equal", result.equal()},
          {"a", ModelToJson(arguments.a, models.first)},
          {"b", ModelToJson(arguments.b, models.second)},
          {"metadata", std::move(metadata)},
          {"tensors", std::move(tensors)}};
}

std::string TypedText(const Value* value) {
  return fmt::format("{} {}", ValueTypeName(TypeOf(*value)), ValueText(*value, false));
}

void PrintMetadata(const MetadataDiff& diff) {
  const std::string key = Printable(diff.key, 80);
  if (!diff.b) {
    fmt::print("- {}  {}\n", key, TypedText(diff.a));
  } else if (!diff.a) {
    fmt::print("+ {}  {}\n", key, TypedText(diff.b));
  } else if (diff.first) {
    const auto &a = std::get<Array>(*diff.a), &b = std::get<Array>(*diff.b);
    const auto item = [&](const Array& array) {
      return *diff.first < array.size()
                 ? Printable(ItemToJson(array, *diff.first)
                                 .dump(-1, ' ', false, Json::error_handler_t::replace))
                 : std::string("nothing");
    };
    fmt::print("~ {}  {} x {} -> {} x {}; first difference at {}: {} -> {}\n", key, a.size(),
               ValueTypeName(a.type()), b.size(), ValueTypeName(b.type()), *diff.first, item(a),
               item(b));
  } else {
    fmt::print("~ {}  {} -> {}\n", key, TypedText(diff.a), TypedText(diff.b));
  }
}

std::string TensorText(const converters::OutputTensor& tensor) {
  return fmt::format("{} [{}]", Name(tensor.value.type), fmt::join(tensor.value.shape, ", "));
}

// What two tensors have in common where it is one thing, else "A -> B".
std::string Change(const std::string& a, const std::string& b) {
  return a == b ? a : fmt::format("{} -> {}", a, b);
}

void PrintTensor(const TensorDiff& diff) {
  if (!diff.b) {
    fmt::print("- {}  {}\n", Printable(diff.name()), TensorText(*diff.a));
  } else if (!diff.a) {
    fmt::print("+ {}  {}\n", Printable(diff.name()), TensorText(*diff.b));
  } else {
    fmt::print("{} {}  {}", diff.renamed() ? "=" : "~",
               Change(Printable(diff.a->name), Printable(diff.b->name)),
               Change(TensorText(*diff.a), TensorText(*diff.b)));
    if (diff.relation == TensorRelation::kDifferentBytes) fmt::print("  different bytes");
    if (diff.relation == TensorRelation::kEqualValues) fmt::print("  equal values");
    if (diff.relation == TensorRelation::kDifferentValues) {
      fmt::print("\n    {}", TensorErrorText(*diff.error));
    }
    fmt::print("\n");
  }
}

// What stands in a report's last lines: how many tensors are related how.
void PrintSummary(const Arguments& arguments, const Result& result) {
  if (!arguments.tensors_only) {
    size_t different = 0, only_in_a = 0;
    for (const MetadataDiff& diff : result.metadata) {
      different += diff.a && diff.b;
      only_in_a += !diff.b;
    }
    fmt::print("metadata: {} equal, {} different, {} only in A, {} only in B\n",
               result.keys_of_a - different - only_in_a, different, only_in_a,
               result.metadata.size() - different - only_in_a);
  }
  if (!arguments.metadata_only) {
    size_t counts[7] = {}, renamed = 0;
    for (const TensorDiff& diff : result.tensors) {
      ++counts[static_cast<size_t>(diff.relation)];
      renamed += diff.renamed();
    }
    const auto count = [&](TensorRelation relation) {
      return counts[static_cast<size_t>(relation)];
    };
    fmt::print(
        "tensors: {} equal, {} equal in value, {} different, {} of another shape, {} only in A, "
        "{} only in B; {} renamed\n",
        count(TensorRelation::kEqualBytes), count(TensorRelation::kEqualValues),
        count(TensorRelation::kDifferentValues) + count(TensorRelation::kDifferentBytes),
        count(TensorRelation::kDifferentShape), count(TensorRelation::kOnlyInA),
        count(TensorRelation::kOnlyInB), renamed);
  }
  fmt::print("{}\n", result.equal() ? "equal" : "different");
}

void PrintText(const Arguments& arguments, const Result& result) {
  for (const MetadataDiff& diff : result.metadata) PrintMetadata(diff);
  std::map<std::string, size_t> retyped;  // by change of type: equal values under the same name
  for (const TensorDiff& diff : result.tensors) {
    if (!diff.equal()) PrintTensor(diff);
    if (diff.equal() && diff.relation == TensorRelation::kEqualValues) {
      ++retyped[Change(std::string(Name(diff.a->value.type)),
                       std::string(Name(diff.b->value.type)))];
    }
  }
  for (const auto& [change, count] : retyped) {
    fmt::print("~ {} tensors  {}  equal values\n", count, change);
  }
  PrintSummary(arguments, result);
}

Metadata Without(const Metadata& metadata, const std::vector<std::string>& ignored) {
  Metadata kept;
  for (const auto& [key, value] : metadata.entries()) {
    const bool skip = std::any_of(ignored.begin(), ignored.end(), [&](const std::string& pattern) {
      return converters::MatchGlob(pattern, key);
    });
    if (!skip) kept.Append(key, value);
  }
  return kept;
}

int Diff(const Arguments& arguments, const CommonOptions& common) {
  converters::ConvertOptions convert;
  for (const std::string& file : arguments.architecture_files) {
    convert.architecture_files.emplace_back(file);
  }
  Models models = verify::OpenForDiff(arguments.a, arguments.b, arguments.open, convert);
  auto& [a, b] = models;
  Result result;
  if (!arguments.tensors_only) {
    for (verify::ComparedModel* model : {&a, &b}) {
      model->model.metadata = Without(model->model.metadata, arguments.ignored);
    }
    result.metadata = verify::DiffMetadata(a.model.metadata, b.model.metadata);
    result.keys_of_a = a.model.metadata.size();
  }
  if (!arguments.metadata_only) {
    ProgressLine line(common);
    result.tensors =
        verify::DiffTensors({*a.source, a.model}, {*b.source, b.model},
                            {.compare = {.threads = common.threads, .memory = common.memory},
                             .progress = [&](double done) {
                               ThrowIfInterrupted();
                               line.Update(done);
                             }});
    line.Finish();
  }
  if (common.json) {
    PrintJson(ResultToJson(arguments, models, result));
  } else {
    PrintText(arguments, result);
  }
  return result.equal() ? 0 : ExitCode(ErrorCode::kCheckFailed);
}

}  // namespace

void AddDiff(CLI::App& app, Program& program) {
  auto arguments = std::make_shared<Arguments>();
  CLI::App* command = AddCommand(
      app, program, "diff", "Compare metadata and tensors of two models; exit 1 if they differ",
      {.json = true}, [arguments, &program] { return Diff(*arguments, program.common); });
  command->add_option("A", arguments->a, "Folder or file")->required();
  command->add_option("B", arguments->b, "Folder or file")->required();
  auto* tensors = command->add_flag("--tensors-only", arguments->tensors_only,
                                    "Compare names, types, shapes and values of tensors");
  command
      ->add_flag("--metadata-only", arguments->metadata_only, "Compare metadata, read no weights")
      ->excludes(tensors);
  command
      ->add_option("--ignore", arguments->ignored,
                   "Metadata keys that may differ; * stands for any text: 'general.*'")
      ->allow_extra_args(false)
      ->type_name("KEY");
  command
      ->add_option_function<std::string>(
          "--memory",
          [&program](const std::string& text) { program.common.memory = ParseSize(text); },
          "Memory for rows in flight, e.g. 16M (default 64M)")
      ->type_name("SIZE");
  command
      ->add_option("--architecture", arguments->architecture_files,
                   "Architecture file to use beside the built-in ones (docs/architectures.md)")
      ->allow_extra_args(false);
  AddOpenOptions(*command, arguments->open);
}

}  // namespace quern::cli
