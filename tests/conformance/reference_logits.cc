// reference_logits MODEL ID...: logits of the reference inference after each of the given tokens,
// [tokens, vocabulary] little-endian f32, to standard output. For logits.py.
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "formats/core/error.h"
#include "verify/reference/forward.h"

int main(int argc, char** argv) {
  using namespace quern::verify;  // NOLINT(google-build-using-namespace): a test's main
  try {
    if (argc < 3) return 2;
    std::vector<int32_t> ids;
    for (int i = 2; i < argc; ++i) ids.push_back(std::atoi(argv[i]));
    const ReferenceModel model = OpenReferenceModel(argv[1]);
    Products products(2);
    Forward forward(model, ids.size(), uint64_t{8} << 20, products);
    const Matrix states = forward.States({ids, ids.size(), 0, ids.size()}, [](uint64_t) {});
    Matrix logits(ids.size(), forward.graph().vocabulary);
    const uint64_t slab = forward.LogitSlabRows();
    Matrix part(ids.size(), slab);
    for (uint64_t first = 0; first < logits.columns(); first += slab) {
      const uint64_t count = std::min<uint64_t>(slab, logits.columns() - first);
      forward.Logits(states, first, count, part.data());
      for (size_t i = 0; i < ids.size(); ++i) {
        std::copy_n(part.data() + i * count, count, logits.row(i) + first);
      }
    }
    const size_t size = logits.rows() * logits.columns();
    return std::fwrite(logits.data(), sizeof(float), size, stdout) == size ? 0 : 4;
  } catch (const quern::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return quern::ExitCode(error.code());
  }
}
