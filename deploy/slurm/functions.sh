# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What deploy/slurm/launch and its batch jobs share: the settings, and the files of a run's directory.
#
#   settings       what the run was started with
#   job.textproto  the job, with checkpoints
#   job-id         the number of the Slurm job
#   coordinator    host:port of shard 0 while it serves
#   state          queued, starting, training, requeued, interrupted (by a preemption, scancel or
#                  scontrol requeue), stopped, finished or failed
#   tls/           certificates and keys
#   logs/          a file for each process, and one for each batch job
#   checkpoints/   unless the job names another directory
#   result/        the weights and the report of a finished training

setting_names=(PD_JOB PD_SHARDS PD_WORKERS PD_WORKER_THREADS PD_DATA PD_DATASET PD_FILES
  PD_CHECKPOINTS PD_TLS PD_TLS_NAMES PD_SERVER_FLAGS PD_WORKER_FLAGS PD_BIN)

say() {
  printf '%s %s\n' "$(date '+%F %T')" "$*"
}

fail() {
  printf '%s: %s\n' "${program:-percentdelta}" "$*" >&2
  exit 1
}

# Sets what the environment does not: from the run's settings, then from the defaults.
load_settings() {
  local name value
  if [[ -f $PD_RUN/settings ]]; then
    while IFS='=' read -r name value; do
      if [[ " ${setting_names[*]} " == *" $name "* && ! -v $name ]]; then declare -g "$name=$value"; fi
    done <"$PD_RUN/settings"
  fi
  : "${PD_JOB:=$PD_HOME/deploy/jobs/mnist.textproto}" "${PD_SHARDS:=2}" "${PD_WORKERS=2}"
  : "${PD_WORKER_THREADS:=0}" "${PD_DATA:=$PD_HOME/data}" "${PD_DATASET:=mnist}" "${PD_FILES:=$PD_RUN}"
  : "${PD_CHECKPOINTS:=$PD_RUN/checkpoints}" "${PD_TLS:=$PD_RUN/tls}"
  : "${PD_TLS_NAMES=}" "${PD_SERVER_FLAGS=}" "${PD_WORKER_FLAGS=}" "${PD_BIN=}"
  [[ $PD_SHARDS =~ ^[1-9][0-9]{0,3}$ ]] || fail "PD_SHARDS: expected a number from 1, got '$PD_SHARDS'"
  [[ $PD_WORKERS =~ ^(0|[1-9][0-9]{0,3})$ ]] || fail "PD_WORKERS: expected a number, got '$PD_WORKERS'"
}

save_settings() {
  local name
  for name in "${setting_names[@]}"; do printf '%s=%s\n' "$name" "${!name}"; done | publish settings
}

# Keys are in this directory: only its owner may enter it.
require_private_run() {
  local mode
  mode=$(stat -c '%a %u' "$PD_RUN" 2>/dev/null) || fail "PD_RUN: there is no directory $PD_RUN"
  [[ $mode == "700 $EUID" ]] || fail "PD_RUN: expected a directory of this user with mode 700, because it" \
    "has keys; $PD_RUN has mode and owner $mode"
}

# Writes standard input to a file of the run's directory, which readers see whole or not at all.
publish() {
  cat >"$PD_RUN/.$1.new"
  mv -f "$PD_RUN/.$1.new" "$PD_RUN/$1"
}

# Prints the first line of a file of the run's directory, or nothing.
published() {
  head -n 1 "$PD_RUN/$1" 2>/dev/null || true
}

# Whether Slurm says that it has no job of the training, neither running nor waiting.
job_is_gone() {
  local answer
  answer=$(squeue --noheader --jobs="$(published job-id)" 2>&1) || [[ $answer == *'Invalid job id'* ]] || return 1
  [[ ! $answer || $answer == *'Invalid job id'* ]]
}

# Prints the path of a program: in PD_BIN, in the build, or on the PATH.
program_path() {
  local place
  for place in ${PD_BIN:+"$PD_BIN/$1"} "$PD_HOME"/build/release/{server,worker,client,client/pdctl}/"$1"; do
    if [[ -f $place && -x $place ]]; then
      echo "$place"
      return
    fi
  done
  command -v "$1" || fail "there is no program $1 in PD_BIN ('$PD_BIN'), $PD_HOME/build/release or the PATH;" \
    "deploy/build release makes it, on a file system that all nodes see"
}

# tls_flags NAME: sets the array `tls` to the flags of the certificate NAME.
tls_flags() {
  tls=("--tls_ca=$PD_TLS/ca.pem" "--tls_cert=$PD_TLS/$1.pem" "--tls_key=$PD_TLS/$1.key")
}

# Runs pdctl as operator.
control() {
  local coordinator tls path
  coordinator=$(published coordinator)
  [[ $coordinator ]] || { echo "shard 0 does not serve (state: $(published state))" >&2; return 1; }
  path=$(program_path pdctl)
  tls_flags operator
  "$path" "--server=$coordinator" "${tls[@]}" "$@"
}
