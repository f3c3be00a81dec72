#include "formats/zip/zip_archive.h"

#include <fmt/format.h>

#include <algorithm>

#include "formats/core/error.h"
#include "formats/zip/zip_directory.h"

namespace quern::formats::zip {
namespace {

// Streams kept for deflated members, about 110 KiB each: one per reading thread and some.
constexpr size_t kMaxCursors = 8;
constexpr uint64_t kVerifyBytes = 64 << 10;

}  // namespace

Archive::Archive(const File& file, Gaps gaps) : file_(file) {
  const DirectoryPlace place = FindDirectory(file);
  members_ = ReadDirectory(file, place);
  CheckLocalHeaders(file, place, gaps, members_);
  for (size_t i = 0; i < members_.size(); ++i) by_name_.emplace(members_[i].name, i);
  read_.resize(members_.size());
}

const Member* Archive::Find(std::string_view name) const {
  const auto at = by_name_.find(name);
  return at == by_name_.end() ? nullptr : &members_[at->second];
}

void Archive::Read(const Member& member, uint64_t offset, std::span<uint8_t> out) const {
  if (offset > member.size || out.size() > member.size - offset) {
    throw Error(ErrorCode::kOutOfBounds, {file_.path(), {}, member.name},
                fmt::format("{} bytes at {} are outside this member of {} bytes", out.size(),
                            offset, member.size));
  }
  if (out.empty()) return;
  if (member.deflated) {
    Inflate(member, offset, out);
  } else {
    file_.ReadAt(member.data_offset + offset, out);
  }
  TrackCrc(member, offset, out);
}

void Archive::Inflate(const Member& member, uint64_t offset, std::span<uint8_t> out) const {
  // The kept stream of this member that is nearest before `offset`; it is ours while we use it.
  Cursor cursor{&member, nullptr};
  {
    const std::lock_guard lock(mutex_);
    auto best = cursors_.end();
    for (auto at = cursors_.begin(); at != cursors_.end(); ++at) {
      if (at->member != &member || at->inflater->position() > offset) continue;
      if (best == cursors_.end() || at->inflater->position() > best->inflater->position()) {
        best = at;
      }
    }
    if (best != cursors_.end()) {
      cursor = std::move(*best);
      cursors_.erase(best);
    }
  }
  if (!cursor.inflater) {
    cursor.inflater = std::make_unique<Inflater>(file_, member.data_offset, member.compressed_size,
                                                 member.size, member.name);
  }
  cursor.inflater->SkipTo(offset);
  cursor.inflater->Read(out);
  const std::lock_guard lock(mutex_);
  if (cursors_.size() == kMaxCursors) cursors_.erase(cursors_.begin());
  cursors_.push_back(std::move(cursor));
}

void Archive::TrackCrc(const Member& member, uint64_t offset,
                       std::span<const uint8_t> bytes) const {
  Coverage& coverage = read_[static_cast<size_t>(&member - members_.data())];
  {
    const std::lock_guard lock(mutex_);
    if (!coverage.Wants(offset, bytes.size())) return;
  }
  const uint32_t crc = Crc32(bytes);
  const std::lock_guard lock(mutex_);
  if (!coverage.Wants(offset, bytes.size())) return;  // another thread was faster
  const auto whole = coverage.Add(offset, bytes.size(), crc, member.size);
  if (whole && *whole != member.crc) {
    throw Error(ErrorCode::kMismatch, {file_.path(), member.data_offset, member.name},
                fmt::format("its CRC is {:08x} and {:08x} is declared; the file is damaged, fetch "
                            "it again",
                            *whole, member.crc));
  }
}

void Archive::Verify(const Member& member) const {
  std::vector<uint8_t> buffer(std::min(kVerifyBytes, member.size));
  Coverage coverage;
  uint32_t crc = 0;
  for (uint64_t at = 0; at < member.size; at += buffer.size()) {
    const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), member.size - at));
    if (member.deflated) {
      Inflate(member, at, part);
    } else {
      file_.ReadAt(member.data_offset + at, part);
    }
    const auto whole = coverage.Add(at, part.size(), Crc32(part), member.size);
    if (whole) crc = *whole;
  }
  if (crc != member.crc) {
    throw Error(ErrorCode::kMismatch, {file_.path(), member.data_offset, member.name},
                fmt::format("its CRC is {:08x} and {:08x} is declared; the file is damaged, fetch "
                            "it again",
                            crc, member.crc));
  }
}

std::string Archive::ReadSmall(const Member& member, uint64_t max_bytes) const {
  if (member.size > max_bytes) {
    throw Error(ErrorCode::kLimitExceeded, {file_.path(), member.header_offset, member.name},
                fmt::format("{} bytes; at most {} belong here", member.size, max_bytes));
  }
  Verify(member);
  std::string text(member.size, '\0');
  Read(member, 0, {reinterpret_cast<uint8_t*>(text.data()), text.size()});
  return text;
}

}  // namespace quern::formats::zip
