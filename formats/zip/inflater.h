// A raw deflate stream read front to back with bounded memory: 32 KiB of window and one input
// buffer, whatever the sizes that the archive declares. Seeking is starting again.
#ifndef QUERN_FORMATS_ZIP_INFLATER_H_
#define QUERN_FORMATS_ZIP_INFLATER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "formats/core/file.h"

namespace quern::formats::zip {

class Inflater {
 public:
  // The stream is bytes [begin, begin + compressed) of `file`, which must outlive this object, and
  // must give exactly `size` bytes. `name` stands for the member in errors.
  Inflater(const File& file, uint64_t begin, uint64_t compressed, uint64_t size, std::string name);
  ~Inflater();
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;

  // Offset in the inflated data of the next byte.
  uint64_t position() const { return position_; }

  // Fills `out`. Throws kBadValue where the stream is damaged, kTruncated where it gives fewer
  // bytes than declared, kMismatch where it gives more or does not end where the member does.
  void Read(std::span<uint8_t> out);
  // Inflates and drops bytes until position() is `offset`, which is not before it.
  void SkipTo(uint64_t offset);

 private:
  struct Stream;

  void Refill();
  void CheckEnd();
  [[noreturn]] void FailStream(int result) const;

  const File& file_;
  std::string name_;
  uint64_t next_;  // file offset of the next compressed byte
  uint64_t end_;
  uint64_t size_;
  uint64_t position_ = 0;
  bool ended_ = false;  // the stream's last block is through
  std::unique_ptr<Stream> stream_;
  std::vector<uint8_t> input_;
};

}  // namespace quern::formats::zip

#endif  // QUERN_FORMATS_ZIP_INFLATER_H_
