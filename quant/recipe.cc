#include "quant/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <numeric>

// g++ 12 with -fsanitize=address takes members of libstdc++'s regex nodes for uninitialized.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <regex>
#pragma GCC diagnostic pop
#else
#include <regex>
#endif

#include "formats/core/error.h"
#include "quant/codec.h"
#include "quant/kept_tensors.h"
#include "quant/recipe_rules.h"

namespace quern::quant {
namespace {

// N of "blk.N...", read as C's scanf reads "blk.%d": absent where there is no number. Measured:
// llama.cpp's order does not ask for a dot behind the number.
std::optional<int> BlockNumber(const std::string& name) {
  if (!name.starts_with("blk.")) return std::nullopt;
  const char* begin = name.c_str() + 4;
  char* end = nullptr;
  const long number = std::strtol(begin, &end, 10);
  if (end == begin) return std::nullopt;
  return static_cast<int>(number);
}

std::vector<std::pair<std::regex, TensorType>> Compile(const RecipeOptions& options) {
  std::vector<std::pair<std::regex, TensorType>> patterns;
  for (const auto& [pattern, type] : options.tensor_types) {
    try {
      patterns.emplace_back(std::regex(pattern), type);
    } catch (const std::regex_error&) {
      throw Error(ErrorCode::kUsage, {"", {}, "--tensor-type " + Printable(pattern)},
                  "this is no regular expression; use ECMAScript syntax, e.g. attn_v=Q8_0");
    }
  }
  return patterns;
}

uint64_t Columns(const RecipeTensor& tensor) {
  return tensor.shape.empty() ? 1 : tensor.shape.back();
}

bool Fits(TensorType type, const RecipeTensor& tensor) {
  return Columns(tensor) % Info(type).block_elements == 0;
}

// What takes the place of a type whose blocks do not divide the rows: blocks of 32. Absent where
// llama.cpp has nothing for it.
std::optional<TensorType> SmallerBlocks(TensorType type) {
  if (Info(type).block_elements == 32) return type;
  using T = TensorType;
  switch (type) {
    case T::kIQ1_S:
    case T::kIQ1_M:
    case T::kIQ2_XXS:
    case T::kIQ2_XS:
    case T::kIQ2_S:
    case T::kIQ3_XXS:
    case T::kIQ3_S:
    case T::kIQ4_XS:
      return T::kIQ4_NL;
    case T::kQ2_0:
    case T::kQ2_K:
    case T::kQ3_K:
    case T::kTQ1_0:
    case T::kTQ2_0:
      return T::kQ4_0;
    case T::kQ4_K:
      return T::kQ5_0;
    case T::kQ5_K:
      return T::kQ5_1;
    case T::kQ6_K:
      return T::kQ8_0;
    default:
      return std::nullopt;
  }
}

Error DoesNotFit(const RecipeTensor& tensor, TensorType type) {
  return Error(ErrorCode::kBadShape, {"", {}, tensor.name},
               fmt::format("rows of {} weights are no multiple of {}'s block of {}; choose another "
                           "type for it, e.g. F16",
                           Columns(tensor), Name(type), Info(type).block_elements));
}

void ApplyFallback(const RecipeTensor& tensor, TypeChoice& choice) {
  if (Fits(choice.type, tensor)) return;
  const TensorType wanted = choice.type;
  const auto smaller = SmallerBlocks(wanted);
  if (!smaller) throw DoesNotFit(tensor, wanted);
  choice.type = Fits(*smaller, tensor) ? *smaller : TensorType::kF16;
  choice.fallback = true;
  choice.reason += fmt::format("; rows of {} are no multiple of {} -> {}", Columns(tensor),
                               Info(wanted).block_elements, Name(choice.type));
}

// The types that llama.cpp refuses to make without an importance matrix.
bool RequiresImatrix(const RecipeTensor& tensor, TensorType type, const FileType& file_type) {
  using T = TensorType;
  const Role role = RoleOf(tensor.name);
  if (role == Role::kTokenEmbedding || role == Role::kOutput) return false;
  return NeedsImportance(type) || (type == T::kQ2_K && file_type.name == "Q2_K_S");
}

// Walks the tensors in file order, keeping the counters that llama.cpp's rules depend on.
class Chooser {
 public:
  Chooser(const FileType& file_type, const ModelFacts& facts, std::span<const RecipeTensor> tensors,
          const RecipeOptions& options)
      : file_type_(file_type), facts_(facts), options_(options), patterns_(Compile(options)) {
    for (const RecipeTensor& tensor : tensors) {
      const Role role = RoleOf(tensor.name);
      if (role == Role::kAttentionValue) ++value_count_;
      if (role == Role::kOutput) tied_ = false;
    }
  }

