// SPDX-License-Identifier: Apache-2.0

#include "server/shard/mapped_memory.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "tests/common/transport/memory_maker.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

constexpr int64_t kValues = 100;

TEST(MappedMemoryTest, IsMappedOnce) {
  const std::shared_ptr<SharedMemory> made = *SharedMemory::Make(kValues);
  MappedMemory memory;
  const auto first = memory.Find(made->name(), kValues);
  ASSERT_OK(first);
  const auto second = memory.Find(made->name(), kValues);
  ASSERT_OK(second);
  EXPECT_EQ(*first, *second);
  EXPECT_FALSE(memory.Find(made->name(), kValues + 1).ok());
  SharedMemoryName other = made->name();
  other.key[0] = static_cast<char>(other.key[0] ^ 1);
  EXPECT_FALSE(memory.Find(other, kValues).ok());
}

TEST(MappedMemoryTest, KeepsAllThatIsOffered) {
  MappedMemory memory;
  std::vector<std::shared_ptr<SharedMemory>> made;
  std::vector<std::weak_ptr<SharedMemory>> mapped;
  for (int i = 0; i < 20; ++i) {
    made.push_back(*SharedMemory::Make(kValues));
    mapped.push_back(*memory.Find(made.back()->name(), kValues));
  }
  for (const auto& each : mapped) EXPECT_FALSE(each.expired());
}

TEST(MappedMemoryTest, ForgetsWhatIsNotOfferedAnyMoreWhenANewOneComes) {
  MappedMemory memory;
  const std::shared_ptr<SharedMemory> kept = *SharedMemory::Make(kValues);
  std::shared_ptr<SharedMemory> dropped = *SharedMemory::Make(kValues);
  MemoryMaker other(kValues);
  const std::weak_ptr<SharedMemory> of_kept = *memory.Find(kept->name(), kValues);
  const std::weak_ptr<SharedMemory> of_dropped = *memory.Find(dropped->name(), kValues);
  const std::weak_ptr<SharedMemory> of_other = *memory.Find(other.name(), kValues);
  dropped.reset();
  other.Kill();
  ASSERT_OK(memory.Find(kept->name(), kValues));  // known: nothing is checked
  EXPECT_FALSE(of_dropped.expired());
  EXPECT_FALSE(of_other.expired());
  const std::shared_ptr<SharedMemory> another = *SharedMemory::Make(kValues);
  ASSERT_OK(memory.Find(another->name(), kValues));
  EXPECT_FALSE(of_kept.expired());
  EXPECT_TRUE(of_dropped.expired());
  EXPECT_TRUE(of_other.expired());
}

TEST(MappedMemoryTest, WhatACallStillUsesStays) {
  MappedMemory memory;
  std::shared_ptr<SharedMemory> made = *SharedMemory::Make(kValues);
  const std::shared_ptr<SharedMemory> used = *memory.Find(made->name(), kValues);
  made->values()[3] = 1;
  made.reset();
  const std::shared_ptr<SharedMemory> another = *SharedMemory::Make(kValues);
  ASSERT_OK(memory.Find(another->name(), kValues));
  EXPECT_EQ(used->values()[3], 1);
}

}  // namespace
}  // namespace percentdelta
