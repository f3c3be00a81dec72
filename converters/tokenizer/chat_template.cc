#include "converters/tokenizer/chat_template.h"

#include <algorithm>

#include "converters/tokenizer/json_fields.h"
#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

constexpr std::string_view kMoreTemplates[] = {"additional_chat_templates/", "chat_templates/"};

// Python opens text files with universal newlines.
std::string ReadTemplate(const std::filesystem::path& path) {
  const std::string raw = ReadTextFile(path, kMaxTokenizerTextBytes);
  if (!IsValidUtf8(raw)) {
    throw Error(ErrorCode::kBadText, {.file = path.string()},
                "is no valid UTF-8; the chat template is damaged");
  }
  std::string text;
  for (size_t i = 0; i < raw.size(); ++i) {
    const bool pair = raw[i] == '\r' && i + 1 < raw.size() && raw[i + 1] == '\n';
    if (!pair) text += raw[i] == '\r' ? '\n' : raw[i];
  }
  return text;
}

Json FromFolder(const TokenizerFiles& files, const std::filesystem::path& main) {
  Json templates = Json::array({{{"name", "default"}, {"template", ReadTemplate(main)}}});
  for (const auto& [name, path] : *files.side) {
    for (const std::string_view folder : kMoreTemplates) {
      if (!name.starts_with(folder) || !name.ends_with(".jinja")) continue;
      templates.push_back({{"name", path.stem().string()}, {"template", ReadTemplate(path)}});
    }
  }
  return templates.size() == 1 ? templates[0]["template"] : templates;
}

std::string KeyName(std::string name) {
  std::replace_if(
      name.begin(), name.end(),
      [](char c) {
        return !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'));
      },
      '_');
  return name;
}

// Python replaces characters, not bytes.
std::string KeyNameOfText(std::string_view text) {
  std::string name;
  for (const char32_t c : DecodeUtf8(text)) name += c < 0x80 ? static_cast<char>(c) : '_';
  return KeyName(name);
}

}  // namespace

Json FindChatTemplate(const TokenizerFiles& files) {
  if (files.tokenizer_config.contains("chat_template")) {
    const Json& found = files.tokenizer_config["chat_template"];
    return found.is_string() || found.is_array() ? found : Json();
  }
  if (const auto jinja = files.Path("chat_template.jinja"); !jinja.empty())
    return FromFolder(files, jinja);
  const auto path = files.Path("chat_template.json");
  if (path.empty()) return nullptr;
  const Json json = ReadJsonFile(path);
  const Json& found = Member(json, "chat_template");
  return found.is_string() || found.is_array() ? found : Json();
}

void AppendChatTemplate(const Json& chat_template, Metadata& metadata) {
  if (chat_template.is_string()) {
    metadata.Set("tokenizer.chat_template", chat_template.get<std::string>());
    return;
  }
  if (!chat_template.is_array()) return;
  std::vector<std::string> names;
  const Json* main = nullptr;
  for (const Json& choice : chat_template) {
    const std::string name = KeyNameOfText(StringField(choice, "name"));
    const Json& text = Member(choice, "template");
    if (name.empty() || !text.is_string()) continue;
    if (name == "default") {
      main = &text;
      continue;
    }
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    metadata.Set("tokenizer.chat_template." + name, text.get<std::string>());
  }
  if (!names.empty()) metadata.Set("tokenizer.chat_templates", Array{std::move(names)});
  if (main != nullptr) metadata.Set("tokenizer.chat_template", main->get<std::string>());
}

}  // namespace quern::converters
