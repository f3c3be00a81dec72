#include "tests/formats/gguf/gguf_testing.h"

#include <limits>

namespace quern::formats::gguf {

Metadata MetadataOfAllTypes() {
  Metadata metadata;
  metadata.Set("general.architecture", std::string("llama"));
  metadata.Set("a.u8", uint8_t{255});
  metadata.Set("a.i8", int8_t{-128});
  metadata.Set("a.u16", uint16_t{0xabcd});
  metadata.Set("a.i16", int16_t{-2});
  metadata.Set("a.u32", uint32_t{0xdeadbeef});
  metadata.Set("a.i32", int32_t{-3});
  metadata.Set("a.f32", 1.5e-5f);
  metadata.Set("a.bool", true);
  metadata.Set("a.str", std::string("caf\xc3\xa9 \xff\0 end", 11));
  metadata.Set("a.u64", std::numeric_limits<uint64_t>::max());
  metadata.Set("a.i64", std::numeric_limits<int64_t>::min());
  metadata.Set("a.f64", 0.1);
  metadata.Set("b.u8", Array{std::vector<uint8_t>{1, 2, 3}});
  metadata.Set("b.i8", Array{std::vector<int8_t>{-1, 2}});
  metadata.Set("b.u16", Array{std::vector<uint16_t>{1, 0x1234}});
  metadata.Set("b.i16", Array{std::vector<int16_t>{-1}});
  metadata.Set("b.u32", Array{std::vector<uint32_t>{7, 0x01020304}});
  metadata.Set("b.i32", Array{std::vector<int32_t>{-7, 8}});
  metadata.Set("b.f32", Array{std::vector<float>{0.5f, -2.25f}});
  metadata.Set("b.bool", Array{std::vector<bool>{true, false, true}});
  metadata.Set("b.str", Array{std::vector<std::string>{"", "x", "yz"}});
  metadata.Set("b.u64", Array{std::vector<uint64_t>{1ull << 63}});
  metadata.Set("b.i64", Array{std::vector<int64_t>{-1}});
  metadata.Set("b.f64", Array{std::vector<double>{1e300, -0.0}});
  metadata.Set("c.none", Array{std::vector<float>{}});
  metadata.Set("c.no_text", Array{std::vector<std::string>{}});
  return metadata;
}

}  // namespace quern::formats::gguf
