set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

option(QUERN_BUILD_TESTS "Build the tests" ${PROJECT_IS_TOP_LEVEL})
option(QUERN_BUILD_BENCH "Build the benchmarks" OFF)
option(QUERN_BUILD_FUZZERS "Build libFuzzer targets (needs clang)" OFF)
set(QUERN_SANITIZE "" CACHE STRING "Comma-separated sanitizers, e.g. address,undefined")

# Quantized bytes must not depend on the compiler's freedom to fuse a multiply and an add:
# docs/architecture.md, decision 2. For the same reason there is no -march=native anywhere.
add_compile_options(-ffp-contract=off)
add_compile_options(-Wall -Wextra -Wshadow -Wno-missing-field-initializers -Wnon-virtual-dtor -Werror)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  add_compile_options(-Wno-restrict)  # false alarms on std::string in g++ 12 (GCC bug 105651)
endif()

if(QUERN_SANITIZE)
  add_compile_options(-fsanitize=${QUERN_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  add_link_options(-fsanitize=${QUERN_SANITIZE})
endif()

if(QUERN_BUILD_FUZZERS)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# Either ccache or precompiled headers: it cannot look into these. Not for the release build, where
# g++ 12 then warns of what it inlines from the standard library.
find_program(CCACHE ccache)
set(QUERN_PRECOMPILE OFF)
if(CCACHE AND NOT DEFINED ENV{CCACHE_DISABLE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
elseif(QUERN_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  set(QUERN_PRECOMPILE ON)
endif()

# quern_precompile(TARGET HEADER...): the headers that nearly every file of it includes, parsed once.
function(quern_precompile target)
  if(QUERN_PRECOMPILE)
    target_precompile_headers(${target} PRIVATE <algorithm> <filesystem> <functional> <map> <memory> <optional>
                              <string> <vector> <fmt/format.h> <nlohmann/json.hpp> ${ARGN})
  endif()
endfunction()
