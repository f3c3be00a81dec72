#include "formats/ollama/model_name.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "formats/core/error.h"

namespace quern::formats::ollama {
namespace {

constexpr std::string_view kDefaultHost = "registry.ollama.ai";
constexpr std::string_view kDefaultNamespace = "library";
constexpr std::string_view kDefaultTag = "latest";

bool IsLetterOrDigit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

// `also`: characters that are allowed after the first one, beside letters, digits and '_'.
bool IsPart(std::string_view part, size_t max_bytes, std::string_view also) {
  const auto allowed = [&](char c) {
    return IsLetterOrDigit(c) || c == '_' || also.find(c) != also.npos;
  };
  return !part.empty() && part.size() <= max_bytes &&
         (IsLetterOrDigit(part.front()) || part.front() == '_') &&
         std::all_of(part.begin(), part.end(), allowed);
}

bool IsValid(const ModelName& name) {
  return IsPart(name.host, 350, "-.:") && IsPart(name.name_space, 80, "-") &&
         IsPart(name.model, 80, "-.") && IsPart(name.tag, 80, "-.");
}

}  // namespace

std::string ModelName::ShortText() const {
  std::string text = fmt::format("{}:{}", model, tag);
  const bool default_host = host == kDefaultHost;
  if (!default_host || name_space != kDefaultNamespace) text = name_space + "/" + text;
  return default_host ? text : host + "/" + text;
}

std::filesystem::path ModelName::ManifestPath() const {
  return std::filesystem::path(host) / name_space / model / tag;
}

ModelName ParseModelName(std::string_view text) {
  ModelName name{std::string(kDefaultHost), std::string(kDefaultNamespace), std::string(text),
                 std::string(kDefaultTag)};
  const size_t slash = name.model.rfind('/');
  if (slash != std::string::npos) {
    name.name_space = name.model.substr(0, slash);
    name.model.erase(0, slash + 1);
    const size_t host = name.name_space.rfind('/');
    if (host != std::string::npos) {
      name.host = name.name_space.substr(0, host);
      name.name_space.erase(0, host + 1);
    }
  }
  const size_t colon = name.model.find(':');
  if (colon != std::string::npos) {
    name.tag = name.model.substr(colon + 1);
    name.model.erase(colon);
  }
  if (IsValid(name)) return name;
  throw Error(ErrorCode::kUsage, {{}, {}, Printable(text)},
              "this is no name of an Ollama model; write [HOST/][NAMESPACE/]MODEL[:TAG]");
}

std::optional<ModelName> ModelNameFromPath(const std::filesystem::path& path) {
  const std::vector<std::filesystem::path> parts(path.begin(), path.end());
  if (parts.size() != 4) return {};
  ModelName name{parts[0].string(), parts[1].string(), parts[2].string(), parts[3].string()};
  if (!IsValid(name)) return {};
  return name;
}

}  // namespace quern::formats::ollama
