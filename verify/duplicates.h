// Files with the same content in several places, and what one copy of each would free.
#ifndef QUERN_VERIFY_DUPLICATES_H_
#define QUERN_VERIFY_DUPLICATES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "verify/check_list.h"

namespace quern::verify {

struct DuplicateFiles {
  std::string sha256;
  uint64_t bytes = 0;        // of one copy
  uint64_t reclaimable = 0;  // of all but one; hard links are one copy, reflinks cannot be told
  std::vector<std::string> paths;
};

// Before CheckList::Run(): asks for the SHA-256 of every file that has the size of another.
void RequestDigests(CheckList& list);

// After it: the largest gain first.
std::vector<DuplicateFiles> FindDuplicates(const CheckList& list);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_DUPLICATES_H_
