#include "formats/huggingface/front_matter.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string>

#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/core/yaml.h"

namespace quern::formats::huggingface {
namespace {

constexpr std::string_view kFence = "---";

// The first line of `rest`, which loses it; line ends are \n, \r\n and \r.
std::string_view TakeLine(std::string_view& rest) {
  const size_t end = std::min(rest.find_first_of("\r\n"), rest.size());
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end);
  if (rest.starts_with("\r\n")) {
    rest.remove_prefix(2);
  } else if (!rest.empty()) {
    rest.remove_prefix(1);
  }
  return line;
}

void ReplaceAll(std::string& text, std::string_view from, std::string_view to) {
  std::string out;
  size_t at = 0;
  for (size_t hit; (hit = text.find(from, at)) != text.npos; at = hit + from.size()) {
    out.append(text, at, hit - at).append(to);
  }
  text = out.append(text, at);
}

// The lines between the fences; absent without front matter.
std::optional<std::string> Extract(std::string_view card, std::string_view file) {
  if (TakeLine(card) != kFence) return std::nullopt;
  std::string yaml;
  while (!card.empty()) {
    const std::string_view line = TakeLine(card);
    if (line == kFence) break;
    yaml.append(line).push_back('\n');
    if (yaml.size() > kMaxFrontMatterBytes) {
      throw Error(
          ErrorCode::kLimitExceeded, {std::string(file), {}, "front matter"},
          fmt::format("more than {} bytes; end it with a line \"---\"", kMaxFrontMatterBytes));
    }
  }
  return yaml;
}

}  // namespace

Json ParseFrontMatter(std::string_view text, std::string_view file) {
  auto yaml = Extract(text, file);
  if (!yaml) return Json::object();
  // gguf-py/gguf/metadata.py, load_model_card: the same two replacements, as blunt as there.
  ReplaceAll(*yaml, "- no\n", "- \"no\"\n");
  ReplaceAll(*yaml, "\t", "  ");
  // Lines are counted from the opening fence on.
  Json root = ParseYaml(*yaml, file, {.subject = "front matter", .first_line = 2});
  return root.is_object() ? root : Json::object();
}

Json ReadFrontMatter(const std::filesystem::path& path) {
  return ParseFrontMatter(ReadTextFile(path, kMaxModelCardBytes), path.string());
}

}  // namespace quern::formats::huggingface
