#include "converters/tokenizer/post_processor.h"

#include <string>

#include "converters/tokenizer/json_fields.h"
#include "formats/core/error.h"

namespace quern::converters {
namespace {

[[noreturn]] void Fail(ErrorCode code, std::string_view message) {
  throw Error(code, {.subject = "post_processor"}, message);
}

TokenId ToId(const Json& value) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() > 0x7fffffffu)
    Fail(ErrorCode::kBadType, "names a token id that is no number; the tokenizer file is damaged");
  return value.get<TokenId>();
}

// ["</s>", 2]
TokenId IdOfPair(const Json& pair) {
  if (!pair.is_array() || pair.size() != 2)
    Fail(ErrorCode::kBadType, "must name [token, id]; the tokenizer file is damaged");
  return ToId(pair[1]);
}

void AppendIds(const Json& special, const Json& tokens, std::vector<TokenId>& ids) {
  const std::string name = StringField(special, "id");
  const Json& entry = Member(tokens, name);
  if (!entry.is_object()) {
    Fail(ErrorCode::kBadValue, "uses the token \"" + Printable(name) +
                                   "\" without defining it; the tokenizer file is damaged");
  }
  for (const Json& id : ArrayField(entry, "ids")) ids.push_back(ToId(id));
}

SpecialFrame FromTemplate(const Json& config) {
  SpecialFrame frame;
  bool inside = false;
  for (const Json& piece : ArrayField(config, "single")) {
    if (const Json& special = Member(piece, "SpecialToken"); !special.is_null()) {
      AppendIds(special, Member(config, "special_tokens"), inside ? frame.after : frame.before);
    } else if (Member(piece, "Sequence").is_null() || inside) {
      Fail(ErrorCode::kUnsupported,
           "has a template that is not one sequence with special tokens around it; name the "
           "pre-tokenizer with --pre NAME");
    } else {
      inside = true;
    }
  }
  return frame;
}

}  // namespace

SpecialFrame FrameFromPostProcessor(const Json& config) {
  SpecialFrame frame;
  if (config.is_null()) return frame;
  const std::string type = TypeField(config, "post_processor");
  if (type == "ByteLevel") return frame;
  if (type == "TemplateProcessing") return FromTemplate(config);
  if (type == "RobertaProcessing" || type == "BertProcessing")
    return {{IdOfPair(Member(config, "cls"))}, {IdOfPair(Member(config, "sep"))}};
  if (type != "Sequence") {
    Fail(ErrorCode::kUnsupported,
         "the type \"" + Printable(type) +
             "\" is not supported; name the pre-tokenizer with --pre NAME");
  }
  for (const Json& inner : ArrayField(config, "processors")) {
    const SpecialFrame outer = FrameFromPostProcessor(inner);
    frame.before.insert(frame.before.begin(), outer.before.begin(), outer.before.end());
    frame.after.insert(frame.after.end(), outer.after.begin(), outer.after.end());
  }
  return frame;
}

}  // namespace quern::converters
