#include "server/mapped_memory.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <memory>
#include <vector>

namespace percentdelta {
namespace {

constexpr int64_t kValues = 100;

TEST(MappedMemoryTest, IsMappedOnce) {
  const std::shared_ptr<SharedMemory> made = *SharedMemory::Make(kValues);
  MappedMemory memory;
  const auto first = memory.Find(made->name(), kValues);
  ASSERT_TRUE(first.ok()) << first.status();
  const auto second = memory.Find(made->name(), kValues);
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(*first, *second);
  EXPECT_FALSE(memory.Find(made->name(), kValues + 1).ok());
  SharedMemoryName other = made->name();
  other.key[0] = static_cast<char>(other.key[0] ^ 1);
  EXPECT_FALSE(memory.Find(other, kValues).ok());
}

TEST(MappedMemoryTest, KeepsTheFourOfAProcessThatWereUsedLast) {
  MappedMemory memory;
  std::vector<std::shared_ptr<SharedMemory>> made;
  std::vector<std::weak_ptr<SharedMemory>> mapped;
  for (int i = 0; i < 6; ++i) {
    made.push_back(*SharedMemory::Make(kValues));
    mapped.push_back(*memory.Find(made.back()->name(), kValues));
    EXPECT_FALSE(mapped.back().expired());
    EXPECT_EQ(memory.Find(made.front()->name(), kValues)->get(), mapped.front().lock().get());
  }
  const std::vector<bool> expected = {false, true, true, false, false, false};
  for (int i = 0; i < 6; ++i) EXPECT_EQ(mapped[i].expired(), expected[i]) << i;
}

TEST(MappedMemoryTest, WhatACallStillUsesStays) {
  MappedMemory memory;
  std::vector<std::shared_ptr<SharedMemory>> made = {*SharedMemory::Make(kValues)};
  const std::shared_ptr<SharedMemory> used = *memory.Find(made[0]->name(), kValues);
  made[0]->values()[3] = 1;
  for (int i = 0; i < 6; ++i) {
    made.push_back(*SharedMemory::Make(kValues));
    ASSERT_TRUE(memory.Find(made.back()->name(), kValues).ok());
  }
  EXPECT_EQ(used->values()[3], 1);
}

TEST(MappedMemoryTest, ThatOfADeadProcessGoesWithTheNextNewOne) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const pid_t child = fork();
  if (child == 0) {
    const auto made = *SharedMemory::Make(kValues);
    const int32_t descriptor = made->name().descriptor;
    if (write(ends[1], &descriptor, sizeof(descriptor)) < 0) _exit(1);
    if (write(ends[1], made->name().key.data(), 16) < 0) _exit(1);
    pause();
    _exit(0);
  }
  SharedMemoryName name = {child, 0, std::string(16, '\0')};
  ASSERT_EQ(read(ends[0], &name.descriptor, sizeof(name.descriptor)), 4);
  ASSERT_EQ(read(ends[0], name.key.data(), 16), 16);
  close(ends[0]);
  close(ends[1]);
  MappedMemory memory;
  const std::weak_ptr<SharedMemory> mapped = *memory.Find(name, kValues);
  const std::shared_ptr<SharedMemory> own = *SharedMemory::Make(kValues);
  ASSERT_TRUE(memory.Find(own->name(), kValues).ok());
  EXPECT_FALSE(mapped.expired());
  kill(child, SIGKILL);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
  ASSERT_TRUE(memory.Find(own->name(), kValues).ok());  // known: nothing is looked through
  EXPECT_FALSE(mapped.expired());
  const std::shared_ptr<SharedMemory> another = *SharedMemory::Make(kValues);
  ASSERT_TRUE(memory.Find(another->name(), kValues).ok());
  EXPECT_TRUE(mapped.expired());
}

}  // namespace
}  // namespace percentdelta
