#include "formats/ollama/modelfile.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/fixtures.h"
#include "tests/support/ollama_store.h"

namespace quern::formats::ollama {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::Sha256Hex;

std::vector<Instruction> Parse(const std::string& text) {
  return ParseModelfile(text, "Modelfile").instructions;
}

TEST(Modelfile, ReadsEveryInstruction) {
  EXPECT_THAT(
      Parse("# a comment\n\n  FROM ./a b.gguf \r\nTemplate \"\"\"{{ .System }}\n"
            " {{ .Prompt }}\n\"\"\"\nsystem \"You are.\nTwo lines.\"\nPARAMETER stop <|end|>\n"
            "PARAMETER num_ctx  4096\nMESSAGE user Hi: \"you\"\nLICENSE MIT # not a comment\n"
            "ADAPTER /x.gguf\nSYSTEM \"\""),
      ElementsAre(Instruction{"from", "", "./a b.gguf"},
                  Instruction{"template", "", "{{ .System }}\n {{ .Prompt }}\n"},
                  Instruction{"system", "", "You are.\nTwo lines."},
                  Instruction{"parameter", "stop", "<|end|>"},
                  Instruction{"parameter", "num_ctx", "4096"},
                  Instruction{"message", "user", "Hi: \"you\""},
                  Instruction{"license", "", "MIT # not a comment"},
                  Instruction{"adapter", "", "/x.gguf"}, Instruction{"system", "", ""}));
}

TEST(Modelfile, DropsWhatOllamaDrops) {
  EXPECT_THAT(
      Parse("\xef\xbb\xbf"
            "FROM x\nSYSTEM a\x01"
            "b\xc2\xa0"
            "c\xe2\x80\x8b"
            "d\xff\n"),
      ElementsAre(Instruction{"from", "", "x"}, Instruction{"system", "", "abcd\xef\xbf\xbd"}));
}

TEST(Modelfile, FailsWhereOllamaFails) {
  for (const char* text :
       {"", "SYSTEM x", "FROM", "FROM\n", "FRM x", "FROM x\nPARAMETER\n", "FROM x\nPARAMETER a-b 1",
        "FROM x\nMESSAGE tool x", "FROM x\nSYSTEM \"\"\"open\nfor ever", "FROM x\nSYSTEM \"open",
        "FROM x\n5 y", "FROM x\n\"\"\"y\"\"\""}) {
    EXPECT_QUERN_ERROR(ParseModelfile(text, "m"), ErrorCode::kBadText) << text;
  }
  const Error error = testing::ErrorOf([] { ParseModelfile("FROM x\n\nBAD y", "m"); });
  EXPECT_EQ(error.where().subject, "line 3");
}

TEST(Modelfile, WhatIsWrittenReadsBack) {
  const std::vector<std::string> texts = {"plain",
                                          "",
                                          " spaces ",
                                          "two\nlines\n",
                                          "\"quoted\"",
                                          "\"",
                                          "ends in \"",
                                          "ends in \"\"\"",
                                          "mid\"\"\"dle\nof a line",
                                          "a\r\nb",
                                          "\ttab",
                                          "{{- range .Messages }}<|im_start|>{{ .Role }}\n",
                                          "\xe3\x80\x8c\xe5\x90\x8d\xe5\x89\x8d\xe3\x80\x8d"};
  for (const std::string& text : texts) {
    for (const Instruction& instruction :
         {Instruction{"template", "", text}, Instruction{"parameter", "stop", text},
          Instruction{"message", "assistant", text}}) {
      const auto line = InstructionText(instruction);
      ASSERT_TRUE(line) << text;
      EXPECT_EQ(Parse("FROM x\n" + *line).at(1), instruction) << *line;
    }
  }
}

TEST(Modelfile, SaysWhatItCannotSay) {
  for (const char* text : {"a\"\"\"\nb", "\"\"\"  \nb", "form\ffeed", "zero\xe2\x80\x8bwidth"}) {
    EXPECT_FALSE(InstructionText({"template", "", text})) << text;
  }
  EXPECT_FALSE(InstructionText({"message", "robot", "x"}));
  EXPECT_FALSE(InstructionText({"parameter", "a-b", "x"}));
  EXPECT_QUERN_ERROR(ModelfileText({{{"from", "", "x"}, {"system", "", "\f"}}}),
                     ErrorCode::kUnsupported);
}

// The blobs of real models: ../shared/fixtures/ollama has their digests.
TEST(Modelfile, ParametersAreTheBytesThatOllamaWrites) {
  struct Case {
    const char* model;
    const char* lines;
    const char* digest;
  };
  const Case cases[] = {
      {"dolphin-llama3:8b", "PARAMETER stop <|im_start|>\nPARAMETER stop <|im_end|>\n",
       "f02dd72bb2423204352eabc5637b44d79d17f109fdb510a7c51455892aa2d216"},
      {"llama3.1:8b",
       "PARAMETER stop <|start_header_id|>\nPARAMETER stop <|end_header_id|>\n"
       "PARAMETER stop <|eot_id|>\n",
       "56bb8bd477a519ffa694fc449c2413c6f0e1d3b1c88fa7e3c9d88d3ae49d4dcb"},
      {"gemma2:27b", "PARAMETER stop <start_of_turn>\nPARAMETER stop <end_of_turn>\n",
       "2490e7468436707d5156d7959cf3c6341cc46ee323084cfa3fcf30fe76e397dc"},
      {"phi4",
       "PARAMETER stop <|im_start|>\nPARAMETER stop <|im_end|>\nPARAMETER stop <|im_sep|>\n",
       "45a1c652dddc9efdcefa977ab81cfbe26b6e52bc8e78f2f4c698538783e0ac80"},
      {"qwen3-coder",
       "PARAMETER top_k 20\nPARAMETER top_p 0.8\nPARAMETER repeat_penalty 1.05\n"
       "PARAMETER temperature 0.7\nPARAMETER stop <|im_start|>\nPARAMETER stop <|im_end|>\n"
       "PARAMETER stop <|endoftext|>\n",
       "69aa441ea44ff5e1e7b56cac4f471e71e8a5e2e3963c29684a9234d5d5e5f7aa"},
      {"granite3.2-vision", "PARAMETER num_ctx 16384\nPARAMETER temperature 0\n",
       "e371ed40cc78751b132fe4430cfb298e63b67f81d70c74ec4e8edc8a8e29b979"},
  };
  for (const Case& c : cases) {
    const Modelfile modelfile = ParseModelfile(std::string("FROM x\n") + c.lines, "m");
    EXPECT_EQ(Sha256Hex(ParametersJson(modelfile, "m")), c.digest)
        << c.model << ParametersJson(modelfile, "m");
  }
}

TEST(Modelfile, ParametersHaveTypes) {
  const auto json = [](const std::string& line) {
    return ParametersJson(ParseModelfile("FROM x\nPARAMETER " + line, "m"), "m");
  };
  EXPECT_EQ(json("use_mmap false"), "{\"use_mmap\":false}\n");
  EXPECT_EQ(json("seed -7"), "{\"seed\":-7}\n");
  EXPECT_EQ(json("temperature 1.0"), "{\"temperature\":1}\n");
  EXPECT_EQ(json("mirostat 2"), "");
  EXPECT_QUERN_ERROR(json("speed 5"), ErrorCode::kUsage);
  for (const char* line : {"num_ctx many", "num_ctx 1.5", "temperature hot", "temperature nan",
                           "use_mmap 2", "num_ctx 99999999999999999999"}) {
    EXPECT_QUERN_ERROR(json(line), ErrorCode::kBadValue) << line;
  }
}

TEST(Modelfile, LayersBecomeInstructionsAndBack) {
  const std::string params = "{\"num_ctx\":4096,\"stop\":[\"a\",\"b\"],\"temperature\":0.7}\n";
  const std::string messages =
      "[{\"role\":\"user\",\"content\":\"Hi\"},{\"role\":\"assistant\",\"content\":\"\\u003c\"}]\n";
  Modelfile modelfile;
  for (auto& list : {ParameterInstructions(ParseJson(params, "p")),
                     MessageInstructions(ParseJson(messages, "m"))}) {
    modelfile.instructions.insert(modelfile.instructions.end(), list.begin(), list.end());
  }
  EXPECT_EQ(ParametersJson(modelfile, "m"), params);
  EXPECT_EQ(MessagesJson(modelfile), messages);
  EXPECT_TRUE(ParameterInstructions(ParseJson("[1]", "p")).empty());
  EXPECT_TRUE(MessageInstructions(ParseJson("[1,{},{\"role\":1}]", "p")).empty());
}

}  // namespace
}  // namespace quern::formats::ollama
