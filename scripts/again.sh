#!/usr/bin/env bash
# Runs a command again for as long as its exit status says that it can go on.
#
#   scripts/again.sh python train.py --config=configs/eca_b0.py --workdir=runs/eca_b0
#
# Again: 75 saved and told to end, 76 stuck or lost another process, 134 JAX lost another process,
# 137 killed (memory, or the machine), 143 told to end before it could save. Anything else, 0 too, is
# the end. A try that lasted less than 5 minutes makes the next one wait, 10 s and then twice as long
# each time, up to 10 minutes; after 20 of them in a row it gives up. SIGTERM and SIGINT are passed on,
# and then it is not run again. ECANET_AGAIN_SECONDS is the first wait.
set -uo pipefail

(($#)) || { sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2; }

short=300 most=600 tries=20
first=${ECANET_AGAIN_SECONDS:-10}
wait=$first failed=0 child='' ended=''

pass_on() {
  ended=1
  [[ -z $child ]] || kill -"$1" "$child" 2>/dev/null
}
trap 'pass_on TERM' TERM
trap 'pass_on INT' INT

while :; do
  began=$SECONDS
  "$@" &
  child=$!
  # A signal ends the first wait early; the status is that of the last.
  while :; do
    wait "$child"
    status=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=''
  case $status in
    75 | 76 | 134 | 137 | 143) ;;
    *) exit "$status" ;;
  esac
  [[ -z $ended ]] || exit "$status"
  if ((SECONDS - began >= short)); then
    wait=$first failed=0
  else
    failed=$((failed + 1))
    if ((failed >= tries)); then
      echo "again: status $status; $failed short tries in a row, given up" >&2
      exit "$status"
    fi
  fi
  echo "again: status $status; once more in $wait s" >&2
  sleep "$wait" &
  child=$!
  wait "$child"
  child=''
  [[ -z $ended ]] || exit "$status"
  wait=$((wait * 2 < most ? wait * 2 : most))
done
