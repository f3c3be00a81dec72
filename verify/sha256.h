// SHA-256 (FIPS 180-4) through OpenSSL, which uses the CPU's SHA instructions.
#ifndef QUERN_VERIFY_SHA256_H_
#define QUERN_VERIFY_SHA256_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace quern::verify {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Update(std::span<const uint8_t> bytes);
  // 64 lower-case hexadecimal digits. The object is finished after this.
  std::string HexDigest();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_SHA256_H_
