// A ModelSource whose tensors are bytes in memory.
#ifndef QUERN_TESTS_CONVERTERS_FAKE_SOURCE_H_
#define QUERN_TESTS_CONVERTERS_FAKE_SOURCE_H_

#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "formats/core/model.h"

namespace quern::converters {

class FakeSource : public ModelSource {
 public:
  explicit FakeSource(Json config = {}, std::filesystem::path path = "/nowhere/fake")
      : ModelSource(std::move(path)) {
    config_ = std::move(config);
  }

  std::string_view format() const override { return "fake"; }

  // Random bytes, from a seed that the name gives.
  void Add(const std::string& name, Shape shape, TensorType type = TensorType::kF32) {
    const uint64_t bytes = TensorBytes(type, shape).value();
    std::vector<uint8_t> data(bytes);
    std::mt19937_64 random(std::hash<std::string>{}(name));
    for (auto& byte : data) byte = static_cast<uint8_t>(random());
    Add(name, std::move(shape), type, std::move(data));
  }
  void Add(const std::string& name, Shape shape, TensorType type, std::vector<uint8_t> data) {
    AddTensor({.name = name, .type = type, .shape = std::move(shape), .bytes = data.size()});
    data_[name] = std::move(data);
  }

  void Read(const TensorInfo& tensor, uint64_t offset, std::span<uint8_t> out) const override {
    const auto& data = data_.at(tensor.name);
    if (offset + out.size() > data.size()) throw std::logic_error("read beyond " + tensor.name);
    std::memcpy(out.data(), data.data() + offset, out.size());
    bytes_read_ += out.size();
  }
  void WillNeed(const TensorInfo& tensor, uint64_t offset, uint64_t bytes) const override {
    if (offset + bytes > data_.at(tensor.name).size()) {
      throw std::logic_error("prefetch beyond " + tensor.name);
    }
  }

  uint64_t bytes_read() const { return bytes_read_; }
  const std::vector<uint8_t>& data(const std::string& name) const { return data_.at(name); }
  SideFiles& side_files_for_test() { return side_files_; }
  Metadata& metadata_for_test() { return metadata_; }
  void set_layout(std::string layout) { layout_ = std::move(layout); }

 private:
  std::map<std::string, std::vector<uint8_t>> data_;
  mutable uint64_t bytes_read_ = 0;
};

}  // namespace quern::converters

#endif  // QUERN_TESTS_CONVERTERS_FAKE_SOURCE_H_
