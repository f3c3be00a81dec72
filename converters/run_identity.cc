#include "converters/run_identity.h"

#include <openssl/evp.h>
#include <sys/stat.h>

#include <algorithm>
#include <memory>
#include <new>
#include <string_view>

namespace quern::converters {
namespace {

constexpr uint64_t kSampleBytes = 4096;

// Every field is fixed in size or preceded by its length, so that no two lists of fields give the
// same bytes.
class Fingerprint {
 public:
  Fingerprint() : context_(EVP_MD_CTX_new(), EVP_MD_CTX_free) {
    if (!context_ || EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) != 1) {
      throw std::bad_alloc();
    }
  }
  void Add(uint64_t number) {
    std::array<uint8_t, 8> bytes;
    for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(number >> (8 * i));
    EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
  }
  void Add(std::span<const uint8_t> bytes) {
    Add(bytes.size());
    EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size());
  }
  void Add(std::string_view text) {
    Add({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
  }
  void Add(std::span<const float> values) {
    Add({reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()});
  }
  void Add(const Shape& shape) {
    Add(shape.size());
    for (const uint64_t size : shape) Add(size);
  }
  Identity Finish() {
    Identity identity;
    EVP_DigestFinal_ex(context_.get(), identity.data(), nullptr);
    return identity;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

void AddExpression(const Expression& value, Fingerprint& print) {
  print.Add(static_cast<uint64_t>(value.op));
  print.Add(static_cast<uint64_t>(value.type));
  print.Add(value.shape);
  print.Add(value.first);
  print.Add(value.heads);
  print.Add(std::span<const float>(value.constant));
  if (value.source) {
    print.Add(value.source->name);
    print.Add(value.source->file);
    print.Add(value.source->offset);
    print.Add(value.source->bytes);
  }
  print.Add(value.inputs.size());
  for (const Expression& input : value.inputs) AddExpression(input, print);
}

void AddFile(const File& file, Fingerprint& print) {
  print.Add(file.size());
  struct stat info = {};
  (void)::stat(file.path().c_str(), &info);  // the file is open; without a time, samples decide
  print.Add(static_cast<uint64_t>(info.st_mtim.tv_sec));
  print.Add(static_cast<uint64_t>(info.st_mtim.tv_nsec));
  std::vector<uint8_t> sample(std::min(kSampleBytes, file.size()));
  const uint64_t last = file.size() - sample.size();
  for (const uint64_t offset : {uint64_t{0}, last / 2, last}) {
    file.ReadAt(offset, sample);
    print.Add(std::span<const uint8_t>(sample));
  }
}

}  // namespace

Identity IdentityOf(const ModelSource& source, const OutputModel& model, const WritePlan& plan,
                    size_t file) {
  Fingerprint print;
  print.Add(std::string_view(QUERN_VERSION));
  print.Add(std::span<const uint8_t>(plan.files[file].header));
  print.Add(plan.files[file].bytes);
  for (size_t i = 0; i < plan.tensors.size(); ++i) {
    const PlannedTensor& planned = plan.tensors[i];
    if (planned.file != file) continue;
    print.Add(i);
    print.Add(static_cast<uint64_t>(planned.via ? 1 + static_cast<int>(*planned.via) : 0));
    print.Add(planned.importance);
    AddExpression(model.tensors[planned.tensor].value, print);
  }
  for (const File& data : source.files()) AddFile(data, print);
  return print.Finish();
}

}  // namespace quern::converters
