// Writes llamafiles: a copy of a runtime, then the weights, stored and aligned so that they can be
// mapped, then a directory of the runtime's own members and the new ones.
//
//   the runtime's bytes, all of them
//   per member: zeros, local header with ZIP64 sizes, data    (of weights the data is aligned)
//   central directory, ZIP64 end record and locator, end record
// Members of the runtime with the name of a new one leave the directory; its bytes stay. This is
// what llamafile's zipalign does (Mozilla-Ocho/llamafile, zipalign.c), with a fixed date.
#ifndef QUERN_FORMATS_LLAMAFILE_LLAMAFILE_WRITER_H_
#define QUERN_FORMATS_LLAMAFILE_LLAMAFILE_WRITER_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "formats/core/output_file.h"

namespace quern::formats::llamafile {

inline constexpr uint64_t kWeightsAlignment = 65536;

struct NewMember {
  std::string name;
  std::filesystem::path source;  // a file, aligned; or
  std::string text;              // the content, not aligned
};

// Throws kBadMagic (a runtime that is no executable), what zip::Archive throws for the runtime's
// archive, kUsage (a name that is empty, too long or there twice), and what OutputFile throws. The
// output has the runtime's permissions and may be executed.
void WriteLlamafile(const std::filesystem::path& runtime, const std::vector<NewMember>& members,
                    const std::filesystem::path& output, const OutputOptions& options);

}  // namespace quern::formats::llamafile

#endif  // QUERN_FORMATS_LLAMAFILE_LLAMAFILE_WRITER_H_
