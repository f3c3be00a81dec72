// Lists of checksums and the files that they name.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "formats/checksums/checksum_list.h"
#include "verify/store_checks.h"

namespace quern::verify {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 5> kListNames = {
    "SHA256SUMS", "SHA256SUMS.txt", "sha256sums.txt", "MD5SUMS", "checklist.chk"};
constexpr std::array<std::string_view, 4> kListExtensions = {".sha256", ".sha256sum", ".md5",
                                                             ".md5sum"};

bool LeavesFolder(const fs::path& name) {
  return name.is_absolute() ||
         std::any_of(name.begin(), name.end(), [](const fs::path& part) { return part == ".."; });
}

void CheckEntry(const fs::path& path, const formats::checksums::Checksum& checksum,
                const fs::path& root, CheckList& list) {
  // A list without a name is of the file that it is named after.
  const fs::path name = checksum.name.empty() ? path.stem() : fs::path(checksum.name);
  if (LeavesFolder(name)) {
    list.Report(path, kUnsafePath,
                fmt::format("names \"{}\", which is not below its folder; it is not followed",
                            Printable(name.string())));
    return;
  }
  const fs::path file = path.parent_path() / name;
  std::error_code ignored;
  if (!fs::is_regular_file(file, ignored)) {
    list.Report(
        file, kMissingFile,
        fmt::format("{} names this file and it is not there; fetch it", path.filename().string()));
    return;
  }
  if (!root.empty() && !IsInside(file, root)) {
    list.Report(file, kUnsafePath, "this link leads out of the clone and is not followed");
    return;
  }
  const bool is_sha256 = checksum.digest.size() == DigestDigits(DigestKind::kSha256);
  list.Add(file).Expect({is_sha256 ? DigestKind::kSha256 : DigestKind::kMd5, checksum.digest,
                         path.filename().string()});
}

}  // namespace

bool IsChecksumList(const fs::path& path) {
  const std::string name = path.filename().string();
  const std::string extension = path.extension().string();
  return std::find(kListNames.begin(), kListNames.end(), name) != kListNames.end() ||
         std::find(kListExtensions.begin(), kListExtensions.end(), extension) !=
             kListExtensions.end();
}

void CheckChecksumList(const fs::path& path, CheckList& list, const fs::path& root) {
  try {
    const std::string text = ReadTextFile(path, formats::checksums::kMaxListBytes);
    const auto checksums = formats::checksums::ParseChecksums(text, path.string());
    list.CountItem();
    if (checksums.empty()) list.Report(path, kEmpty, "the list names no file; fetch it again");
    for (const auto& checksum : checksums) CheckEntry(path, checksum, root, list);
  } catch (const Error& error) {
    list.Report(error, path);
  }
}

}  // namespace quern::verify
