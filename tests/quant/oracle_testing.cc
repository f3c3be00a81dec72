#include "tests/quant/oracle_testing.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "tests/support/fixtures.h"

namespace quern::testing {
namespace {

template <typename Function>
void Load(void* library, const char* name, Function& function) {
  function = reinterpret_cast<Function>(::dlsym(library, name));
  if (!function) throw std::runtime_error(std::string("libggml-base.so has no ") + name);
}

void* OpenLibrary() {
  const auto folder = OracleLibraries();
  if (!folder) return nullptr;
  void* library = ::dlopen((*folder / "libggml-base.so").c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library) throw std::runtime_error(::dlerror());
  return library;
}

}  // namespace

Oracle::Oracle(void* library) {
  Load(library, "ggml_quantize_chunk", quantize_);
  Load(library, "ggml_get_type_traits", traits_);
  Load(library, "ggml_quantize_init", init_);
  Load(library, "ggml_fp32_to_fp16", f32_to_f16_);
  Load(library, "ggml_fp16_to_fp32", f16_to_f32_);
}

const Oracle* Oracle::Get() {
  static void* const library = OpenLibrary();
  static const Oracle* const oracle = library ? new Oracle(library) : nullptr;
  return oracle;
}

void Oracle::Quantize(TensorType type, const float* weights, uint8_t* blocks, size_t rows,
                      size_t columns, const float* imatrix) const {
  quantize_(Info(type).gguf_id, weights, blocks, 0, static_cast<int64_t>(rows),
            static_cast<int64_t>(columns), imatrix);
}

bool Oracle::TryQuantize(TensorType type, const float* weights, uint8_t* blocks, size_t rows,
                         size_t columns, const float* imatrix) const {
  const size_t bytes = rows * *RowBytes(type, columns);
  void* shared = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) throw std::runtime_error("mmap failed");
  init_(Info(type).gguf_id);  // once, not in every child
  const pid_t child = ::fork();
  if (child == 0) {
    ::setenv("GGML_NO_BACKTRACE", "1", 1);
    const int null = ::open("/dev/null", O_WRONLY);
    ::dup2(null, STDOUT_FILENO);
    ::dup2(null, STDERR_FILENO);
    Quantize(type, weights, static_cast<uint8_t*>(shared), rows, columns, imatrix);
    ::_exit(0);
  }
  int status = 1;
  ::waitpid(child, &status, 0);
  std::memcpy(blocks, shared, bytes);
  ::munmap(shared, bytes);
  return status == 0;
}

bool Oracle::CanDequantize(TensorType type) const {
  const TypeTraits* traits = traits_(Info(type).gguf_id);
  return traits && traits->to_float;
}

void Oracle::Dequantize(TensorType type, const uint8_t* blocks, float* weights,
                        size_t count) const {
  traits_(Info(type).gguf_id)->to_float(blocks, weights, static_cast<int64_t>(count));
}

}  // namespace quern::testing
