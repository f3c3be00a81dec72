// Chat templates: copied, never rendered.
#ifndef QUERN_CONVERTERS_TOKENIZER_CHAT_TEMPLATE_H_
#define QUERN_CONVERTERS_TOKENIZER_CHAT_TEMPLATE_H_

#include "converters/tokenizer/tokenizer_files.h"
#include "formats/core/metadata.h"

namespace quern::converters {

// The template (a string), or the list of {name, template}, that llama.cpp's converter takes:
// tokenizer_config.json's, else chat_template.jinja (with additional_chat_templates/*.jinja), else
// chat_template.json's. Null where there is none.
Json FindChatTemplate(const TokenizerFiles& files);

// Sets tokenizer.chat_template; for a list also tokenizer.chat_template.NAME (characters other than
// ASCII letters and digits as '_') and tokenizer.chat_templates. The list of names is in the order
// of the templates (llama.cpp's is in no fixed order).
void AppendChatTemplate(const Json& chat_template, Metadata& metadata);

}  // namespace quern::converters

#endif  // QUERN_CONVERTERS_TOKENIZER_CHAT_TEMPLATE_H_
