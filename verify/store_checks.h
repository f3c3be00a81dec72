// Finds out what a path is and what is known of its files: stores, caches, clones, lists, models.
//
//   an Ollama store       blobs named by SHA-256; manifests, their layers and sizes
//   a Hugging Face cache  blobs named by SHA-256 (LFS files) or git SHA-1 (the others); snapshots
//                         and refs
//   a git clone           files against the index, git-LFS pointers and objects by SHA-256
//   lists of checksums    SHA256SUMS, *.sha256, checklist.chk, ... and the files that they name
//   models                everything else that holds weights (structure.h)
// A folder may hold any of these at any depth. Links that lead out of a store are problems and are
// not followed; folders that are links are not entered. Nothing is changed.
#ifndef QUERN_VERIFY_STORE_CHECKS_H_
#define QUERN_VERIFY_STORE_CHECKS_H_

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/ollama/store.h"
#include "formats/reader.h"
#include "verify/check_list.h"

namespace quern::verify {

struct CheckOptions {
  formats::OpenOptions open;   // also says which store "ollama:NAME" is looked up in
  bool allow_orphans = false;  // list blobs that nothing refers to, but not as problems
};

// A path, "ollama:NAME[:TAG]" or "hf:ORG/NAME[@REVISION]". Throws kMissing where there is no such
// thing, kUsage for a bad name and where there is nothing that could be checked.
void CheckAddress(const std::string& address, const CheckOptions& options, CheckList& list);

// What CheckAddress() is made of. Each adds what it finds in `folder`.
bool IsOllamaStore(const std::filesystem::path& folder);
void CheckOllamaStore(const std::filesystem::path& folder, const CheckOptions& options,
                      CheckList& list);
// One model of a store, by its manifest.
void CheckOllamaModel(const formats::ollama::Store& store, const std::filesystem::path& manifest,
                      const CheckOptions& options, CheckList& list);
// A blob by its name.
void CheckOllamaBlob(const std::filesystem::path& blob, const CheckOptions& options,
                     CheckList& list);

// models--ORG--NAME, datasets--... or spaces--..., with blobs/ and snapshots/.
bool IsHubRepository(const std::filesystem::path& folder);
void CheckHubRepository(const std::filesystem::path& folder, const CheckOptions& options,
                        CheckList& list);
// A snapshot (.../snapshots/REVISION) alone, with its blobs.
void CheckHubSnapshot(const std::filesystem::path& snapshot, const CheckOptions& options,
                      CheckList& list);

// The repository that a file lies in, by its absolute path.
std::optional<std::filesystem::path> HubRepositoryAround(const std::filesystem::path& path);
// A blob, or a file of a snapshot with its blob. Whether it may be opened.
bool CheckHubFile(const std::filesystem::path& repository, const std::filesystem::path& path,
                  const CheckOptions& options, CheckList& list);

bool IsGitClone(const std::filesystem::path& folder);
void CheckGitClone(const std::filesystem::path& folder, const CheckOptions& options,
                   CheckList& list);

// Whether `path` is a git-LFS pointer; it, and the object that it points to, in the clone, worktree
// or submodule around it.
bool CheckLfsPointer(const std::filesystem::path& path, const CheckOptions& options,
                     CheckList& list);

bool IsChecksumList(const std::filesystem::path& path);
// Files outside of `root`, if it is not empty, are problems: links may lead there.
void CheckChecksumList(const std::filesystem::path& path, CheckList& list,
                       const std::filesystem::path& root = {});

// The model files among the files of one folder: each by itself, then, with `whole`, all of the
// folder as one model, if it says that it is one and no file was refused.
void CheckModelFiles(const std::filesystem::path& folder,
                     const std::vector<std::filesystem::path>& paths, bool whole,
                     const CheckOptions& options, CheckList& list);

// Entries of a folder, by name. Throws kIo.
std::vector<std::filesystem::path> ListFolder(const std::filesystem::path& folder);
// Everything below a folder that is no folder itself, by path; links are not followed. What cannot
// be listed is reported. Empty where there is no such folder.
std::vector<std::filesystem::path> ListTree(const std::filesystem::path& folder, CheckList& list);
bool IsRealFolder(const std::filesystem::path& path);  // no link
bool IsFile(const std::filesystem::path& path);        // or a link to one

// Whether `path`, its links followed, lies in `folder`.
bool IsInside(const std::filesystem::path& path, const std::filesystem::path& folder);

}  // namespace quern::verify

#endif  // QUERN_VERIFY_STORE_CHECKS_H_
