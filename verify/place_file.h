// Puts a file's content at another path without spending disk where the file system allows: a hard
// link, a reflink (blocks shared until one side is written) or a copy, in this order.
//
// Nothing is placed that was not read and hashed first. The file appears under its name only when
// it is complete and synced.
#ifndef QUERN_VERIFY_PLACE_FILE_H_
#define QUERN_VERIFY_PLACE_FILE_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace quern::verify {

enum class Placement : uint8_t { kHardLink, kReflink, kCopy };
// "hard link", "reflink", "copy".
std::string_view PlacementName(Placement placement);

struct PlaceOptions {
  bool copy = false;   // no links
  bool force = false;  // replace what is there
};

// SHA-256 of a file, in hexadecimal.
std::string HashFile(const std::filesystem::path& path);

// Places `source` (links are followed) at `destination`, in a folder that exists. Throws kMismatch,
// before anything is placed or with nothing left behind, where the content's SHA-256 is not
// `sha256`; what OutputFile throws.
Placement PlaceFile(const std::filesystem::path& source, const std::filesystem::path& destination,
                    std::string_view sha256, const PlaceOptions& options);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_PLACE_FILE_H_
