// SPDX-License-Identifier: Apache-2.0

// Expects a call to end with a status code, and with a message that matches all the matchers.

#ifndef PERCENTDELTA_TESTS_LOCAL_EXPECT_REFUSED_H_
#define PERCENTDELTA_TESTS_LOCAL_EXPECT_REFUSED_H_

#include <gmock/gmock.h>
#include <grpcpp/support/status.h>
#include <gtest/gtest.h>

#define EXPECT_REFUSED(call, code, ...)                                \
  do {                                                                 \
    const grpc::Status refused = (call);                               \
    EXPECT_EQ(refused.error_code(), grpc::StatusCode::code);           \
    EXPECT_THAT(refused.error_message(), testing::AllOf(__VA_ARGS__)); \
  } while (false)

#endif  // PERCENTDELTA_TESTS_LOCAL_EXPECT_REFUSED_H_
