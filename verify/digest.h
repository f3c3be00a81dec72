// Digests through OpenSSL, which uses the CPU's SHA instructions: SHA-256 (FIPS 180-4), and SHA-1
// and MD5 where other people's lists and stores are named by them.
#ifndef QUERN_VERIFY_DIGEST_H_
#define QUERN_VERIFY_DIGEST_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace quern::verify {

enum class DigestKind : uint8_t {
  kSha256,
  kGitBlob,  // SHA-1 of "blob SIZE\0" and the bytes: git's name for a file's content
  kMd5,
};

// "SHA-256", "git SHA-1", "MD5".
std::string_view DigestName(DigestKind kind);
// Of its hexadecimal form: 64, 40, 32.
size_t DigestDigits(DigestKind kind);
// Whether `text` is that many lower-case hexadecimal digits.
bool IsDigest(DigestKind kind, std::string_view text);

class Digest {
 public:
  // `bytes` is how many will come; kGitBlob alone needs to know.
  explicit Digest(DigestKind kind, uint64_t bytes = 0);
  Digest(Digest&&) noexcept;
  Digest& operator=(Digest&&) noexcept;
  ~Digest();
  void Update(std::span<const uint8_t> bytes);
  // Lower-case hexadecimal digits. The object is finished after this.
  std::string HexDigest();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Of a text in memory.
std::string DigestOf(DigestKind kind, std::string_view text);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_DIGEST_H_
