#include "verify/duplicates.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

namespace quern::verify {

void RequestDigests(CheckList& list) {
  std::map<uint64_t, int> files_of_size;
  for (const auto& [path, file] : list.files()) ++files_of_size[file.bytes];
  for (auto& [path, file] : list.files()) {
    if (file.bytes > 0 && files_of_size[file.bytes] > 1) file.want_sha256 = true;
  }
}

std::vector<DuplicateFiles> FindDuplicates(const CheckList& list) {
  std::map<std::string, std::vector<const FileCheck*>> by_digest;
  for (const auto& [path, file] : list.files()) {
    if (!file.sha256.empty() && file.bytes > 0) by_digest[file.sha256].push_back(&file);
  }
  std::vector<DuplicateFiles> all;
  for (const auto& [sha256, files] : by_digest) {
    if (files.size() < 2) continue;
    std::set<std::pair<uint64_t, uint64_t>> copies;
    DuplicateFiles group{sha256, files.front()->bytes, 0, {}};
    for (const FileCheck* file : files) {
      copies.insert({file->device, file->inode});
      group.paths.push_back(file->path.string());
    }
    group.reclaimable = (copies.size() - 1) * group.bytes;
    all.push_back(std::move(group));
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const auto& a, const auto& b) { return a.reclaimable > b.reclaimable; });
  return all;
}

}  // namespace quern::verify
