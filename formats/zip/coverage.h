// The CRC of a member that is read in pieces, in any order: pieces that touch are joined until they
// cover the whole. Data is read once for its own sake; nothing is read again for the check.
#ifndef QUERN_FORMATS_ZIP_COVERAGE_H_
#define QUERN_FORMATS_ZIP_COVERAGE_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>

namespace quern::formats::zip {

class Coverage {
 public:
  // Whether [begin, begin + bytes) would add to what is known: not done, and no overlap with it.
  bool Wants(uint64_t begin, uint64_t bytes) const;
  // Adds a piece that Wants() accepted. Returns the CRC of the whole when this was the last one.
  std::optional<uint32_t> Add(uint64_t begin, uint64_t bytes, uint32_t crc, uint64_t size);

 private:
  struct Piece {
    uint64_t end;
    uint32_t crc;
  };
  std::map<uint64_t, Piece> pieces_;  // by first byte
  bool done_ = false;
};

// CRC-32 of zip (polynomial 0xEDB88320), of any length.
uint32_t Crc32(std::span<const uint8_t> bytes);

}  // namespace quern::formats::zip

#endif  // QUERN_FORMATS_ZIP_COVERAGE_H_
