#!/usr/bin/env bash
# What scripts/tpu.sh does on each host of a TPU VM, in the checkout there.
#
#   scripts/tpu_host.sh COMMAND [ARGUMENTS OF train.py]
#
# commands   setup    Python 3.12, this project and JAX for TPUs in .venv
#            train    starts the training in the background, in a loop that starts it again
#            status   the end of its log
#            stop     asks it to save and end
set -euo pipefail
cd "$(dirname "$0")/.."

setup() {
  # The images have Python 3.10 and no venv. uv brings a Python of its own.
  export PATH="$HOME/.local/bin:$PATH"
  if ! command -v uv > /dev/null; then
    curl -LsSf https://astral.sh/uv/install.sh | sh || python3 -m pip install --user uv
  fi
  [[ -x .venv/bin/python ]] || uv venv --python 3.12 .venv
  uv pip install --quiet --python .venv/bin/python -r requirements.txt 'jax[tpu]'
  .venv/bin/python -m ecanet_jax doctor
}

train() {
  if [[ -f train.pid ]] && kill -0 "$(< train.pid)" 2> /dev/null; then
    echo 'a training is running here'
    exit 2
  fi
  # The loop goes on when the connection ends.
  nohup scripts/again.sh .venv/bin/python train.py "$@" >> train.log 2>&1 < /dev/null &
  echo $! > train.pid
}

status() {
  tail -n 5 train.log
}

stop() {
  kill -TERM "$(< train.pid)"
}

case ${1:-} in
  setup | train | status | stop) "$@" ;;
  *) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0" >&2; exit 2 ;;
esac
