// Modelfiles: what Ollama makes a model of, as its parser reads them (ollama/ollama,
// parser/parser.go).
//
//   FROM PATH                      weights, a projector or a model's name; at least one
//   TEMPLATE SYSTEM LICENSE ADAPTER DRAFT RENDERER PARSER REQUIRES   TEXT
//   PARAMETER NAME TEXT            MESSAGE system|user|assistant TEXT            # comment
// Names in any case. TEXT goes to the end of the line, without spaces around it; in "..." or
// """...""" it may have several lines and ends at the first line end after closing quotes. There
// are no escapes. Control and other unprintable characters are dropped.
#ifndef QUERN_FORMATS_OLLAMA_MODELFILE_H_
#define QUERN_FORMATS_OLLAMA_MODELFILE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/core/json.h"

namespace quern::formats::ollama {

inline constexpr uint64_t kMaxModelfileBytes = 16 << 20;

struct Instruction {
  std::string name;  // lower case: "from", "template", "parameter", ...
  std::string key;   // a parameter's name, a message's role; empty otherwise
  std::string text;
  bool operator==(const Instruction&) const = default;
};

struct Modelfile {
  std::vector<Instruction> instructions;
  bool operator==(const Modelfile&) const = default;

  // The texts of the instructions of this name, in their order.
  std::vector<std::string> TextsOf(std::string_view name) const;
  // The last one's, which is the one that counts; empty where there is none.
  std::string LastOf(std::string_view name) const;
};

// Throws kBadText (with the line) where Ollama's parser fails. Invalid UTF-8 becomes U+FFFD.
Modelfile ParseModelfile(std::string_view text, std::string_view file);

// One instruction as a Modelfile has it, with its line end. Absent where no Modelfile can say it:
// a line of the text ends in three quotes, or it has characters that the parser drops.
std::optional<std::string> InstructionText(const Instruction& instruction);

// All of them. Throws kUnsupported where InstructionText is absent.
std::string ModelfileText(const Modelfile& modelfile);

// The content of the "params" layer: one line of JSON, keys sorted; empty without parameters.
// Parameters that Ollama has given up (mirostat, low_vram, ...) are left out, as it does. Throws
// kUsage for names that Ollama does not know, kBadValue for values of another type.
std::string ParametersJson(const Modelfile& modelfile, std::string_view file);

// The content of the "messages" layer; empty without messages.
std::string MessagesJson(const Modelfile& modelfile);

// JSON in one line with a line end, as Go writes it: '<', '>', '&' and the two Unicode line ends
// escaped.
std::string GoJson(const nlohmann::ordered_json& json);

// The instructions that a "params" or "messages" layer stands for. Values that are no texts,
// numbers or lists of these are left out.
std::vector<Instruction> ParameterInstructions(const Json& params);
std::vector<Instruction> MessageInstructions(const Json& messages);

}  // namespace quern::formats::ollama

#endif  // QUERN_FORMATS_OLLAMA_MODELFILE_H_
