#include "formats/llamafile/llamafile_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <string_view>

#include "formats/core/byte_reader.h"
#include "formats/core/checked_math.h"
#include "formats/core/error.h"
#include "formats/core/file.h"
#include "formats/llamafile/llamafile_source.h"
#include "formats/zip/coverage.h"
#include "formats/zip/zip_directory.h"

namespace quern::formats::llamafile {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kPiece = 4 << 20;
constexpr uint64_t kLocalBytes = 30, kLocalExtraBytes = 20, kCentralBytes = 46;
constexpr uint16_t kVersion = 45;                // ZIP64
constexpr uint16_t kMadeBy = 3 << 8 | kVersion;  // Unix
constexpr uint16_t kUtf8 = 1 << 11;
// 14 November 2023, 22:13:20: the date that zipalign gives every member.
constexpr uint16_t kTime = 22 << 11 | 13 << 5 | 20 >> 1, kDate = (2023 - 1980) << 9 | 11 << 5 | 14;
constexpr uint32_t kMode = 0100644;  // a regular file
constexpr uint32_t kWide = 0xffffffff;
constexpr size_t kMaxNameBytes = 255;

// Little-endian fields.
class Fields {
 public:
  template <typename T>
  Fields& Put(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) {
      bytes_.push_back(static_cast<uint8_t>(static_cast<uint64_t>(value) >> 8 * i));
    }
    return *this;
  }
  Fields& Append(std::string_view text) {
    bytes_.insert(bytes_.end(), text.begin(), text.end());
    return *this;
  }
  const std::vector<uint8_t>& bytes() const { return bytes_; }

 private:
  std::vector<uint8_t> bytes_;
};

// A member on its way into the file.
struct Placed {
  const NewMember* member = nullptr;
  std::optional<File> file;  // where the content is one
  uint64_t size = 0;
  uint64_t header = 0, data = 0;  // offsets
  uint32_t crc = 0;
};

// The fields that both headers share, from the version needed to the length of the extra field.
void PutCommon(const Placed& placed, uint16_t extra_bytes, Fields& fields) {
  fields.Put(kVersion).Put(kUtf8).Put(uint16_t{0}).Put(kTime).Put(kDate).Put(placed.crc);
  fields.Put(kWide).Put(kWide);
  fields.Put(static_cast<uint16_t>(placed.member->name.size())).Put(extra_bytes);
}

Fields LocalHeader(const Placed& placed) {
  Fields fields;
  fields.Put(uint32_t{0x04034b50});
  PutCommon(placed, kLocalExtraBytes, fields);
  fields.Append(placed.member->name);
  return fields.Put(uint16_t{1}).Put(uint16_t{16}).Put(placed.size).Put(placed.size);
}

void PutCentralEntry(const Placed& placed, Fields& fields) {
  fields.Put(uint32_t{0x02014b50}).Put(kMadeBy);
  PutCommon(placed, kLocalExtraBytes + 8, fields);
  fields.Put(uint16_t{0}).Put(uint16_t{0}).Put(uint16_t{0});  // comment, disk, attributes
  fields.Put(kMode << 16).Put(kWide).Append(placed.member->name);
  fields.Put(uint16_t{1}).Put(uint16_t{24}).Put(placed.size).Put(placed.size).Put(placed.header);
}

void PutEnd(uint64_t entries, uint64_t offset, Fields& fields) {
  const uint64_t bytes = fields.bytes().size();
  fields.Put(uint32_t{0x06064b50}).Put(uint64_t{44}).Put(kMadeBy).Put(kVersion);
  fields.Put(uint32_t{0}).Put(uint32_t{0}).Put(entries).Put(entries).Put(bytes).Put(offset);
  fields.Put(uint32_t{0x07064b50}).Put(uint32_t{0}).Put(offset + bytes).Put(uint32_t{1});
  const auto few = static_cast<uint16_t>(std::min<uint64_t>(entries, 0xffff));
  fields.Put(uint32_t{0x06054b50}).Put(uint16_t{0}).Put(uint16_t{0}).Put(few).Put(few);
  fields.Put(static_cast<uint32_t>(std::min<uint64_t>(bytes, kWide))).Put(kWide).Put(uint16_t{0});
}

// The runtime's directory without the members that `names` replace, and how many are left.
struct OldDirectory {
  std::string bytes;
  uint64_t entries = 0;
};

OldDirectory ReadOldDirectory(const File& runtime, const std::set<std::string>& names) {
  if (!EndsInZip(runtime)) return {};
  const zip::Archive archive(runtime, zip::Gaps::kAllowed);  // for its checks
  const zip::DirectoryPlace place = zip::FindDirectory(runtime);
  ByteReader reader(runtime, place.begin, place.end);
  OldDirectory old;
  for (const zip::Member& member : archive.members()) {
    std::string entry = reader.ReadString(kCentralBytes, member.name);
    const auto length = [&](size_t at) {
      uint16_t value = 0;
      std::memcpy(&value, entry.data() + at, sizeof(value));
      return uint64_t{value};
    };
    entry += reader.ReadString(length(28) + length(30) + length(32), member.name);
    if (names.contains(member.name)) continue;
    old.bytes += entry;
    ++old.entries;
  }
  return old;
}

