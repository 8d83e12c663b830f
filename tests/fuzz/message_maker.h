// SPDX-License-Identifier: Apache-2.0

// Messages of any type from a fuzzer's input, by the descriptors of their fields.

#ifndef PERCENTDELTA_TESTS_FUZZ_MESSAGE_MAKER_H_
#define PERCENTDELTA_TESTS_FUZZ_MESSAGE_MAKER_H_

#include <fuzzer/FuzzedDataProvider.h>
#include <google/protobuf/message.h>

namespace percentdelta {

// Fills in a message with what may pass a check, as well as with what no check should let pass:
// small numbers, extreme ones, NaN; names of the tiny job (small_shard.h), long and binary strings.
void FillMessage(FuzzedDataProvider& input, google::protobuf::Message& message);

template <typename Message>
Message MakeMessage(FuzzedDataProvider& input) {
  Message message;
  FillMessage(input, message);
  return message;
}

}  // namespace percentdelta

#endif  // PERCENTDELTA_TESTS_FUZZ_MESSAGE_MAKER_H_
