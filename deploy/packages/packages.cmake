# SPDX-License-Identifier: Apache-2.0
# Debian packages, made by `cpack` in the build's folder; deploy/packages/build makes them with the
# manual pages. Nothing of this is installed by `cmake --install`.
#
#   percentdelta-server  pd-server, percentdelta-server@SHARD.service
#   percentdelta-worker  pd-worker, percentdelta-worker@NAME.service
#   percentdelta-client  pdctl, pd-local, jobs, make-certs

set(here ${CMAKE_CURRENT_LIST_DIR})
set(made ${PROJECT_BINARY_DIR}/packages)

# Files that differ by the package's role alone.
foreach(role server worker)
  set(conffiles "/etc/percentdelta/${role}.env\n")
  if(role STREQUAL server)
    string(APPEND conffiles "/etc/percentdelta/job.textproto\n")
  endif()
  file(CONFIGURE OUTPUT ${made}/${role}/conffiles CONTENT "${conffiles}")
  foreach(script postinst prerm postrm)
    configure_file(${here}/${script}.in ${made}/${role}/${script} @ONLY FILE_PERMISSIONS
      OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
  endforeach()
  configure_file(${here}/sysusers.conf.in ${made}/percentdelta-${role}.conf @ONLY)
  configure_file(${here}/percentdelta-${role}@.service ${made}/percentdelta-${role}@.service COPYONLY)
  file(READ ${here}/hardening.service hardening)
  file(APPEND ${made}/percentdelta-${role}@.service "${hardening}")
endforeach()

# The job that the server's package configures: MNIST with checkpoints.
file(READ ${PROJECT_SOURCE_DIR}/deploy/jobs/mnist.textproto job)
file(WRITE ${made}/job.textproto "${job}\n# All servers must see this directory.\n"
  "checkpoint { every_steps: 50 directory: \"/var/lib/percentdelta/checkpoints\" keep: 2 }\n")
file(WRITE ${made}/changelog "percentdelta (${PROJECT_VERSION}) unstable; urgency=medium\n\n"
  "  * CHANGELOG.md in the project lists the changes.\n\n"
  " -- The PercentDelta authors <percentdelta@localhost>  Sun, 29 Nov 2026 12:00:00 +0000\n")

function(pd_package name)
  cmake_parse_arguments(PARSE_ARGV 1 this "" "" "PROGRAMS")
  set(package percentdelta-${name})
  install(TARGETS ${this_PROGRAMS} RUNTIME COMPONENT ${name} EXCLUDE_FROM_ALL)
  install(FILES ${here}/copyright DESTINATION share/doc/${package} COMPONENT ${name} EXCLUDE_FROM_ALL)
  install(FILES ${made}/changelog.gz DESTINATION share/doc/${package} COMPONENT ${name}
    EXCLUDE_FROM_ALL OPTIONAL)
  foreach(program ${this_PROGRAMS})
    install(FILES ${made}/${program}.1.gz DESTINATION share/man/man1 COMPONENT ${name} EXCLUDE_FROM_ALL
      OPTIONAL)
  endforeach()
endfunction()

function(pd_service name)
  install(FILES ${made}/percentdelta-${name}@.service DESTINATION lib/systemd/system
    COMPONENT ${name} EXCLUDE_FROM_ALL)
  install(FILES ${made}/percentdelta-${name}.conf DESTINATION lib/sysusers.d COMPONENT ${name}
    EXCLUDE_FROM_ALL)
  install(PROGRAMS ${here}/run-${name} DESTINATION lib/percentdelta COMPONENT ${name}
    EXCLUDE_FROM_ALL)
  install(FILES ${here}/${name}.env DESTINATION /etc/percentdelta COMPONENT ${name}
    EXCLUDE_FROM_ALL)
  string(TOUPPER ${name} upper)
  set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA
    "${made}/${name}/postinst;${made}/${name}/prerm;${made}/${name}/postrm;${made}/${name}/conffiles"
    PARENT_SCOPE)
  set(CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS "systemd-standalone-sysusers | systemd-sysusers"
    PARENT_SCOPE)
endfunction()

pd_package(server PROGRAMS pd-server)
pd_package(worker PROGRAMS pd-worker)
pd_package(client PROGRAMS pdctl pd-local)
pd_service(server)
pd_service(worker)
install(FILES ${made}/job.textproto DESTINATION /etc/percentdelta COMPONENT server EXCLUDE_FROM_ALL)
install(PROGRAMS ${here}/percentdelta-shards DESTINATION sbin COMPONENT server EXCLUDE_FROM_ALL)
install(FILES ${made}/percentdelta-shards.8.gz DESTINATION share/man/man8 COMPONENT server
  EXCLUDE_FROM_ALL OPTIONAL)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/deploy/jobs DESTINATION share/percentdelta COMPONENT client
  EXCLUDE_FROM_ALL)
install(PROGRAMS ${PROJECT_SOURCE_DIR}/deploy/tls/make-certs DESTINATION lib/percentdelta
  COMPONENT client EXCLUDE_FROM_ALL)

set(CPACK_GENERATOR DEB)
set(CPACK_COMPONENTS_ALL server worker client)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_NAME percentdelta)
set(CPACK_PACKAGE_VENDOR "The PercentDelta authors")
set(CPACK_PACKAGE_CONTACT "The PercentDelta authors <percentdelta@localhost>")
set(CPACK_STRIP_FILES ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SECTION science)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE gzip)
set(CPACK_DEBIAN_SERVER_PACKAGE_RECOMMENDS percentdelta-client)
set(CPACK_DEBIAN_CLIENT_PACKAGE_SUGGESTS openssl)
string(CONCAT rest "\nPercentDelta trains neural networks synchronously on any number of parameter\n"
  "servers and workers, to the same weights bit for bit.")
set(CPACK_COMPONENT_SERVER_DESCRIPTION "parameter server for reproducible training: servers${rest}")
set(CPACK_COMPONENT_WORKER_DESCRIPTION "parameter server for reproducible training: workers${rest}")
set(CPACK_COMPONENT_CLIENT_DESCRIPTION "parameter server for reproducible training: tools${rest}")
include(CPack)
