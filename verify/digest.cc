#include "verify/digest.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "formats/core/error.h"

namespace quern::verify {
namespace {

struct KindInfo {
  std::string_view name;
  size_t digits;
  const EVP_MD* (*method)();
};
// In the order of DigestKind.
constexpr std::array kKinds = {KindInfo{"SHA-256", 64, EVP_sha256},
                               KindInfo{"git SHA-1", 40, EVP_sha1}, KindInfo{"MD5", 32, EVP_md5}};

const KindInfo& InfoOf(DigestKind kind) { return kKinds[static_cast<size_t>(kind)]; }

}  // namespace

struct Digest::State {
  explicit State(DigestKind of) : kind(of) {}
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void Check(int result) const {
    if (result == 1) return;
    throw Error(
        ErrorCode::kUnsupported, {},
        fmt::format("this OpenSSL offers no {}; allow it in its configuration", DigestName(kind)));
  }

  DigestKind kind;
  EVP_MD_CTX* context = EVP_MD_CTX_new();
};

std::string_view DigestName(DigestKind kind) { return InfoOf(kind).name; }

size_t DigestDigits(DigestKind kind) { return InfoOf(kind).digits; }

bool IsDigest(DigestKind kind, std::string_view text) {
  return text.size() == DigestDigits(kind) && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

Digest::Digest(DigestKind kind, uint64_t bytes) : state_(std::make_unique<State>(kind)) {
  state_->Check(EVP_DigestInit_ex(state_->context, InfoOf(kind).method(), nullptr));
  if (kind != DigestKind::kGitBlob) return;
  const std::string head = fmt::format("blob {}", bytes);
  Update({reinterpret_cast<const uint8_t*>(head.c_str()), head.size() + 1});
}

Digest::Digest(Digest&&) noexcept = default;
Digest& Digest::operator=(Digest&&) noexcept = default;
Digest::~Digest() = default;

void Digest::Update(std::span<const uint8_t> bytes) {
  state_->Check(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()));
}

std::string Digest::HexDigest() {
  std::array<uint8_t, EVP_MAX_MD_SIZE> digest;
  unsigned int size = 0;
  state_->Check(EVP_DigestFinal_ex(state_->context, digest.data(), &size));
  return fmt::format("{:02x}", fmt::join(digest.begin(), digest.begin() + size, ""));
}

std::string DigestOf(DigestKind kind, std::string_view text) {
  Digest digest(kind, text.size());
  digest.Update({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  return digest.HexDigest();
}

}  // namespace quern::verify
