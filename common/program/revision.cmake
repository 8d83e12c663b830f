# SPDX-License-Identifier: Apache-2.0
# Writes OUTPUT, a source file with the version and git's name of the sources, if it has changed.
# Run at each build (CMakeLists.txt): cmake -DSOURCE=... -DVERSION=... -DOUTPUT=... -P revision.cmake
# The environment variable PD_REVISION replaces git's answer, as in an image that is built without .git.

set(revision "$ENV{PD_REVISION}")
if(NOT revision AND EXISTS ${SOURCE}/.git)
  execute_process(COMMAND git describe --always --dirty --abbrev=12
    WORKING_DIRECTORY ${SOURCE} OUTPUT_VARIABLE revision ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
endif()
if(NOT revision MATCHES "^[-+._/0-9A-Za-z]+$")
  set(revision unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} @ONLY CONTENT [[
#include "common/program/version.h"

namespace percentdelta {

const char kVersion[] = "@VERSION@";
const char kRevision[] = "@revision@";

}  // namespace percentdelta
]])
