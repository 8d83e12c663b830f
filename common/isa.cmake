# SPDX-License-Identifier: Apache-2.0
# pd_sources_for_each_isa(LIBRARY SOURCE [OPTION ...]): compiles SOURCE into LIBRARY once for each
# instruction set of common/base/isa.h, with the options and with PD_ISA (its namespace) and
# PD_ISA_NAME (its name for people) defined. See common/base/isa.h for what SOURCE may hold.
function(pd_sources_for_each_isa library source)
  set(isas generic)
  if(CMAKE_SYSTEM_PROCESSOR MATCHES "^(x86_64|AMD64|amd64)$")
    list(APPEND isas x86-64-v2 x86-64-v3 x86-64-v4)
  endif()
  foreach(isa ${isas})
    string(REPLACE "-" "_" namespace ${isa})
    set(objects ${library}_${namespace})
    add_library(${objects} OBJECT ${source})
    target_link_libraries(${objects} PRIVATE pd_options)
    target_compile_definitions(${objects} PRIVATE PD_ISA=${namespace} PD_ISA_NAME="${isa}")
    target_compile_options(${objects} PRIVATE ${ARGN})
    if(NOT isa STREQUAL generic)
      target_compile_options(${objects} PRIVATE -march=${isa})
    endif()
    target_sources(${library} PRIVATE $<TARGET_OBJECTS:${objects}>)
  endforeach()
endfunction()
