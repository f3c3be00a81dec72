# Parsers are fuzzed, not kernels: one instruction set is enough, and clang takes minutes for six.
if(QUERN_BUILD_FUZZERS)
  target_compile_definitions(quern_quant PRIVATE HWY_COMPILE_ONLY_SCALAR)
endif()
