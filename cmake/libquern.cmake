# libquern: all rooms below cli/ as one archive, installed with headers and a CMake package.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

add_library(quern STATIC)
foreach(room IN LISTS QUERN_ROOMS)
  target_sources(quern PRIVATE $<TARGET_OBJECTS:quern_${room}>)
  target_link_libraries(quern PUBLIC ${QUERN_${room}_LIBRARIES})
endforeach()
target_compile_features(quern PUBLIC cxx_std_20)
target_include_directories(quern PUBLIC
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}/quern>)
set_target_properties(quern PROPERTIES LINKER_LANGUAGE CXX)
add_library(quern::quern ALIAS quern)

install(TARGETS quern EXPORT quernTargets ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT quernTargets NAMESPACE quern:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/quern)
foreach(room IN LISTS QUERN_ROOMS)
  install(DIRECTORY ${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/quern
          FILES_MATCHING PATTERN "*.h" PATTERN "*-inl.h" EXCLUDE)
endforeach()
configure_package_config_file(cmake/quernConfig.cmake.in quernConfig.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/quern)
write_basic_package_version_file(quernConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/quernConfig.cmake ${PROJECT_BINARY_DIR}/quernConfigVersion.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/quern)
