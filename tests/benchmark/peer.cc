// SPDX-License-Identifier: Apache-2.0

#include "tests/benchmark/peer.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

extern char** environ;

namespace percentdelta {

Peer::Peer(const std::vector<std::string>& arguments) {
  signal(SIGPIPE, SIG_IGN);  // Run reports a peer that has ended
  int to[2];
  int from[2];
  if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0) std::abort();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, to[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, from[1], STDOUT_FILENO);
  std::vector<char*> argv;
  argv.reserve(arguments.size() + 1);
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  if (posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0) pid_ = -1;
  posix_spawn_file_actions_destroy(&actions);
  close(to[0]);
  close(from[1]);
  to_ = fdopen(to[1], "w");
  from_ = fdopen(from[0], "r");
}

Peer::~Peer() {
  fclose(to_);
  fclose(from_);
  if (pid_ <= 0) return;
  kill(pid_, SIGCONT);
  waitpid(pid_, nullptr, 0);
}

double Peer::Run() {
  double milliseconds = -1;
  if (pid_ <= 0) return milliseconds;
  kill(pid_, SIGCONT);
  if (std::fputs("run\n", to_) < 0 || std::fflush(to_) != 0) return -1;
  const bool answered = std::fscanf(from_, "%lf", &milliseconds) == 1;
  kill(pid_, SIGSTOP);  // OpenMP's threads would spin on the cores of the next measurement
  return answered ? milliseconds : -1;
}

}  // namespace percentdelta
