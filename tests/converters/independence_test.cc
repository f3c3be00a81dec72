// Whole files do not depend on the number of threads, the size of slabs or the instruction set.
#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <fstream>
#include <iterator>

#include "converters/converter.h"
#include "converters/executor.h"
#include "converters/model_edits.h"
#include "formats/reader.h"
#include "quant/imatrix.h"
#include "tests/support/fixtures.h"

namespace quern::converters {
namespace {

using testing::TempFolder;
using testing::TestData;

// The bundled model cut to one layer, quantized by importance to types of every kind at once.
class IndependenceSlow : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto folder = TestData("kjv-4m");
    source_ = formats::OpenModel(folder);
    model_ = Convert(*source_, {});
    const std::vector<uint32_t> layers = {0, 2, 3};
    PruneLayers(layers, model_);
    imatrix_ = formats::imatrix::ReadImatrix(folder / "imatrix.gguf");
  }

  std::vector<std::string> Write(const std::vector<std::string>& types, ExecuteOptions options) {
    const TempFolder folder;
    std::vector<WritePlan> plans;
    for (const std::string& type : types) {
      plans.push_back(MakePlan(
          model_,
          {.file_type = quant::FindFileType(type), .imatrix = &imatrix_, .imatrix_file = "i"}));
    }
    std::vector<Job> jobs;
    for (const WritePlan& plan : plans) jobs.push_back({&plan, folder.path() / plan.type_name});
    Execute(*source_, model_, jobs, options);
    std::vector<std::string> files;
    for (const Job& job : jobs) {
      std::ifstream file(job.path, std::ios::binary);
      files.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    }
    return files;
  }

  std::unique_ptr<ModelSource> source_;
  OutputModel model_;
  quant::Imatrix imatrix_;
};

const std::vector<std::string> kTypes = {"Q4_0", "Q5_1",   "Q8_0",    "Q2_K",  "Q3_K_M", "Q4_K_M",
                                         "Q6_K", "IQ4_XS", "IQ3_XXS", "IQ2_S", "TQ1_0",  "BF16"};

TEST_F(IndependenceSlow, OfThreadsAndSlabs) {
  const auto expected = Write(kTypes, {.threads = 1});
  for (const int threads : {2, 3, 8}) {
    const auto files = Write(kTypes, {.threads = threads, .memory = uint64_t{1} << 20});
    for (size_t i = 0; i < kTypes.size(); ++i) {
      EXPECT_TRUE(files[i] == expected[i]) << kTypes[i] << ", " << threads << " threads";
    }
  }
}

TEST_F(IndependenceSlow, OfTheInstructionSet) {
  const auto expected = Write(kTypes, {});
  ASSERT_GT(hwy::SupportedAndGeneratedTargets().size(), 1u);
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    const auto files = Write(kTypes, {});
    hwy::SetSupportedTargetsForTest(0);
    for (size_t i = 0; i < kTypes.size(); ++i) {
      EXPECT_TRUE(files[i] == expected[i]) << kTypes[i] << ", " << hwy::TargetName(target);
    }
  }
}

}  // namespace
}  // namespace quern::converters
