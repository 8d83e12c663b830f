// SPDX-License-Identifier: Apache-2.0

#include "server/server_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "tests/server/test_jobs.h"
#include "tests/status_matchers.h"

namespace percentdelta {
namespace {

using ::testing::HasSubstr;

ServerOptions OptionsOf(int shard, int shards) {
  ServerOptions options;
  options.job = SmallJob();
  options.shard = shard;
  options.shards = shards;
  if (shard != 0) options.coordinator = "127.0.0.1:5000";
  return options;
}

TEST(ServerOptionsTest, AcceptsShardsOfACluster) {
  EXPECT_OK(CheckOptions(OptionsOf(0, 1)));
  EXPECT_OK(CheckOptions(OptionsOf(2, 3)));
}

TEST(ServerOptionsTest, NamesTheOptionThatIsWrong) {
  const struct {
    std::string message;
    std::function<void(ServerOptions&)> change;
  } rows[] = {
      {"shards: expected at least 1, got 0", [](auto& options) { options.shards = 0; }},
      {"shard: expected 0..1 of 2, got 2", [](auto& options) { options.shard = 2; }},
      {"shard: expected 0..1 of 2, got -1", [](auto& options) { options.shard = -1; }},
      {"coordinator: expected the host:port of shard 0, got nothing",
       [](auto& options) { options.coordinator = ""; }},
      {"coordinator", [](auto& options) { options.coordinator = "host:0"; }},
      {"listen", [](auto& options) { options.listen = "host"; }},
      {"advertise", [](auto& options) { options.advertise = "host:65536"; }},
      {"advertise", [](auto& options) { options.listen = "0.0.0.0:0"; }},
      {"threads: expected at least 0, got -1", [](auto& options) { options.threads = -1; }},
      {"history: expected at least 1 step, got 0",
       [](auto& options) { options.history_steps = 0; }},
      {"tensorboard_histograms: expected a number of steps, with a directory in tensorboard, or 0, "
       "got 5 without a directory",
       [](auto& options) { options.tensorboard_histograms = 5; }},
      {"tensorboard_histograms: expected a number of steps",
       [](auto& options) {
         options.tensorboard = "directory";
         options.tensorboard_histograms = -1;
       }},
      {"max_steps", [](auto& options) { options.job.max_steps = 0; }},
      {"listen: 0.0.0.0:0 can be reached from other machines",
       [](auto& options) {
         options.listen = "0.0.0.0:0";
         options.advertise = "127.0.0.1:0";
       }},
      {"listen: host:1 can be reached", [](auto& options) { options.listen = "host:1"; }},
      {"token_file: expected tls_ca",
       [](auto& options) {
         options.listen = "host:1";
         options.insecure = true;
         options.token_file = "tokens";
       }},
      {"own_token_file: expected", [](auto& options) { options.token_file = "tokens"; }},
      {"insecure: expected it without",
       [](auto& options) {
         options.tls.cert = "cert";
         options.insecure = true;
       }},
      {"coordinator: other:5000 is not a loopback address",
       [](auto& options) { options.coordinator = "other:5000"; }},
  };
  for (const auto& row : rows) {
    ServerOptions options = OptionsOf(1, 2);
    row.change(options);
    EXPECT_THAT(CheckOptions(options),
                StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr(row.message)));
  }
}

TEST(ServerOptionsTest, ListensElsewhereWithTlsOrIfInsecure) {
  ServerOptions options = OptionsOf(1, 2);
  options.listen = "0.0.0.0:5000";
  options.advertise = "host:5000";
  options.coordinator = "other:5000";
  options.insecure = true;
  EXPECT_OK(CheckOptions(options));
  options.insecure = false;
  options.tls = {"ca", "cert", "key"};
  EXPECT_OK(CheckOptions(options));
}

TEST(ServerOptionsTest, AdvertisesTheListeningAddressByDefault) {
  ServerOptions options;
  EXPECT_EQ(AdvertisedAddress(options), "127.0.0.1:0");
  options.advertise = "host:0";
  EXPECT_EQ(AdvertisedAddress(options), "host:0");
}

TEST(ServerOptionsTest, ThePageIsOfShardZeroAndOfThisMachine) {
  ServerOptions options = OptionsOf(0, 2);
  options.http = "127.0.0.1:0";
  EXPECT_OK(CheckOptions(options));
  options.http = "0.0.0.0:8080";
  EXPECT_THAT(CheckOptions(options),
              StatusIs(absl::StatusCode::kInvalidArgument, HasSubstr("http_token_file")));
  options.http_token_file = "tokens";
  EXPECT_OK(CheckOptions(options));
  ServerOptions other = OptionsOf(1, 2);
  other.http = "127.0.0.1:0";
  EXPECT_THAT(CheckOptions(other), StatusIs(absl::StatusCode::kInvalidArgument,
                                            HasSubstr("http: expected it with shard 0")));
}

}  // namespace
}  // namespace percentdelta
