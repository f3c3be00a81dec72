#include "converters/tokenizer/text_stream.h"

#include <gtest/gtest.h>

#include "formats/core/utf8.h"

namespace quern::converters {
namespace {

constexpr char kReplacement[] = "\xef\xbf\xbd";

TEST(TextStream, HoldsTheBeginningOfACharacterBack) {
  TextStream stream;
  EXPECT_EQ(stream.Add("ab\xf0\x9f"), "ab");
  EXPECT_EQ(stream.Add("\x8c"), "");
  EXPECT_EQ(stream.Add("\x80!"), "\xf0\x9f\x8c\x80!");
  EXPECT_EQ(stream.Add("\xc3"), "");
  EXPECT_EQ(stream.Finish(), kReplacement);
  EXPECT_EQ(stream.Finish(), "");
}

TEST(TextStream, ReplacesBytesThatBelongToNoCharacter) {
  TextStream stream;
  EXPECT_EQ(stream.Add("a\x80z"), std::string("a") + kReplacement + "z");
  EXPECT_EQ(stream.Add("\xff"), kReplacement);
  EXPECT_EQ(stream.Add("\xe2\x82"), "");  // of the euro sign
  EXPECT_EQ(stream.Add("x"), std::string(kReplacement) + kReplacement + "x");
}

TEST(TextStream, GivesEveryCharacterWhereverItIsCut) {
  for (const char32_t c : {0x41, 0x7ff, 0x800, 0xfff, 0x1000, 0xd7ff, 0xe000, 0xffff, 0x10000,
                           0x3ffff, 0x40000, 0x10ffff}) {
    std::string text;
    AppendUtf8(c, text);
    TextStream stream;
    for (size_t i = 0; i + 1 < text.size(); ++i) EXPECT_EQ(stream.Add(text.substr(i, 1)), "");
    EXPECT_EQ(stream.Add(text.substr(text.size() - 1)), text) << static_cast<uint32_t>(c);
  }
}

}  // namespace
}  // namespace quern::converters
