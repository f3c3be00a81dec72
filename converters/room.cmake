# The architecture files, compiled in: one C++ source with a raw string per file.
file(GLOB architecture_files CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/converters/architectures/*.jsonc)
set(architecture_source ${PROJECT_BINARY_DIR}/generated/converters/architecture_files.cc)
add_custom_command(
  OUTPUT ${architecture_source}
  COMMAND ${CMAKE_COMMAND} "-DFILES=${architecture_files}" -DOUT=${architecture_source}
          -P ${PROJECT_SOURCE_DIR}/converters/embed_architectures.cmake
  DEPENDS ${architecture_files} ${PROJECT_SOURCE_DIR}/converters/embed_architectures.cmake VERBATIM)
target_sources(quern_${name} PRIVATE ${architecture_source})
# The version is part of what a resumed run must share with the one it continues.
set_source_files_properties(${PROJECT_SOURCE_DIR}/converters/run_identity.cc PROPERTIES
  COMPILE_DEFINITIONS QUERN_VERSION="${PROJECT_VERSION}")
