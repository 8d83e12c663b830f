// SPDX-License-Identifier: Apache-2.0

// Pushes a whole model to one server of ps-lite (https://github.com/dmlc/ps-lite), and pulls it,
// over loopback, in three processes as usual for ps-lite. tests/benchmark/run compiles it against
// the sources of ps-lite.
//
//   pslite_transfer push|pull|both FLOATS
//
// Does one run for every line that it reads, and prints the milliseconds. The tensors are the
// values of one key, and are not copied at the worker; the server stores what is pushed and sends
// it from there. It checks nothing and computes nothing.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <ps/ps.h>
#include <signal.h>
#include <spawn.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <string>
#include <vector>

extern char** environ;

namespace {

int FreePort() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const generic = reinterpret_cast<sockaddr*>(&address);
  socklen_t size = sizeof(address);
  const int probe = socket(AF_INET, SOCK_STREAM, 0);
  if (bind(probe, generic, size) != 0 || getsockname(probe, generic, &size) != 0) std::abort();
  close(probe);
  return ntohs(address.sin_port);
}

// Starts another instance of this program in that role; it ends with this process.
pid_t StartRole(const char* role, char** argv) {
  setenv("DMLC_ROLE", role, 1);
  pid_t pid = -1;
  if (posix_spawn(&pid, "/proc/self/exe", nullptr, nullptr, argv, environ) != 0) std::abort();
  return pid;
}

void Serve() {
  auto* const server = new ps::KVServer<float>(0);
  static ps::SArray<float> stored;
  server->set_request_handle(
      [](const ps::KVMeta& meta, const ps::KVPairs<float>& pairs, ps::KVServer<float>* self) {
        ps::KVPairs<float> answer;
        if (meta.push) {
          if (stored.size() != pairs.vals.size()) stored.resize(pairs.vals.size());
          std::memcpy(stored.data(), pairs.vals.data(), stored.size() * sizeof(float));
        }
        if (meta.pull) {
          answer.keys = pairs.keys;
          answer.vals = stored;
          answer.lens = {static_cast<int>(stored.size())};
        }
        self->Response(meta, answer);
      });
  ps::RegisterExitCallback([server] { delete server; });
}

void Measure(const std::string& mode, size_t floats) {
  ps::KVWorker<float> worker(0, 0);
  const ps::SArray<ps::Key> keys(std::vector<ps::Key>{0});
  const ps::SArray<float> gradient(floats, 1.0F);
  ps::SArray<float> weights(floats, 0.0F);
  ps::SArray<int> lens(std::vector<int>{static_cast<int>(floats)});
  worker.Wait(worker.ZPush(keys, gradient, lens));
  std::string line;
  while (std::getline(std::cin, line)) {
    using Clock = std::chrono::steady_clock;
    const Clock::time_point begin = Clock::now();
    if (mode != "pull") worker.Wait(worker.ZPush(keys, gradient, lens));
    if (mode != "push") worker.Wait(worker.ZPull(keys, &weights, &lens));
    std::cout << std::chrono::duration<double, std::milli>(Clock::now() - begin).count()
              << std::endl;
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  std::vector<pid_t> others;
  if (std::getenv("DMLC_ROLE") == nullptr) {
    setenv("DMLC_PS_ROOT_URI", "127.0.0.1", 1);
    setenv("DMLC_PS_ROOT_PORT", std::to_string(FreePort()).c_str(), 1);
    setenv("DMLC_NODE_HOST", "127.0.0.1", 1);
    setenv("DMLC_NUM_WORKER", "1", 1);
    setenv("DMLC_NUM_SERVER", "1", 1);
    others = {StartRole("scheduler", argv), StartRole("server", argv)};
    setenv("DMLC_ROLE", "worker", 1);
  } else {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    close(STDIN_FILENO);  // the worker's
  }
  ps::Start(0);
  if (ps::IsServer()) Serve();
  if (ps::IsWorker()) Measure(argv[1], std::strtoul(argv[2], nullptr, 10));
  ps::Finalize(0, true);
  for (const pid_t pid : others) waitpid(pid, nullptr, 0);
}
