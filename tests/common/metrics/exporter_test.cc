// SPDX-License-Identifier: Apache-2.0

#include "common/metrics/exporter.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "common/base/address.h"
#include "common/metrics/metric_list.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/status_matchers.h"
#include "tests/temporary_directory.h"

namespace percentdelta {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class Source : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override {
    MetricList list(MetricList::Labels{{"shard", "1"}});
    list.Gauge("loss", "The loss.", .5, {{"set", "a\"b\n"}});
    list.Counter("steps_total", "Steps.", 3);
    DurationHistogram histogram;
    histogram.Add(absl::Milliseconds(2));
    list.Histogram("phase_seconds", "Phases.", histogram.counts(), {{"phase", "1"}});
    list.Histogram("phase_seconds", "Phases.", histogram.counts(), {{"phase", "2"}});
    return list.Take();
  }
};

// A connection to the exporter.
class Connection {
 public:
  explicit Connection(const std::string& address)
      : socket_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in to = {};
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons(static_cast<uint16_t>(ParseHostPort("", address)->port));
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&to), sizeof(to)), 0);
  }
  ~Connection() { close(socket_); }

  void Send(const std::string& text) const {
    EXPECT_EQ(send(socket_, text.data(), text.size(), MSG_NOSIGNAL),
              static_cast<ssize_t>(text.size()));
  }

  std::string ReadAll() const {
    std::string all;
    std::array<char, 4096> part;
    for (ssize_t count = 0; (count = read(socket_, part.data(), part.size())) > 0;) {
      all.append(part.data(), static_cast<size_t>(count));
    }
    return all;
  }

 private:
  const int socket_;
};

std::string Get(const std::string& address, const std::string& path,
                const std::string& headers = "") {
  const Connection connection(address);
  connection.Send(absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: a\r\n", headers, "\r\n"));
  return connection.ReadAll();
}

class ExporterTest : public testing::Test {
 protected:
  static std::unique_ptr<MetricsExporter> Start(MetricsOptions options) {
    options.address = "127.0.0.1:0";
    auto exporter = MetricsExporter::Start(options, {std::make_shared<Source>()});
    EXPECT_TRUE(exporter.ok()) << exporter.status();
    return exporter.ok() ? *std::move(exporter) : nullptr;
  }
};

TEST_F(ExporterTest, ServesMetricsAndNothingElse) {
  const auto exporter = Start({});
  const std::string metrics = Get(exporter->address(), "/metrics");
  EXPECT_THAT(metrics, AllOf(HasSubstr(" 200 "), HasSubstr("# TYPE percentdelta_loss gauge\n"),
                             HasSubstr("percentdelta_loss{shard=\"1\",set=\"a\\\"b\\n\"} 0.5"),
                             HasSubstr("percentdelta_steps_total{shard=\"1\"} 3"),
                             HasSubstr("phase=\"1\",le=\"0.001\"} 0\n"),
                             HasSubstr("phase=\"1\",le=\"0.0025\"} 1\n"),
                             HasSubstr("phase=\"2\",le=\"+Inf\"} 1\n"),
                             HasSubstr("process_resident_memory_bytes ")));
  for (const char* path : {"/", "/etc/passwd", "/../../etc/passwd", "/metrics/../etc/passwd"}) {
    EXPECT_THAT(Get(exporter->address(), path),
                AllOf(Not(HasSubstr(" 200 ")), Not(HasSubstr("root:"))))
        << path;
  }
}

TEST_F(ExporterTest, AsksForThePassword) {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/password";
  std::ofstream(path) << "secret\n";
  const auto exporter = Start({.password_file = path});
  const auto authorization = [](const std::string& pair) {
    return absl::StrCat("Authorization: Basic ", absl::Base64Escape(pair), "\r\n");
  };
  EXPECT_THAT(Get(exporter->address(), "/metrics"), HasSubstr(" 401 "));
  EXPECT_THAT(Get(exporter->address(), "/metrics", authorization("me:secreT")), HasSubstr(" 401 "));
  EXPECT_THAT(Get(exporter->address(), "/metrics", authorization("me:secret")),
              HasSubstr("percentdelta_loss"));
}

// Clients that send nothing are cut off, and do not delay the end.
TEST_F(ExporterTest, SilentClientsAreBounded) {
  auto exporter = Start({});
  std::vector<std::unique_ptr<Connection>> silent;
  silent.reserve(4);
  for (int i = 0; i < 4; ++i) silent.push_back(std::make_unique<Connection>(exporter->address()));
  silent[0]->Send("GET /met");
  const absl::Time begin = absl::Now();
  EXPECT_THAT(Get(exporter->address(), "/metrics"), HasSubstr("percentdelta_loss"));
  exporter.reset();
  EXPECT_LT(absl::Now() - begin, absl::Seconds(30));
}

TEST_F(ExporterTest, ReportsAnAddressThatIsTaken) {
  const auto exporter = Start({});
  const auto second = MetricsExporter::Start({.address = exporter->address()}, {});
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(exporter->address()));
}

TEST(CheckMetricsOptionsTest, Table) {
  const struct {
    MetricsOptions options;
    std::string error;  // empty: none
  } cases[] = {
      {{}, ""},
      {{"127.0.0.1:9464"}, ""},
      {{"[::1]:0"}, ""},
      {{"localhost:1"}, ""},
      {{"0.0.0.0:9464"}, "metrics_insecure"},
      {{"0.0.0.0:9464", "file"}, ""},
      {{"0.0.0.0:9464", "", true}, ""},
      {{"9464"}, "metrics: "},
      {{"", "file"}, "expected an address"},
      {{"", "", true}, "expected an address"},
  };
  for (const auto& [options, error] : cases) {
    const absl::Status status = CheckMetricsOptions(options);
    EXPECT_EQ(status.ok(), error.empty()) << options.address << status;
    EXPECT_THAT(std::string(status.message()), HasSubstr(error));
  }
}

}  // namespace
}  // namespace percentdelta
