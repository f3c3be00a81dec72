// Pickles and PyTorch files built in code, right or wrong.
#ifndef QUERN_TESTS_FORMATS_TORCH_TORCH_TESTING_H_
#define QUERN_TESTS_FORMATS_TORCH_TORCH_TESTING_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tests/formats/zip/zip_testing.h"

namespace quern::testing::pickle {

// Pieces of protocol 2. Each leaves one value on the stack.
std::string Str(std::string_view text);
std::string Int(int64_t value);  // fits 32 bits or becomes a LONG1
std::string Global(std::string_view module, std::string_view name);
std::string Tuple(const std::vector<std::string>& items);
std::string List(const std::vector<std::string>& items);
std::string Dict(const std::vector<std::pair<std::string, std::string>>& items);
std::string Call(const std::string& callee, const std::vector<std::string>& arguments);
std::string Ints(const std::vector<int64_t>& values);  // a tuple
std::string Storage(std::string_view type, std::string_view key, int64_t elements,
                    const std::string& view = {});
std::string Tensor(const std::string& storage, int64_t offset, const std::vector<int64_t>& shape,
                   const std::vector<int64_t>& strides);
// {"t": tensor}
std::string OneTensor(const std::string& tensor);

// PROTO, body, STOP.
std::string Whole(const std::string& body, int protocol = 2);

}  // namespace quern::testing::pickle

namespace quern::testing {

using Storages = std::vector<std::pair<std::string, std::string>>;  // key, bytes

// What torch.save writes since 1.6; `pickle` without PROTO and STOP.
ZipFile TorchZip(const std::string& pickle, const Storages& storages = {}, bool big_endian = false);
// What it wrote before. Elements are `element_bytes` wide in all storages.
std::string TorchLegacy(const std::string& pickle, const Storages& storages = {},
                        uint64_t element_bytes = 4);

}  // namespace quern::testing

#endif  // QUERN_TESTS_FORMATS_TORCH_TORCH_TESTING_H_
