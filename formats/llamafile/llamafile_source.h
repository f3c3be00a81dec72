// llamafiles: a zip archive inside an executable, with a GGUF stored in it.
//
//   executable bytes | members, each where it was aligned to | central directory
// The weights are a stored member *.gguf: the one that the member ".args" names after -m or
// --model, else the only one (or the only split set) that is no projector. ".args" has one argument
// per line. Source: Mozilla-Ocho/llamafile, llamafile.c and zipalign.c.
// Non-goals: running it, weights outside the file, writing (llamafile_writer.h).
#ifndef QUERN_FORMATS_LLAMAFILE_LLAMAFILE_SOURCE_H_
#define QUERN_FORMATS_LLAMAFILE_LLAMAFILE_SOURCE_H_

#include <string>
#include <string_view>
#include <vector>

#include "formats/core/file.h"
#include "formats/gguf/gguf_reader.h"
#include "formats/reader.h"

namespace quern::formats::llamafile {

inline constexpr std::string_view kArgumentsName = ".args";

// ELF, Windows, Actually Portable Executable, Mach-O or script.
bool LooksExecutable(std::string_view head);

// Whether a zip archive's end record stands at the end of `file`. Throws what zip::FindDirectory
// does for a directory that lies.
bool EndsInZip(const File& file);

// Where the weights are in the llamafile `path`. Throws as zip::Archive, kMissing (no GGUF inside),
// kUsage (several models, listed), kUnsupported (compressed weights).
std::vector<gguf::Part> FindWeights(const std::filesystem::path& path);

// Executables that end in a zip archive.
extern const FormatInfo kFormat;

}  // namespace quern::formats::llamafile

#endif  // QUERN_FORMATS_LLAMAFILE_LLAMAFILE_SOURCE_H_
