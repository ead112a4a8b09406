#!/usr/bin/env bash
# A training on a Cloud TPU, from creation to deletion.
#
#   scripts/tpu.sh COMMAND [--dry_run] [--OPTION=VALUE ...] [-- ARGUMENTS OF train.py]
#
# commands   create   makes the TPU VM
#            setup    copies this checkout to every host and installs it
#            train    starts the training on every host, in a loop that starts it again
#            status   the machine's state and the end of every host's log
#            keep     waits; makes, sets up and trains anew when a spot machine was taken away
#            stop     asks the training to save and end
#            delete   deletes the TPU VM
# options    --name=ecanet --zone=us-central2-b --type=v4-8 --version=tpu-ubuntu2204-base
#            --project= (gcloud's own) --spot --poll=60 (seconds, of keep)
#
# --dry_run prints the gcloud lines and runs none of them. Every host must reach the data, such as
# gs://BUCKET/data, and the one workdir: a directory of Filestore, or of a bucket that is mounted.
set -euo pipefail

name=ecanet zone=us-central2-b type=v4-8 version=tpu-ubuntu2204-base project='' poll=60
spot=() dry_run='' arguments=()

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
    printf '%q ' "$@"
    echo
  else
    "$@"
  fi
}

gcloud_tpu() {
  local verb=$1
  shift
  run gcloud compute tpus tpu-vm "$verb" "$name" "--zone=$zone" ${project:+"--project=$project"} "$@"
}

on_every_host() {
  gcloud_tpu ssh --worker=all "--command=$1"
}

create() {
  gcloud_tpu create "--accelerator-type=$type" "--version=$version" "${spot[@]}"
}

setup() {
  local archive
  archive=$(mktemp -u --suffix=.tar.gz)
  run git archive --format=tar.gz "--output=$archive" HEAD &&
    run gcloud compute tpus tpu-vm scp "$archive" "$name:ecanet.tar.gz" "--zone=$zone" \
      ${project:+"--project=$project"} --worker=all &&
    run rm "$archive" &&
    on_every_host 'mkdir -p ecanet && tar -xzf ecanet.tar.gz -C ecanet && cd ecanet && python3 -m venv .venv && .venv/bin/pip install -q -r requirements.txt "jax[tpu]" && .venv/bin/python -m ecanet_jax doctor'
}

train() {
  ((${#arguments[@]})) || fail 'give the arguments of train.py behind --'
  local quoted
  quoted=$(printf ' %q' "${arguments[@]}")
  # The loop goes on when the connection ends; its log and its process number stay on the host.
  # shellcheck disable=SC2016  # what is in '...' is for the host
  on_every_host 'cd ecanet || exit; if kill -0 "$(cat train.pid)" 2>/dev/null; then echo "a training is running here"; exit 2; fi; nohup bash -c '\''echo $$ > train.pid; exec "$0" "$@"'\'' scripts/again.sh .venv/bin/python train.py'"$quoted"' >> train.log 2>&1 < /dev/null &'
}

status() {
  gcloud_tpu describe '--format=value(state,health)'
  on_every_host 'tail -n 5 ecanet/train.log'
}

stop() {
  # shellcheck disable=SC2016  # what is in '...' is for the host
  on_every_host 'kill -TERM "$(cat ecanet/train.pid)"'
}

delete() {
  gcloud_tpu delete --quiet
}

# READY, PREEMPTED, ...; MISSING when there is none.
state() {
  gcloud compute tpus tpu-vm describe "$name" "--zone=$zone" ${project:+"--project=$project"} \
    '--format=value(state)' 2>/dev/null || echo MISSING
}

keep() {
  local found
  while :; do
    if [[ -n $dry_run ]]; then
      gcloud_tpu describe '--format=value(state)'
      found=PREEMPTED
    else
      found=$(state)
    fi
    case $found in
      PREEMPTED | TERMINATED | MISSING)
        [[ $found == MISSING ]] || delete || true
        if create && setup; then train; fi
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
    --name=?* | --zone=?* | --type=?* | --version=?* | --project=?* | --poll=?*)
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