std::set<std::string> CheckNames(const std::vector<NewMember>& members) {
  std::set<std::string> names;
  for (const NewMember& member : members) {
    const bool usable = !member.name.empty() && member.name.size() <= kMaxNameBytes &&
                        member.name.find('/') == member.name.npos;
    if (usable && names.insert(member.name).second) continue;
    throw Error(ErrorCode::kUsage, {{}, {}, Printable(member.name)},
                "no name for a member of a llamafile, or one that is there twice");
  }
  return names;
}

// Where each member goes behind `end`; `end` moves behind the last.
std::vector<Placed> Place(const std::vector<NewMember>& members, uint64_t& end) {
  std::vector<Placed> all;
  for (const NewMember& member : members) {
    Placed placed{.member = &member, .size = member.text.size()};
    if (!member.source.empty()) {
      placed.file = File::Open(member.source);
      placed.size = placed.file->size();
    }
    const uint64_t header_bytes = kLocalBytes + member.name.size() + kLocalExtraBytes;
    placed.data = end + header_bytes;
    if (placed.file) placed.data = AlignUp(placed.data, kWeightsAlignment);
    placed.header = placed.data - header_bytes;
    end = placed.data + placed.size;
    all.push_back(std::move(placed));
  }
  return all;
}

using Sink = std::function<void(std::span<const uint8_t>)>;

void Copy(const File& file, uint64_t at, OutputFile& output, const Sink& sink = {}) {
  std::vector<uint8_t> buffer(std::min(kPiece, file.size()));
  for (uint64_t done = 0; done < file.size(); done += kPiece) {
    const auto piece = std::span(buffer).first(std::min(kPiece, file.size() - done));
    file.ReadAt(done, piece);
    output.WriteAt(at + done, piece);
    if (sink) sink(piece);
  }
}

void WriteMember(Placed& placed, OutputFile& output) {
  if (placed.file) {
    zip::Coverage coverage;
    uint64_t at = 0;
    Copy(*placed.file, placed.data, output, [&](std::span<const uint8_t> piece) {
      const auto whole = coverage.Add(at, piece.size(), zip::Crc32(piece), placed.size);
      at += piece.size();
      if (whole) placed.crc = *whole;
    });
  } else {
    const std::span bytes(reinterpret_cast<const uint8_t*>(placed.member->text.data()),
                          placed.size);
    placed.crc = zip::Crc32(bytes);
    output.WriteAt(placed.data, bytes);
  }
  output.WriteAt(placed.header, LocalHeader(placed).bytes());
}

// The runtime's permissions, and to execute for whom it is to read.
void MakeExecutable(const fs::path& path, const fs::path& runtime) {
  std::error_code error;
  const fs::perms mode = fs::status(runtime, error).permissions();
  const auto read = static_cast<unsigned>(mode) & 0444;
  fs::permissions(path, mode | static_cast<fs::perms>(read >> 2) | fs::perms::owner_write, error);
  if (!error) return;
  throw Error(ErrorCode::kIo, {path.string(), {}, {}},
              "cannot be made executable: " + error.message());
}

}  // namespace

void WriteLlamafile(const fs::path& runtime_path, const std::vector<NewMember>& members,
                    const fs::path& output_path, const OutputOptions& options) {
  const std::set<std::string> names = CheckNames(members);
  const File runtime = File::Open(runtime_path);
  std::string head(std::min<uint64_t>(runtime.size(), 16), '\0');
  runtime.ReadAt(0, {reinterpret_cast<uint8_t*>(head.data()), head.size()});
  if (!LooksExecutable(head)) {
    throw Error(ErrorCode::kBadMagic, {runtime.path(), {}, {}},
                "this is no executable; --runtime takes the llamafile program");
  }
  const OldDirectory old = ReadOldDirectory(runtime, names);
  uint64_t end = runtime.size();
  std::vector<Placed> placed = Place(members, end);
  // The directory's size does not depend on the checksums, which are not known yet.
  const auto directory = [&] {
    Fields fields;
    fields.Append(old.bytes);
    for (const Placed& member : placed) PutCentralEntry(member, fields);
    PutEnd(old.entries + placed.size(), end, fields);
    return fields;
  };
  OutputFile output(output_path, end + directory().bytes().size(), options);
  Copy(runtime, 0, output);
  for (Placed& member : placed) WriteMember(member, output);
  output.WriteAt(end, directory().bytes());
  MakeExecutable(output.partial_path(), runtime_path);
  output.Commit();
}

}  // namespace quern::formats::llamafile
