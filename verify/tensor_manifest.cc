#include "verify/tensor_manifest.h"

#include <fmt/format.h>

#include <set>

#include "formats/checksums/checksum_list.h"
#include "verify/digest.h"

namespace quern::verify {
namespace {

Where At(std::string_view file, std::string subject) {
  return {std::string(file), {}, std::move(subject)};
}

const std::string& Text(const Json& object, const char* key, std::string_view file,
                        const std::string& place) {
  const auto at = object.find(key);
  if (at == object.end()) {
    throw Error(ErrorCode::kMissing, At(file, place + "." + key),
                "the manifest lacks this field; make it again with `quern hash --json`");
  }
  if (!at->is_string()) throw Error(ErrorCode::kBadType, At(file, place + "." + key), "is no text");
  return at->get_ref<const std::string&>();
}

ManifestTensor ParseTensor(const Json& json, std::string_view file, const std::string& place) {
  if (!json.is_object()) throw Error(ErrorCode::kBadType, At(file, place), "is no object");
  ManifestTensor tensor;
  tensor.name = Text(json, "name", file, place);
  tensor.sha256 = Text(json, "sha256", file, place);
  if (json.contains("type")) tensor.type = Text(json, "type", file, place);
  if (const auto shape = json.find("shape"); shape != json.end()) {
    if (!shape->is_array()) throw Error(ErrorCode::kBadType, At(file, place), "shape is no list");
    tensor.shape.emplace();
    for (const Json& dimension : *shape) {
      if (!dimension.is_number_unsigned()) {
        throw Error(ErrorCode::kBadValue, At(file, place), "shape holds no counts");
      }
      tensor.shape->push_back(dimension.get<uint64_t>());
    }
  }
  return tensor;
}

std::vector<ManifestTensor> ParseJsonManifest(std::string_view text, std::string_view file) {
  const Json json = ParseJson(text, file);
  const auto list = json.find("tensors");
  if (list == json.end() || !list->is_array()) {
    throw Error(ErrorCode::kMissing, At(file, "tensors"),
                "there is no list of tensors; make the manifest with `quern hash --json`");
  }
  std::vector<ManifestTensor> tensors;
  for (size_t i = 0; i < list->size(); ++i) {
    tensors.push_back(ParseTensor((*list)[i], file, fmt::format("tensors[{}]", i)));
  }
  return tensors;
}

// As sha256sum writes names: a name with such characters has a backslash before its line.
std::string Escaped(std::string_view name) {
  std::string text;
  for (const char c : name) {
    if (c == '\\') {
      text += "\\\\";
    } else if (c == '\n') {
      text += "\\n";
    } else if (c == '\r') {
      text += "\\r";
    } else {
      text += c;
    }
  }
  return text;
}

}  // namespace

Json TensorManifestToJson(const ModelSource& source, std::span<const std::string> digests) {
  Json tensors = Json::array();
  for (size_t i = 0; i < source.tensors().size(); ++i) {
    const TensorInfo& tensor = source.tensors()[i];
    tensors.push_back({{"name", tensor.name},
                       {"type", Name(tensor.type)},
                       {"shape", tensor.shape},
                       {"bytes", tensor.bytes},
                       {"sha256", digests[i]}});
  }
  return {{"format", source.format()}, {"tensors", std::move(tensors)}};
}

std::string TensorManifestToText(const ModelSource& source, std::span<const std::string> digests) {
  std::string text;
  for (size_t i = 0; i < source.tensors().size(); ++i) {
    const std::string& name = source.tensors()[i].name;
    const std::string escaped = Escaped(name);
    text += fmt::format("{}{}  {}\n", escaped == name ? "" : "\\", digests[i], escaped);
  }
  return text;
}

std::vector<ManifestTensor> ParseTensorManifest(std::string_view text, std::string_view file) {
  std::vector<ManifestTensor> tensors;
  if (text.starts_with('{')) {
    tensors = ParseJsonManifest(text, file);
  } else {
    for (auto& [digest, name] : formats::checksums::ParseChecksums(text, file)) {
      tensors.push_back({std::move(name), std::move(digest), {}, {}});
    }
  }
  std::set<std::string_view> names;
  for (const ManifestTensor& tensor : tensors) {
    if (!IsDigest(DigestKind::kSha256, tensor.sha256)) {
      throw Error(ErrorCode::kBadValue, At(file, Printable(tensor.name)),
                  "the digest is no SHA-256, 64 lower-case digits; make the manifest again");
    }
    if (!names.insert(tensor.name).second) {
      throw Error(ErrorCode::kDuplicate, At(file, Printable(tensor.name)),
                  "the manifest lists this tensor twice; make it again");
    }
  }
  return tensors;
}

std::vector<Problem> CheckTensors(const ModelSource& source, std::span<const std::string> digests,
                                  std::span<const ManifestTensor> manifest) {
  const std::string path = source.path().string();
  std::vector<Problem> problems;
  const auto report = [&](std::string_view kind, std::string_view name, std::string_view what) {
    problems.push_back({path, std::string(kind), fmt::format("{}: {}", Printable(name), what)});
  };
  const std::string_view mismatch = ErrorCodeName(ErrorCode::kMismatch);
  std::set<std::string_view> known;
  for (const ManifestTensor& expected : manifest) {
    known.insert(expected.name);
    const TensorInfo* tensor = source.FindTensor(expected.name);
    if (tensor == nullptr) {
      report(kMissingFile, expected.name, "the manifest has this tensor and the model lacks it");
      continue;
    }
    const auto index = static_cast<size_t>(tensor - source.tensors().data());
    if (expected.type && *expected.type != Name(tensor->type)) {
      report(mismatch, expected.name,
             fmt::format("is {} and was {}", Name(tensor->type), Printable(*expected.type, 20)));
    } else if (expected.shape && *expected.shape != tensor->shape) {
      report(mismatch, expected.name,
             fmt::format("has the shape [{}] and had [{}]", fmt::join(tensor->shape, ", "),
                         fmt::join(*expected.shape, ", ")));
    } else if (digests[index] != expected.sha256) {
      report(kChecksum, expected.name,
             fmt::format("SHA-256 is {} and was {}", digests[index], expected.sha256));
    }
  }
  for (const TensorInfo& tensor : source.tensors()) {
    if (known.contains(tensor.name)) continue;
    report(ErrorCodeName(ErrorCode::kUnexpected), tensor.name, "the manifest lacks this tensor");
  }
  return problems;
}

}  // namespace quern::verify
