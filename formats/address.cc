#include "formats/address.h"

#include <string>

#include "formats/huggingface/hub_cache.h"
#include "formats/ollama/stored_model.h"

namespace quern::formats {

namespace fs = std::filesystem;

bool IsAddress(const fs::path& model) {
  const std::string text = model.string();
  if (!text.starts_with(ollama::kScheme) && !text.starts_with(kHubScheme)) return false;
  std::error_code ignored;
  return !fs::exists(model, ignored);
}

fs::path ResolveAddress(const fs::path& model, const OpenOptions& options) {
  if (!IsAddress(model)) return model;
  const std::string text = model.string();
  if (text.starts_with(ollama::kScheme)) {
    const std::string name = text.substr(ollama::kScheme.size());
    return ollama::Store::Find(options.store).ManifestOf(ollama::ParseModelName(name));
  }
  const auto hub_model = huggingface::ParseHubModel(text.substr(kHubScheme.size()));
  return huggingface::HubCache::Find().Snapshot(hub_model);
}

std::unique_ptr<ModelSource> OpenAddress(const fs::path& model, const OpenOptions& options) {
  // Under its own name, not the manifest's, which is called after the tag.
  if (const auto stored = ollama::StoredModel::From(model, options)) {
    return stored->Open(model, options);
  }
  return OpenModel(ResolveAddress(model, options), options);
}

}  // namespace quern::formats
