#include "formats/zip/inflater.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>

#include "formats/core/error.h"

namespace quern::formats::zip {
namespace {

constexpr uint64_t kInputBytes = 64 << 10;
constexpr size_t kMaxStep = size_t{1} << 30;  // zlib counts in unsigned int

}  // namespace

struct Inflater::Stream {
  z_stream z{};
};

Inflater::Inflater(const File& file, uint64_t begin, uint64_t compressed, uint64_t size,
                   std::string name)
    : file_(file),
      name_(std::move(name)),
      next_(begin),
      end_(begin + compressed),
      size_(size),
      stream_(std::make_unique<Stream>()) {
  // Negative: raw deflate without zlib's header, as zip stores it (RFC 1951; APPNOTE 4.4.5).
  if (::inflateInit2(&stream_->z, -MAX_WBITS) != Z_OK) throw std::bad_alloc();
}

Inflater::~Inflater() { ::inflateEnd(&stream_->z); }

void Inflater::Refill() {
  input_.resize(std::min(kInputBytes, end_ - next_));
  file_.ReadAt(next_, input_);
  next_ += input_.size();
  stream_->z.next_in = input_.data();
  stream_->z.avail_in = static_cast<uInt>(input_.size());
}

void Inflater::FailStream(int result) const {
  const Where where{file_.path(), next_ - stream_->z.avail_in, name_};
  if (result == Z_MEM_ERROR) throw std::bad_alloc();
  if (result == Z_STREAM_END || result == Z_BUF_ERROR) {
    throw Error(ErrorCode::kTruncated, where,
                fmt::format("the compressed data gives {} bytes and {} are declared; the file is "
                            "damaged, fetch it again",
                            position_, size_));
  }
  throw Error(ErrorCode::kBadValue, where,
              "the compressed data cannot be inflated; the file is damaged, fetch it again");
}

void Inflater::Read(std::span<uint8_t> out) {
  z_stream& z = stream_->z;
  while (!out.empty()) {
    if (ended_) FailStream(Z_STREAM_END);
    if (z.avail_in == 0) {
      if (next_ == end_) FailStream(Z_BUF_ERROR);
      Refill();
    }
    const size_t step = std::min(out.size(), kMaxStep);
    z.next_out = out.data();
    z.avail_out = static_cast<uInt>(step);
    const int result = ::inflate(&z, Z_NO_FLUSH);
    const size_t got = step - z.avail_out;
    position_ += got;
    out = out.subspan(got);
    if (result == Z_STREAM_END) {
      ended_ = true;
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      FailStream(result);
    }
  }
  if (position_ == size_) CheckEnd();
}

// The declared size is reached: the stream must end here, with all of its bytes used.
void Inflater::CheckEnd() {
  z_stream& z = stream_->z;
  while (!ended_) {
    if (z.avail_in == 0) {
      if (next_ == end_) FailStream(Z_BUF_ERROR);
      Refill();
    }
    uint8_t extra;
    z.next_out = &extra;
    z.avail_out = 1;
    const int result = ::inflate(&z, Z_NO_FLUSH);
    if (z.avail_out == 0) {
      throw Error(ErrorCode::kMismatch, {file_.path(), {}, name_},
                  fmt::format("the compressed data gives more than the {} bytes declared; the "
                              "archive is damaged or made to mislead",
                              size_));
    }
    if (result == Z_STREAM_END) {
      ended_ = true;
    } else if (result != Z_OK && result != Z_BUF_ERROR) {
      FailStream(result);
    }
  }
  if (z.avail_in != 0 || next_ != end_) {
    throw Error(ErrorCode::kMismatch, {file_.path(), next_ - z.avail_in, name_},
                "the compressed data ends before its member does; the archive is damaged or made "
                "to mislead");
  }
}

void Inflater::SkipTo(uint64_t offset) {
  std::array<uint8_t, 16 << 10> scratch;
  while (position_ < offset) {
    const uint64_t step = std::min<uint64_t>(scratch.size(), offset - position_);
    Read(std::span(scratch).first(step));
  }
}

}  // namespace quern::formats::zip
