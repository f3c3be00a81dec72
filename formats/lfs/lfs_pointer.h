// Git LFS: the small pointer file that a clone has in place of a large one, and the object that it
// points to.
//
//   version https://git-lfs.github.com/spec/v1
//   oid sha256:HEX                              64 lower-case hexadecimal digits
//   size BYTES                                  "ext-N-NAME ..." lines may stand before the oid
// The object is .git/lfs/objects/HE/XX/HEX in the enclosing clone; in a worktree or submodule, .git
// is a file that says where the folder is. Source: git-lfs, docs/spec.md.
// Non-goals: fetching, lfs.storage elsewhere, hashing (verify/).
#ifndef QUERN_FORMATS_LFS_LFS_POINTER_H_
#define QUERN_FORMATS_LFS_LFS_POINTER_H_

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "formats/core/file.h"

namespace quern::formats::lfs {

inline constexpr uint64_t kMaxPointerBytes = 1024;  // the specification's limit, exclusive

struct Pointer {
  std::string oid;  // SHA-256, 64 lower-case hexadecimal digits
  uint64_t size = 0;
};

// Whether a file that begins like this is a pointer, or wants to be one.
bool IsPointer(std::string_view head);

// Throws kBadText (lines missing, repeated or unknown) and kBadValue (oid, size).
Pointer ParsePointer(std::string_view text, std::string_view file);

// The pointer in a file, absent where the file is something else. Throws as ParsePointer.
std::optional<Pointer> ReadPointer(const std::filesystem::path& path);

// The folder lfs/objects of the clone around `path`, absent where there is no clone.
std::optional<std::filesystem::path> FindObjects(const std::filesystem::path& path);

// objects/HE/XX/HEX (it may not exist).
std::filesystem::path ObjectPath(const std::filesystem::path& objects, std::string_view oid);

// The object of the pointer in `path`, or `path` itself where it is no pointer or the clone lacks
// the object. Throws as ParsePointer, kMismatch (an object of another size) and kUnsafe (a link
// that leaves the objects).
std::filesystem::path Resolve(const std::filesystem::path& path);

// Opens Resolve(path). Throws kMissing where the clone lacks the object.
File OpenFile(const std::filesystem::path& path);

}  // namespace quern::formats::lfs

#endif  // QUERN_FORMATS_LFS_LFS_POINTER_H_