  TypeChoice Choose(const RecipeTensor& tensor) {
    if (const auto reason = WhyKept(tensor)) {
      return {.type = tensor.type,
              .reason = fmt::format("{}: kept {}", *reason, Name(tensor.type)),
              .fixed = true};
    }
    TypeChoice choice = ByOption(tensor);
    if (choice.reason.empty()) choice = ByRecipe(tensor);
    choice.requires_imatrix = RequiresImatrix(tensor, choice.type, file_type_);
    Check(tensor, choice);
    return choice;
  }

 private:
  std::optional<std::string_view> WhyKept(const RecipeTensor& tensor) const {
    if (file_type_.only_copy) return "COPY";
    if (options_.leave_output_tensor && tensor.name == "output.weight") {
      return "--leave-output-tensor";
    }
    return ReasonToKeep(tensor.name, tensor.shape);
  }

  // --token-embedding-type and --output-tensor-type come before everything else and have no
  // fall-back. The reason is empty where neither applies.
  TypeChoice ByOption(const RecipeTensor& tensor) const {
    const Role role = RoleOf(tensor.name);
    const auto& [option, name] =
        role == Role::kTokenEmbedding
            ? std::pair(options_.token_embedding_type, "--token-embedding-type")
            : std::pair(options_.output_tensor_type, "--output-tensor-type");
    if ((role != Role::kTokenEmbedding && role != Role::kOutput) || !option) return {};
    if (!Fits(*option, tensor)) throw DoesNotFit(tensor, *option);
    return {.type = *option, .reason = fmt::format("{} -> {}", name, Name(*option)), .fixed = true};
  }

  TypeChoice ByRecipe(const RecipeTensor& tensor) {
    TypeChoice choice{file_type_.base,
                      fmt::format("{}: matrix -> {}", file_type_.name, Name(file_type_.base))};
    if (!IsQuantized(file_type_.base)) return choice;
    if (const auto overridden = ByPattern(tensor)) {
      choice = *overridden;
    } else if (options_.pure) {
      choice.reason = fmt::format("{} --pure -> {}", file_type_.name, Name(choice.type));
    } else {
      choice = ByRole(tensor);
    }
    ApplyFallback(tensor, choice);
    return choice;
  }

  std::optional<TypeChoice> ByPattern(const RecipeTensor& tensor) const {
    for (size_t i = 0; i < patterns_.size(); ++i) {
      if (!Matches(tensor.name, i)) continue;
      const auto& [pattern, type] = options_.tensor_types[i];
      return TypeChoice{.type = type,
                        .reason = fmt::format("--tensor-type {}={}", pattern, Name(type)),
                        .fixed = true};
    }
    return std::nullopt;
  }

  bool Matches(const std::string& name, size_t i) const {
    try {
      return std::regex_search(name, patterns_[i].first);
    } catch (const std::regex_error&) {  // too complex, or out of memory
      throw Error(ErrorCode::kUsage, {"", {}, name},
                  "matching --tensor-type " + Printable(options_.tensor_types[i].first) +
                      " takes too much; use a simpler expression");
    }
  }

  TypeChoice ByRole(const RecipeTensor& tensor) {
    const Role role = RoleOf(tensor.name);
    if (tied_ && role == Role::kTokenEmbedding && options_.output_tensor_type) {
      return {.type = *options_.output_tensor_type,
              .reason = fmt::format("--output-tensor-type, as there is no output.weight -> {}",
                                    Name(*options_.output_tensor_type)),
              .fixed = true};
    }
    RuleInput input{file_type_, facts_, role, Columns(tensor)};
    input.is_stack = tensor.shape.size() > 2 && *(tensor.shape.end() - 3) > 1;
    input.has_imatrix = options_.has_imatrix;
    input.tied = tied_;
    input.index = NextIndex(tensor, role);
    input.count = role == Role::kAttentionValue ? value_count_ : facts_.block_count;
    const RuleResult result = ApplyRules(input);
    return {result.type,
            fmt::format("{}: {} -> {}", file_type_.name, result.reason, Name(result.type))};
  }

