// Opens the model named on the command line with the installed library and counts its tensors.
#include <cstdio>

#include "formats/core/error.h"
#include "formats/reader.h"
#include "quant/codec.h"

int main(int argc, char** argv) {
  try {
    const auto model = quern::formats::OpenModel(argc > 1 ? argv[1] : "");
    std::printf("%zu tensors, %zu codecs\n", model->tensors().size(),
                quern::quant::Codecs().size());
    return model->tensors().empty();
  } catch (const quern::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return quern::ExitCode(error.code());
  }
}
