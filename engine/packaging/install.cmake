# SPDX-License-Identifier: Apache-2.0
# What `cmake --install` lays down: public headers, both libraries, and the files by which pkg-config and CMake find
# them. Included by the top CMakeLists.txt once the libraries exist.
include(CMakePackageConfigHelpers)
set(packaging_dir ${CMAKE_CURRENT_LIST_DIR})
set(config_install_dir ${CMAKE_INSTALL_LIBDIR}/cmake/holdfast)

install(TARGETS holdfast holdfast_static EXPORT holdfast_targets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/engine/include/holdfast DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}
  FILES_MATCHING PATTERN "*.h" PATTERN "*.hpp" PATTERN "*.def")
install(FILES ${PROJECT_SOURCE_DIR}/LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})

# The prefix is written relative to the .pc file, so that an installed tree can be moved.
file(RELATIVE_PATH pc_to_prefix
  ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(${packaging_dir}/holdfast.pc.in ${PROJECT_BINARY_DIR}/holdfast.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/holdfast.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

configure_package_config_file(${packaging_dir}/holdfast-config.cmake.in ${PROJECT_BINARY_DIR}/holdfast-config.cmake
  INSTALL_DESTINATION ${config_install_dir} NO_SET_AND_CHECK_MACRO)
# Before 1.0 a new minor version may break what was built for the last one.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/holdfast-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/holdfast-config.cmake ${PROJECT_BINARY_DIR}/holdfast-config-version.cmake
  DESTINATION ${config_install_dir})
install(EXPORT holdfast_targets NAMESPACE holdfast:: FILE holdfast-targets.cmake DESTINATION ${config_install_dir})

# The command with its manual page, and what shells need to complete its arguments: the program prints that itself.
function(holdfast_install_tool)
  file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(holdfast_tool PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
  install(TARGETS holdfast_tool RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(FILES ${PROJECT_SOURCE_DIR}/docs/holdfast.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)

  set(completion_dir ${PROJECT_BINARY_DIR}/completion)
  file(MAKE_DIRECTORY ${completion_dir})
  foreach(completion bash:holdfast.bash zsh:_holdfast fish:holdfast.fish)
    string(REPLACE ":" ";" completion ${completion})
    list(GET completion 0 shell)
    list(GET completion 1 file)
    add_custom_command(OUTPUT ${completion_dir}/${file}
      COMMAND holdfast_tool completion ${shell} > ${completion_dir}/${file} DEPENDS holdfast_tool VERBATIM)
    list(APPEND completion_files ${completion_dir}/${file})
  endforeach()
  add_custom_target(holdfast_completions ALL DEPENDS ${completion_files})
  install(FILES ${completion_dir}/holdfast.bash RENAME holdfast
    DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${completion_dir}/_holdfast DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${completion_dir}/holdfast.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endfunction()
