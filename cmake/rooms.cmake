# quern_room(NAME): the static library quern_NAME from every .cc (and .proto) below NAME/.
# It links the rooms declared before it, so a room cannot use a higher one without a link error;
# tests/include_direction.py checks the includes themselves.
set(QUERN_ROOMS "" CACHE INTERNAL "rooms declared so far, lowest first")

set(QUERN_formats_LIBRARIES nlohmann_json::nlohmann_json fmt::fmt ZLIB::ZLIB OpenSSL::Crypto
                            protobuf::libprotobuf-lite yaml-cpp Threads::Threads)
set(QUERN_quant_LIBRARIES PkgConfig::HWY OpenMP::OpenMP_CXX)
set(QUERN_converters_LIBRARIES PkgConfig::ONIG PkgConfig::UTF8PROC xtensor OpenMP::OpenMP_CXX)
set(QUERN_verify_LIBRARIES PkgConfig::OPENBLAS PkgConfig::HWY OpenMP::OpenMP_CXX)

function(quern_room name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${name}/*.cc)
  file(GLOB_RECURSE protos CONFIGURE_DEPENDS ${name}/*.proto)
  add_library(quern_${name} STATIC ${sources})
  target_include_directories(quern_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<BUILD_INTERFACE:${PROJECT_BINARY_DIR}/generated>)
  target_link_libraries(quern_${name} PUBLIC ${QUERN_${name}_LIBRARIES})
  foreach(lower IN LISTS QUERN_ROOMS)
    target_link_libraries(quern_${name} PUBLIC quern_${lower})
  endforeach()
  quern_precompile(quern_${name})
  foreach(proto IN LISTS protos)
    quern_add_proto(quern_${name} ${proto})
  endforeach()
  if(EXISTS ${PROJECT_SOURCE_DIR}/${name}/room.cmake)
    include(${PROJECT_SOURCE_DIR}/${name}/room.cmake)
  endif()
  set(QUERN_ROOMS ${QUERN_ROOMS} ${name} CACHE INTERNAL "")
endfunction()

# Generated protobuf code goes to BUILD/generated/<path of the .proto>, compiled without our warnings.
function(quern_add_proto target proto)
  file(RELATIVE_PATH relative ${PROJECT_SOURCE_DIR} ${proto})
  string(REGEX REPLACE "\\.proto$" "" stem ${relative})
  set(out ${PROJECT_BINARY_DIR}/generated)
  file(MAKE_DIRECTORY ${out})
  add_custom_command(
    OUTPUT ${out}/${stem}.pb.cc ${out}/${stem}.pb.h
    COMMAND protobuf::protoc --cpp_out=lite:${out} -I ${PROJECT_SOURCE_DIR} ${proto}
    DEPENDS ${proto} VERBATIM)
  set_source_files_properties(${out}/${stem}.pb.cc PROPERTIES COMPILE_OPTIONS "-w" SKIP_PRECOMPILE_HEADERS ON)
  target_sources(${target} PRIVATE ${out}/${stem}.pb.cc ${out}/${stem}.pb.h)
  target_include_directories(${target} SYSTEM PUBLIC $<BUILD_INTERFACE:${out}>)
endfunction()
