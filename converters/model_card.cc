#include "converters/model_card.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <utility>

#include "formats/core/json.h"

namespace quern::converters {
namespace {

using Pair = std::pair<std::string_view, std::string_view>;

// Keys after "general." and the card's names for them.
constexpr std::array kTexts = {
    Pair{"name", "name"},
    Pair{"author", "author"},
    Pair{"version", "version"},
    Pair{"organization", "organization"},
    Pair{"finetune", "finetune"},
    Pair{"basename", "basename"},
    Pair{"description", "description"},
    Pair{"size_label", "size_label"},
    Pair{"license", "license"},
    Pair{"license.name", "license_name"},
    Pair{"license.link", "license_link"},
    Pair{"source.url", "url"},
    Pair{"source.doi", "doi"},
    Pair{"source.uuid", "uuid"},
    Pair{"source.repo_url", "repo_url"},
};
constexpr std::array kLists = {Pair{"tags", "tags"}, Pair{"languages", "language"}};
constexpr std::array kReferences = {Pair{"base_model", "base_model"}, Pair{"dataset", "datasets"}};
constexpr std::array kSampling = {
    Pair{"top_k", "top_k"},
    Pair{"top_p", "top_p"},
    Pair{"min_p", "min_p"},
    Pair{"temp", "temperature"},
    Pair{"sequence", "sequence"},
    Pair{"mirostat", "mirostat"},
    Pair{"mirostat_tau", "mirostat_tau"},
    Pair{"mirostat_eta", "mirostat_eta"},
    Pair{"penalty_last_n", "penalty_last_n"},
    Pair{"penalty_repeat", "penalty_repeat"},
    Pair{"xtc_threshold", "xtc_threshold"},
    Pair{"xtc_probability", "xtc_probability"},
};
// What converting finds out by itself.
constexpr std::array<std::string_view, 6> kFound = {
    "architecture", "type", "file_type", "quantization_version", "alignment", "quantized_by"};
constexpr uint32_t kMaxReferences = 1000;
constexpr std::string_view kHub = "https://huggingface.co/";

class ModelCard {
 public:
  explicit ModelCard(const Metadata& metadata) : metadata_(metadata) {}

  std::vector<SideFile> Files() {
    for (const auto& [key, name] : kTexts) {
      if (const Json text = Text(std::string(key)); !text.is_null()) Line(name, text);
    }
    for (const auto& [key, name] : kLists) {
      const auto* list = metadata_.Get<Array>(Use(std::string(key)));
      const auto* texts =
          list != nullptr ? std::get_if<std::vector<std::string>>(&list->items) : nullptr;
      if (texts != nullptr) Line(name, *texts);
    }
    for (const auto& [key, name] : kReferences) AddReferences(std::string(key), name);
    std::vector<SideFile> files;
    if (!front_.empty()) files.push_back({"README.md", "---\n" + front_ + "---\n"});
    if (const Json sampling = Sampling(); !sampling.empty()) {
      files.push_back({"generation_config.json",
                       sampling.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"});
    }
    return files;
  }

  void NoteWhatIsLost(std::vector<std::string>& notes) const {
    std::vector<std::string> lost;
    for (const auto& [key, value] : metadata_.entries()) {
      constexpr std::string_view kPrefix = "general.";
      if (!key.starts_with(kPrefix) || used_.contains(key)) continue;
      const auto known = std::find(kFound.begin(), kFound.end(), key.substr(kPrefix.size()));
      if (known == kFound.end()) lost.push_back(key);
    }
    if (lost.empty()) return;
    notes.push_back(fmt::format("a model card has no place for {}", fmt::join(lost, ", ")));
  }

 private:
  std::string Use(const std::string& key) { return *used_.insert("general." + key).first; }

  Json Text(const std::string& key) {
    const auto text = metadata_.GetString(Use(key));
    return text ? Json(*text) : Json();
  }

  // JSON is YAML; on one line it needs no indentation.
  void Line(std::string_view name, const Json& value) {
    front_ +=
        fmt::format("{}: {}\n", name, value.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

  void AddReferences(const std::string& key, std::string_view name) {
    const auto count = metadata_.GetInteger(Use(key + ".count"));
    if (!count || *count < 0) return;
    Json list = Json::array();
    for (int64_t i = 0; i < std::min<int64_t>(*count, kMaxReferences); ++i) {
      Json entry = Json::object();
      for (const char* field : {"name", "author", "version", "organization", "description", "url",
                                "doi", "uuid", "repo_url"}) {
        if (Json text = Text(fmt::format("{}.{}.{}", key, i, field)); !text.is_null()) {
          entry[field] = std::move(text);
        }
      }
      list.push_back(AsRepository(std::move(entry)));
    }
    Line(name, list);
  }

  // A repository of the hub by its name, as cards have it, where nothing else is said that the name
  // does not.
  static Json AsRepository(Json entry) {
    const std::string url = entry.value("repo_url", "");
    const bool more = entry.contains("author") || entry.contains("description") ||
                      entry.contains("url") || entry.contains("doi") || entry.contains("uuid");
    if (more || !url.starts_with(kHub)) return entry;
    return url.substr(kHub.size());
  }

  Json Sampling() {
    Json sampling = Json::object();
    for (const auto& [key, name] : kSampling) {
      const std::string full = Use("sampling." + std::string(key));
      if (const auto* text = metadata_.Get<std::string>(full)) sampling[std::string(name)] = *text;
      if (const auto* whole = metadata_.Get<int32_t>(full)) sampling[std::string(name)] = *whole;
      if (const auto* number = metadata_.Get<float>(full)) {
        if (std::isfinite(*number)) {
          sampling[std::string(name)] = Json::parse(fmt::format("{}", *number));
        }
      }
    }
    return sampling;
  }

  const Metadata& metadata_;
  std::set<std::string> used_;
  std::string front_;
};

}  // namespace

std::vector<SideFile> ExportModelCard(const Metadata& metadata, std::vector<std::string>& notes) {
  ModelCard card(metadata);
  std::vector<SideFile> files = card.Files();
  card.NoteWhatIsLost(notes);
  return files;
}

}  // namespace quern::converters
