// A ModelSource that has a folder's side files and no tensors.
#ifndef QUERN_TESTS_CONVERTERS_TOKENIZER_FOLDER_SOURCE_TESTING_H_
#define QUERN_TESTS_CONVERTERS_TOKENIZER_FOLDER_SOURCE_TESTING_H_

#include <filesystem>
#include <string_view>

#include "formats/core/model.h"
#include "formats/huggingface/side_files.h"

namespace quern::testing {

class FolderSource : public ModelSource {
 public:
  explicit FolderSource(const std::filesystem::path& folder) : ModelSource(folder) {
    side_files_ = formats::huggingface::FindSideFiles(folder);
    config_ = formats::huggingface::ReadConfig(side_files_);
  }
  std::string_view format() const override { return "folder"; }
};

}  // namespace quern::testing

#endif  // QUERN_TESTS_CONVERTERS_TOKENIZER_FOLDER_SOURCE_TESTING_H_
