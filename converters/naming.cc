#include "converters/naming.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <vector>

#include "converters/model_id.h"
#include "formats/core/error.h"
#include "formats/core/json.h"
#include "formats/huggingface/front_matter.h"

namespace quern::converters {
namespace {

namespace fs = std::filesystem;

// general.* values by their key without "general.", as found so far. What is there is not replaced.
using Facts = std::map<std::string, Json, std::less<>>;

bool Has(const Facts& facts, std::string_view key) {
  const auto at = facts.find(key);
  return at != facts.end() && !at->second.is_null();
}

void Offer(Facts& facts, const std::string& key, const Json& value) {
  if (!Has(facts, key)) facts[key] = value;
}

void Offer(Facts& facts, const std::string& key, const std::optional<std::string>& value) {
  if (value) Offer(facts, key, Json(*value));
}

struct CardKey {
  std::string_view fact, card;
};
// Keys of a model card's front matter, in order of precedence.
constexpr std::array kCardKeys = {
    CardKey{"name", "name"},
    CardKey{"author", "author"},
    CardKey{"version", "version"},
    CardKey{"organization", "organization"},
    CardKey{"description", "description"},
    CardKey{"finetune", "finetune"},
    CardKey{"basename", "basename"},
    CardKey{"size_label", "size_label"},
    CardKey{"source.url", "url"},
    CardKey{"source.doi", "doi"},
    CardKey{"source.uuid", "uuid"},
    CardKey{"source.repo_url", "repo_url"},
    CardKey{"name", "model_name"},
    CardKey{"author", "model_author"},
    CardKey{"version", "model_version"},
    CardKey{"organization", "model_organization"},
    CardKey{"description", "model_description"},
    CardKey{"finetune", "model_finetune"},
    CardKey{"basename", "model_basename"},
    CardKey{"size_label", "model_size_label"},
    CardKey{"source.url", "model_url"},
    CardKey{"source.doi", "model_doi"},
    CardKey{"source.uuid", "model_uuid"},
    CardKey{"source.repo_url", "model_repo_url"},
    CardKey{"author", "model_creator"},
    CardKey{"basename", "model_type"},
    CardKey{"license", "license"},
    CardKey{"license.name", "license_name"},
    CardKey{"license.link", "license_link"},
};

// A parent model or dataset, by address or repository name.
Json Reference(const std::string& id, int64_t parameters) {
  Json entry = Json::object();
  std::string repository = id;
  const bool address =
      id.starts_with("http://") || id.starts_with("https://") || id.starts_with("ssh://");
  if (address) {
    entry["repo_url"] = id;
    // Of addresses, those of repositories on Hugging Face say more.
    const size_t host = id.find("://huggingface.co/");
    if (host == std::string::npos || !id.starts_with("http")) return entry;
    repository = id.substr(host + std::string_view("://huggingface.co/").size());
    const size_t slash = repository.find('/');
    if (slash == 0 || slash == std::string::npos || slash + 1 == repository.size() ||
        repository.find('/', slash + 1) != std::string::npos) {
      return entry;
    }
  }
  const ModelIdParts parts = SplitModelId(repository, parameters);
  if (parts.name) entry["name"] = IdToTitle(*parts.name);
  if (parts.organization) entry["organization"] = IdToTitle(*parts.organization);
  if (parts.version) entry["version"] = *parts.version;
  if (!address && parts.organization && parts.name) {
    entry["repo_url"] = "https://huggingface.co/" + *parts.organization + "/" + *parts.name;
  }
  return entry;
}

void AddReferences(const Json& card, std::initializer_list<const char*> keys, const char* fact,
                   int64_t parameters, Facts& facts) {
  for (const char* key : keys) {
    const auto at = card.find(key);
    if (at == card.end()) continue;
    const Json listed = at->is_string() ? Json::array({*at}) : *at;
    Json entries = Json::array();
    if (listed.is_array()) {
      for (const auto& item : listed) {
        entries.push_back(item.is_string()   ? Reference(item.get<std::string>(), parameters)
                          : item.is_object() ? item
                                             : Json::object());
      }
    }
    facts[fact] = entries;
    return;
  }
}

void AddToList(const Json& card, const char* key, const char* fact, Facts& facts) {
  const auto at = card.find(key);
  if (at == card.end() || at->is_null()) return;
  Json& list = facts.try_emplace(fact, Json::array()).first->second;
  if (at->is_string()) list.push_back(*at);
  if (at->is_array()) list.insert(list.end(), at->begin(), at->end());
}

void AddModelCard(const Json& card, int64_t parameters, Facts& facts) {
  for (const auto& [fact, key] : kCardKeys) {
    if (const auto at = card.find(std::string(key)); at != card.end()) {
      Offer(facts, std::string(fact), *at);
    }
  }
  AddReferences(card, {"base_model", "base_models", "base_model_sources"}, "base_model", parameters,
                facts);
  AddReferences(card, {"datasets", "dataset", "dataset_sources"}, "dataset", parameters, facts);
  AddToList(card, "tags", "tags", facts);
  AddToList(card, "pipeline_tag", "tags", facts);
  AddToList(card, "languages", "languages", facts);
  AddToList(card, "language", "languages", facts);
}

void AddModelId(const std::string& id, int64_t parameters, Facts& facts) {
  const ModelIdParts parts = SplitModelId(id, parameters);
  if (parts.name) Offer(facts, "name", Json(IdToTitle(*parts.name)));
  if (parts.organization) Offer(facts, "organization", Json(IdToTitle(*parts.organization)));
  Offer(facts, "basename", parts.basename);
  Offer(facts, "finetune", parts.finetune);
  Offer(facts, "version", parts.version);
  Offer(facts, "size_label", parts.size_label);
}

// NAME of models--ORG--NAME/snapshots/COMMIT and .../blobs/HASH in the hub's cache, where the last
// part names nothing; empty elsewhere.
std::string HubName(const fs::path& path) {
  constexpr std::string_view kModels = "models--";
  const std::string parent = path.parent_path().filename().string();
  const std::string model = path.parent_path().parent_path().filename().string();
  if ((parent != "snapshots" && parent != "blobs") || !model.starts_with(kModels)) return {};
  return model.substr(model.rfind("--") + 2);
}

// The folder that a source is named after: itself, or of a file with a name that every model's has,
// the one it is in.
std::string FolderName(const fs::path& path) {
  std::error_code error;
  fs::path absolute = fs::weakly_canonical(path, error);
  if (error) absolute = path;
  if (std::string name = HubName(absolute); !name.empty()) return name;
  if (fs::is_directory(absolute, error)) return absolute.filename().string();
  const std::string stem = absolute.stem().string();
  for (const char* generic : {"model", "pytorch_model", "consolidated", "adapter_model"}) {
    if (stem.starts_with(generic)) return absolute.parent_path().filename().string();
  }
  return stem;
}

struct Sampling {
  const char* fact;    // after "sampling."
  const char* config;  // key of generation_config.json
  ValueType type;
};
// penalty_repeat: generation_config.json says repetition_penalty, which llama.cpp does not read.
constexpr std::array kSampling = {
    Sampling{"sequence", "sequence", ValueType::kString},
    Sampling{"top_k", "top_k", ValueType::kInt32},
    Sampling{"top_p", "top_p", ValueType::kFloat32},
    Sampling{"min_p", "min_p", ValueType::kFloat32},
    Sampling{"xtc_probability", "xtc_probability", ValueType::kFloat32},
    Sampling{"xtc_threshold", "xtc_threshold", ValueType::kFloat32},
    Sampling{"temp", "temperature", ValueType::kFloat32},
    Sampling{"penalty_last_n", "penalty_last_n", ValueType::kInt32},
    Sampling{"penalty_repeat", "penalty_repeat", ValueType::kFloat32},
    Sampling{"mirostat", "mirostat", ValueType::kInt32},
    Sampling{"mirostat_tau", "mirostat_tau", ValueType::kFloat32},
    Sampling{"mirostat_eta", "mirostat_eta", ValueType::kFloat32},
};

constexpr std::array kOverridable = {
    "name",       "author",       "version",         "organization",
    "finetune",   "basename",     "description",     "quantized_by",
    "size_label", "license.name", "license.link",    "url",
    "doi",        "uuid",         "repo_url",        "source.url",
    "source.doi", "source.uuid",  "source.repo_url", "tags",
    "languages"};

void AddOverrides(const fs::path& file, Facts& facts) {
  const Json overrides = ReadJsonFile(file);
  if (!overrides.is_object()) {
    throw Error(ErrorCode::kBadText, {file.string(), {}, {}},
                "must be a JSON object of general.* keys");
  }
  const auto take = [&](const std::string& key, const std::string& fact) {
    if (const auto at = overrides.find("general." + key); at != overrides.end()) facts[fact] = *at;
  };
  for (const char* key : kOverridable) take(key, key);
  for (const auto& sampling : kSampling) {
    take("sampling." + std::string(sampling.fact), "sampling." + std::string(sampling.fact));
  }
  take("base_models", "base_model");
  take("datasets", "dataset");
}

Facts Collect(const ModelSource& source, const NamingOptions& options, int64_t parameters) {
  Facts facts;
  const SideFiles& side_files = source.side_files();
  if (const auto readme = side_files.find("README.md"); readme != side_files.end()) {
    AddModelCard(formats::huggingface::ReadFrontMatter(readme->second), parameters, facts);
  }
  if (source.config().is_object()) {
    const auto origin = source.config().find("_name_or_path");
    if (origin != source.config().end() && origin->is_string()) {
      const auto& id = origin->get_ref<const std::string&>();
      // With more slashes it is a path on somebody's disk.
      if (std::count(id.begin(), id.end(), '/') <= 1) AddModelId(id, parameters, facts);
    }
  }
  AddModelId(FolderName(source.path()), parameters, facts);
  if (const auto at = side_files.find("generation_config.json"); at != side_files.end()) {
    const Json generation = ReadJsonFile(at->second);
    for (const auto& sampling : kSampling) {
      if (!generation.is_object() || !generation.contains(sampling.config)) continue;
      facts["sampling." + std::string(sampling.fact)] = generation[sampling.config];
    }
  }
  if (options.metadata_file) AddOverrides(*options.metadata_file, facts);
  if (!options.model_name.empty()) facts["name"] = options.model_name;
  return facts;
}

// A scalar as text: cards hold versions and names that YAML takes for numbers.
std::string TextOf(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// As gguf-py: an empty text is no key.
void SetText(Metadata& metadata, const std::string& key, const Json& value) {
  if (value.is_null() || value.is_structured()) return;
  std::string text = TextOf(value);
  if (!text.empty()) metadata.Set(key, std::move(text));
}

void WriteSampling(const Facts& facts, Metadata& metadata) {
  for (const auto& sampling : kSampling) {
    const std::string fact = "sampling." + std::string(sampling.fact);
    const auto at = facts.find(fact);
    if (at == facts.end() || at->second.is_null()) continue;
    const Json& value = at->second;
    if (sampling.type == ValueType::kString) {
      SetText(metadata, "general." + fact, value);
      continue;
    }
    const double number = value.is_number() ? value.get<double>() : NAN;
    const bool whole = number == std::trunc(number) && std::abs(number) < 2147483648.0;
    if (!std::isfinite(number) || (sampling.type == ValueType::kInt32 && !whole)) {
      throw Error(ErrorCode::kBadValue, {{}, {}, "general." + fact},
                  fmt::format("{} is no {}; correct generation_config.json",
                              Printable(value.dump()), ValueTypeName(sampling.type)));
    }
    if (sampling.type == ValueType::kInt32) {
      metadata.Set("general." + fact, static_cast<int32_t>(number));
    } else {
      metadata.Set("general." + fact, static_cast<float>(number));
    }
  }
}

void WriteTexts(const Facts& facts, std::initializer_list<const char*> keys, Metadata& metadata) {
  for (const char* key : keys) {
    if (const auto at = facts.find(key); at != facts.end()) {
      SetText(metadata, "general." + std::string(key), at->second);
    }
  }
}

void WriteLicense(const Facts& facts, Metadata& metadata) {
  const auto at = facts.find("license");
  if (at == facts.end()) return;
  if (!at->second.is_array()) return SetText(metadata, "general.license", at->second);
  std::string joined;
  for (const auto& item : at->second) joined += (joined.empty() ? "" : ",") + TextOf(item);
  SetText(metadata, "general.license", joined);
}

void WriteReferences(const Facts& facts, const std::string& key, Metadata& metadata) {
  const auto at = facts.find(key);
  if (at == facts.end() || !at->second.is_array()) return;
  metadata.Set("general." + key + ".count", static_cast<uint32_t>(at->second.size()));
  for (size_t i = 0; i < at->second.size(); ++i) {
    const Json& entry = at->second[i];
    for (const char* field : {"name", "author", "version", "organization", "description", "url",
                              "doi", "uuid", "repo_url"}) {
      if (!entry.is_object() || !entry.contains(field)) continue;
      SetText(metadata, fmt::format("general.{}.{}.{}", key, i, field), entry[field]);
    }
  }
}

void WriteList(const Facts& facts, const std::string& key, Metadata& metadata) {
  const auto at = facts.find(key);
  if (at == facts.end() || !at->second.is_array() || at->second.empty()) return;
  std::vector<std::string> texts;
  for (const auto& item : at->second) texts.push_back(TextOf(item));
  metadata.Set("general." + key, Array{std::move(texts)});
}

std::string RoundedCount(uint64_t count) {
  struct Unit {
    double above, scale;
    char suffix;
  };
  constexpr std::array kUnits = {Unit{1e12, 1e-12, 'T'}, Unit{1e9, 1e-9, 'B'}, Unit{1e6, 1e-6, 'M'},
                                 Unit{-1, 1e-3, 'K'}};
  const auto value = static_cast<double>(count);
  const auto unit = std::find_if(kUnits.begin(), kUnits.end(),
                                 [&](const Unit& candidate) { return value > candidate.above; });
  const double scaled = value * unit->scale;
  const double rounded = std::nearbyint(scaled);
  const int digits = rounded == 0 ? 0 : static_cast<int>(fmt::format("{:.0f}", rounded).size());
  return fmt::format("{:.{}f}{}", scaled, std::max(2 - digits, 0), unit->suffix);
}

std::string Dashed(std::string text) {
  const size_t begin = std::min(text.find_first_not_of(' '), text.size());
  const size_t end = text.find_last_not_of(' ');
  text = begin < text.size() ? text.substr(begin, end - begin + 1) : "";
  // A slash would be a folder of the output's path.
  std::replace_if(
      text.begin(), text.end(), [](char c) { return c == ' ' || c == '/'; }, '-');
  return text;
}

}  // namespace

std::string SizeLabel(const ParameterCounts& counts) {
  if (counts.expert_count == 0) return RoundedCount(counts.total);
  return fmt::format("{}x{}", counts.expert_count, RoundedCount(counts.shared + counts.expert));
}

void AddGeneralMetadata(const ModelSource& source, const NamingOptions& options,
                        const ParameterCounts& counts, Metadata& metadata) {
  const auto parameters = static_cast<int64_t>(counts.total);
  Facts facts = Collect(source, options, counts.adapter ? -parameters : parameters);
  if (parameters > 0) Offer(facts, "size_label", Json(SizeLabel(counts)));
  metadata.Set("general.type", std::string(counts.adapter ? "adapter" : "model"));
  WriteSampling(facts, metadata);
  WriteTexts(facts,
             {"name", "author", "version", "organization", "finetune", "basename", "description",
              "quantized_by", "size_label"},
             metadata);
  WriteLicense(facts, metadata);
  WriteTexts(facts,
             {"license.name", "license.link", "url", "doi", "uuid", "repo_url", "source.url",
              "source.doi", "source.uuid", "source.repo_url"},
             metadata);
  WriteReferences(facts, "base_model", metadata);
  WriteReferences(facts, "dataset", metadata);
  WriteList(facts, "tags", metadata);
  WriteList(facts, "languages", metadata);
}

std::string DefaultFileName(const Metadata& metadata, std::string_view encoding,
                            std::string_view fallback) {
  const auto text = [&](const char* key) {
    return Dashed(std::string(metadata.GetString(key).value_or("")));
  };
  std::string name = text("general.basename");
  if (name.empty()) name = text("general.name");
  if (name.empty()) name = Dashed(std::string(fallback));
  if (name.empty()) name = "ggml-model";
  for (const char* key : {"general.size_label", "general.finetune", "general.version"}) {
    if (const std::string part = text(key); !part.empty()) name += "-" + part;
  }
  if (!encoding.empty()) name += "-" + std::string(encoding);
  return name + ".gguf";
}

}  // namespace quern::converters
