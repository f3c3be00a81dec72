// GGUF models: one file, or a set of split files opened as one.
//
// Versions 1 to 3 and both byte orders; Read() gives little-endian bytes from either. Any shard of
// a set opens the whole set. Metadata stands in the file's order, that of a set is the first
// shard's; the split.* keys, which describe files and not the model, are left out. layout() is
// "gguf". Bytes and limits: gguf_header.h, gguf_format.h. Sets: gguf_split.h.
#ifndef QUERN_FORMATS_GGUF_GGUF_READER_H_
#define QUERN_FORMATS_GGUF_GGUF_READER_H_

#include <bit>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "formats/core/model.h"
#include "formats/gguf/gguf_header.h"
#include "formats/gguf/gguf_split.h"
#include "formats/reader.h"

namespace quern::formats::gguf {

// Where one GGUF file is: a whole file, or bytes inside one (a member of a llamafile).
struct Part {
  std::filesystem::path path;
  uint64_t begin = 0;
  std::optional<uint64_t> bytes = {};  // absent: to the end of the file
};

class GgufSource : public ModelSource {
 public:
  // Throws what File::Open(), ParseHeader(), ReadSplitKeys() and CheckTokenizer() throw, and of a
  // set kMissing (a shard), kMismatch (a name, count or key that disagrees: mixed sets, a merged
  // file that kept its split keys) and kDuplicate (a shard or tensor that is there twice).
  explicit GgufSource(const std::filesystem::path& path);
  // One model in one part, or the parts of a split set in any order, whatever their names are.
  // `named` is what the user called it. Throws as above, and kOutOfBounds for a part that leaves
  // its file.
  GgufSource(const std::filesystem::path& named, std::span<const Part> parts);

  std::string_view format() const override { return "gguf"; }
  void Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const override;

 private:
  struct Shard {
    File file;
    Header header;
  };
  static Shard OpenShard(const Part& part);
  void OpenSet(const Shard& opened);
  void AddSet(std::vector<Shard> shards, const SplitKeys& split);
  void CheckShard(const Shard& shard, uint32_t no, const SplitKeys& of_set) const;
  void Add(Shard shard);
  void Finish();

  std::vector<std::endian> endians_;  // of files()
};

extern const FormatInfo kFormat;

}  // namespace quern::formats::gguf

#endif  // QUERN_FORMATS_GGUF_GGUF_READER_H_
