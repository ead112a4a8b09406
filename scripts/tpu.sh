#!/usr/bin/env bash
# A training on a Cloud TPU, from creation to deletion.
#
#   scripts/tpu.sh COMMAND [--dry_run] [--OPTION=VALUE ...] [-- ARGUMENTS OF train.py]
#
# commands   create   makes the TPU VM; with --queued it waits in the queue until there is one
#            setup    copies this checkout to every host and installs it
#            train    starts the training on every host, in a loop that starts it again
#            status   the machine's state and the end of every host's log
#            keep     waits; makes, sets up and trains anew when a spot machine was taken away
#            stop     asks the training to save and end
#            delete   deletes the TPU VM
# options    --name=ecanet --zone=us-central2-b --type=v4-8 --project= (gcloud's own)
#            --version= (of the TPU VM's image; default: the one for the type)
#            --spot     a machine that is cheaper and can be taken away
#            --queued   a queued resource; give it to status, keep and delete, too
#            --port=    of the first host, for the others (JAX's default: 8482)
#            --poll=60  seconds between looks at the state
#
# --dry_run prints the gcloud lines and runs none of them. Every host must reach the data and the
# workdir: both at a gs:// address, or in a directory that all hosts have mounted.
# scripts/tpu_host.sh is what runs on the hosts.
set -euo pipefail

name=ecanet zone=us-central2-b type=v4-8 version='' project='' port='' poll=60
spot=() queued='' dry_run='' arguments=()

usage() {
  sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"
}

fail() {
  echo "error: $*" >&2
  exit 2
}

# Runs a line, or with --dry_run prints it as a shell would read it.
run() {
  if [[ -n $dry_run ]]; then
    local line
    printf -v line ' %q' "$@"
    echo "${line# }"
  else
    "$@"
  fi
}

gcloud_tpu() {
  run gcloud compute tpus "$@" "--zone=$zone" ${project:+"--project=$project"}
}

on_every_host() {
  gcloud_tpu tpu-vm ssh "$name" --worker=all "--command=$1"
}

# The image of a type of TPU: https://cloud.google.com/tpu/docs/runtimes
image() {
  case $type in
    v2-* | v3-* | v4-*) echo tpu-ubuntu2204-base ;;
    v5litepod-*) echo v2-alpha-tpuv5-lite ;;
    v5p-*) echo v2-alpha-tpuv5 ;;
    v6e-*) echo v2-alpha-tpuv6e ;;
    v5e-*) fail "--type=$type is called --type=v5litepod-${type#v5e-}" ;;
    *) fail "no image is known for --type=$type: give --version=, such as tpu-ubuntu2204-base" ;;
  esac
}

create() {
  local runtime
  runtime=${version:-$(image)} || exit
  if [[ -n $queued ]]; then
    gcloud_tpu queued-resources create "$name" "--node-id=$name" "--accelerator-type=$type" \
      "--runtime-version=$runtime" "${spot[@]}" && await_machine
  else
    gcloud_tpu tpu-vm create "$name" "--accelerator-type=$type" "--version=$runtime" "${spot[@]}"
  fi
}

# Waits until a queued resource is a machine.
await_machine() {
  local found
  while :; do
    look ACTIVE
    case $found in
      ACTIVE) return ;;
      FAILED | SUSPENDED | MISSING) echo "the queued resource $name is $found" >&2; return 1 ;;
    esac
    sleep "$poll"
  done
}

setup() {
  local archive
  archive=$(mktemp -u --suffix=.tar.gz)
  run git archive --format=tar.gz "--output=$archive" HEAD &&
    gcloud_tpu tpu-vm scp "$archive" "$name:ecanet.tar.gz" --worker=all &&
    run rm "$archive" &&
    on_every_host \
      'mkdir -p ecanet && tar -xzf ecanet.tar.gz -C ecanet && ecanet/scripts/tpu_host.sh setup'
}

train() {
  ((${#arguments[@]})) || fail 'give the arguments of train.py behind --'
  local quoted
  quoted=$(printf ' %q' "${arguments[@]}")
  on_every_host "${port:+JAX_COORDINATOR_PORT=$port }ecanet/scripts/tpu_host.sh train$quoted"
}

status() {
  describe
  on_every_host 'ecanet/scripts/tpu_host.sh status'
}

stop() {
  on_every_host 'ecanet/scripts/tpu_host.sh stop'
}

delete() {
  if [[ -n $queued ]]; then
    gcloud_tpu queued-resources delete "$name" --force --quiet
  else
    gcloud_tpu tpu-vm delete "$name" --quiet
  fi
}

describe() {
  if [[ -n $queued ]]; then
    gcloud_tpu queued-resources describe "$name" '--format=value(state.state)'
  else
    gcloud_tpu tpu-vm describe "$name" '--format=value(state)'
  fi
}

# Sets `found` to READY, PREEMPTED, ...; queued, to ACTIVE, SUSPENDED, ...; MISSING when there is
# none. A dry run prints the line and finds $1.
look() {
  if [[ -n $dry_run ]]; then
    describe
    found=$1
  else
    found=$(describe 2> /dev/null) || found=MISSING
  fi
}

keep() {
  local found
  while :; do
    look TERMINATED
    case $found in
      PREEMPTED | TERMINATED | SUSPENDED | FAILED)
        delete || true
        if create && setup; then train; fi
        ;;
      MISSING) if create && setup; then train; fi ;;
      ACCEPTED | WAITING_FOR_RESOURCES | PROVISIONING)  # of a keep that ended in the queue
        if await_machine && setup; then train; fi
        ;;
    esac
    [[ -z $dry_run ]] || return 0
    sleep "$poll"
  done
}

command=${1:-}
(($#)) && shift
while (($#)); do
  case $1 in
    --dry_run) dry_run=1 ;;
    --spot) spot=(--spot) ;;
    --queued) queued=1 ;;
    --name=?* | --zone=?* | --type=?* | --version=?* | --project=?* | --port=?* | --poll=?*)
      option=${1%%=*}
      printf -v "${option#--}" '%s' "${1#*=}"
      ;;
    --)
      shift
      arguments=("$@")
      break
      ;;
    *) fail "unknown argument $1; see scripts/tpu.sh --help" ;;
  esac
  shift
done

cd "$(dirname "$0")/.."
case $command in
  create | setup | train | status | keep | stop | delete) "$command" ;;
  -h | --help) usage ;;
  '') usage >&2; exit 2 ;;
  *) fail "unknown command $command; known: create, setup, train, status, keep, stop, delete" ;;
esac