  // Only tensors that the rules decide are counted: not the kept ones nor those of --tensor-type.
  int64_t NextIndex(const RecipeTensor& tensor, Role role) {
    const int64_t index = counters_[role]++;
    return CountsByBlock(file_type_, facts_, role) ? BlockIndex(tensor) : index;
  }

  int64_t BlockIndex(const RecipeTensor& tensor) const {
    const auto block = BlockNumber(tensor.name);
    if (!block || *block < 0 || static_cast<uint32_t>(*block) >= facts_.block_count) {
      throw Error(ErrorCode::kBadValue, {"", {}, tensor.name},
                  fmt::format("in a mixture of experts the recipe needs this tensor's block, "
                              "\"blk.N.\" with N below {}; correct the name or use --pure",
                              facts_.block_count));
    }
    return *block;
  }

  void Check(const RecipeTensor& tensor, const TypeChoice& choice) const {
    if (choice.requires_imatrix && !options_.has_imatrix) {
      throw Error(ErrorCode::kUsage, {"", {}, tensor.name},
                  fmt::format("{} gives it {}, which is worthless without an importance matrix; "
                              "give one by --imatrix or choose a larger type",
                              file_type_.name, Name(choice.type)));
    }
    if (choice.type == tensor.type) return;
    RequireQuantizable(tensor, options_);
  }

  const FileType& file_type_;
  const ModelFacts& facts_;
  const RecipeOptions& options_;
  std::vector<std::pair<std::regex, TensorType>> patterns_;
  bool tied_ = true;
  int64_t value_count_ = 0;
  std::map<Role, int64_t> counters_;  // tensors of the role that rules have decided so far
};

}  // namespace

std::vector<size_t> QuantizeOrder(std::span<const RecipeTensor> tensors) {
  std::vector<int> blocks;
  for (const RecipeTensor& tensor : tensors) {
    blocks.push_back(BlockNumber(tensor.name).value_or(-1));
  }
  std::vector<size_t> order(tensors.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    if (blocks[a] != blocks[b]) return blocks[a] < blocks[b];
    return tensors[a].name < tensors[b].name;
  });
  return order;
}

std::vector<TypeChoice> ChooseTypes(const FileType& file_type, const ModelFacts& facts,
                                    std::span<const RecipeTensor> tensors,
                                    const RecipeOptions& options) {
  Chooser chooser(file_type, facts, tensors, options);
  std::vector<TypeChoice> choices;
  choices.reserve(tensors.size());
  for (const RecipeTensor& tensor : tensors) choices.push_back(chooser.Choose(tensor));
  return choices;
}

bool NeedsImportance(TensorType type) {
  using T = TensorType;
  constexpr T kTypes[] = {T::kIQ3_XXS, T::kIQ2_XXS, T::kIQ2_XS, T::kIQ2_S, T::kIQ1_M, T::kIQ1_S};
  return std::find(std::begin(kTypes), std::end(kTypes), type) != std::end(kTypes);
}

void RequireQuantizable(const RecipeTensor& tensor, const RecipeOptions& options) {
  if (IsQuantized(tensor.type) && !options.allow_requantize) {
    throw Error(ErrorCode::kUsage, {"", {}, tensor.name},
                fmt::format("it is quantized already ({}), and quantizing again loses quality; "
                            "start from a F16, BF16 or F32 file or add --allow-requantize",
                            Name(tensor.type)));
  }
  if (!IsQuantized(tensor.type) && !IsFloat(tensor.type)) {
    throw Error(ErrorCode::kBadType, {"", {}, tensor.name},
                fmt::format("weights of type {} cannot be quantized; only COPY keeps them",
                            Name(tensor.type)));
  }
}

void RequireCodecs(std::span<const RecipeTensor> tensors, std::span<const TypeChoice> choices) {
  for (size_t i = 0; i < tensors.size(); ++i) {
    if (choices[i].type == tensors[i].type) continue;
    const Codec* codec = FindCodec(choices[i].type);
    if (codec && codec->quantize) continue;
    throw Error(ErrorCode::kUnsupported, {"", {}, tensors[i].name},
                fmt::format("quern cannot write {} yet ({}); choose another type",
                            Name(choices[i].type), choices[i].reason));
  }
}

}  // namespace quern::quant
