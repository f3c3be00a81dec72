#include "verify/sha256.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>

#include "formats/core/error.h"

namespace quern::verify {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  ~State() { EVP_MD_CTX_free(context); }
};

namespace {

void Check(int result) {
  if (result != 1) throw Error(ErrorCode::kUnsupported, {}, "OpenSSL offers no SHA-256");
}

}  // namespace

Sha256::Sha256() : state_(std::make_unique<State>()) {
  Check(EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr));
}

Sha256::~Sha256() = default;

void Sha256::Update(std::span<const uint8_t> bytes) {
  Check(EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()));
}

std::string Sha256::HexDigest() {
  std::array<uint8_t, 32> digest;
  Check(EVP_DigestFinal_ex(state_->context, digest.data(), nullptr));
  return fmt::format("{:02x}", fmt::join(digest, ""));
}

}  // namespace quern::verify
