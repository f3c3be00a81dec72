// SHA-256 (FIPS 180-4), the digest that files and tensors are named by.
#ifndef QUERN_VERIFY_SHA256_H_
#define QUERN_VERIFY_SHA256_H_

#include "verify/digest.h"

namespace quern::verify {

class Sha256 : public Digest {
 public:
  Sha256() : Digest(DigestKind::kSha256) {}
};

}  // namespace quern::verify

#endif  // QUERN_VERIFY_SHA256_H_
