"""Images per second of our networks beside timm's, measured in turn in one run.

Machines are shared and noisy, so a figure by itself says little: two processes, ours and timm's,
compile first and then compute in turn, and each round's ratio is of two neighbours in time.
"""

import argparse
import contextlib
import importlib.util
import json
import os
import pathlib
import platform
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from typing import Any

from ecanet_jax.errors import UserError, lookup
from ecanet_jax.models import network
from ecanet_jax.version import __version__

DTYPES = ('float32', 'bfloat16')
MODES = ('inference', 'train')
INSTALL = 'pip install "ecanet-jax[torch]"'

START_SECONDS = 1800  # to import, build and compile; a worker that takes longer is ended
TURN_SECONDS = 600  # to answer one turn
AIM_SECONDS = 1.0  # a turn makes about as many calls as fit


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds this command's flags."""
  parser.add_argument('--model', default='efficientnet_b0', help='network, or a comma list')
  parser.add_argument('--batch_size', type=int, default=16)
  parser.add_argument('--image_size', type=int, default=224, help='pixels, height = width')
  parser.add_argument('--dtype', default='float32', help=' or '.join(DTYPES))
  parser.add_argument('--mode', default=','.join(MODES), help='comma list')
  parser.add_argument('--rounds', type=int, default=7, help='turns of each side')
  parser.add_argument('--threads', type=int, default=0, help='CPU threads of each side; 0 = all')
  parser.add_argument('--json', default='', help='file to write the figures to')
  parser.add_argument('--no_timm', action='store_true', help='measure ours only')


def run(args: argparse.Namespace) -> int:
  """Measures, prints a table for each network, and returns the exit status.

  Raises:
    UserError: an unknown name, or a number out of range.
  """
  names, modes = args.model.split(','), args.mode.split(',')
  records = [network(name) for name in names]
  for mode in modes:
    lookup(dict.fromkeys(MODES), mode, 'mode')
  lookup(dict.fromkeys(DTYPES), args.dtype, 'dtype')
  for flag in ('batch_size', 'image_size', 'rounds'):
    if getattr(args, flag) < 1:
      raise UserError(f'--{flag}={getattr(args, flag)} must be at least 1.')
  _check_threads(args.threads)
  target = pathlib.Path(args.json) if args.json else None
  if target and not target.parent.is_dir():
    raise UserError(f'--json={args.json}: the folder {target.parent} does not exist.')

  results = []
  for record in records:
    setting = {
      'model': record.name, 'batch_size': args.batch_size, 'image_size': args.image_size,
      'dtype': args.dtype, 'modes': modes, 'threads': args.threads,
    }
    sides, note = ['ours'], ''
    if args.no_timm:
      pass
    elif not record.timm:
      note = f'timm has no {record.name}: ours only.'
    elif missing := [p for p in ('torch', 'timm') if importlib.util.find_spec(p) is None]:
      note = f'{" and ".join(missing)} not installed: ours only. To compare: {INSTALL}'
    else:
      sides.append('timm')
    result = measure(setting, sides, args.rounds)
    print(table(result), *([note] if note else []), sep='\n', flush=True)
    results.append(result)
  if target:
    target.write_text(json.dumps(results, indent=2) + '\n')
  return 0


def _check_threads(threads: int) -> None:
  if not threads:
    return
  if not hasattr(os, 'sched_setaffinity'):
    raise UserError(f'--threads={threads}: this system cannot bind a process to CPUs; use 0.')
  if not 0 < threads <= (available := len(os.sched_getaffinity(0))):
    raise UserError(f'--threads={threads} must be 0 (all) to {available}, the CPUs there are.')


def measure(setting: dict[str, Any], sides: list[str], rounds: int) -> dict[str, Any]:
  """Runs the sides in turn, `rounds` times in each mode.

  Returns:
    The setting, device and versions of each side, and for each mode and side the images per second
    of every round.

  Raises:
    UserError: a side failed or did not answer in time; the text has the end of its output.
  """
  with contextlib.ExitStack() as stack:
    workers = {side: stack.enter_context(_worker(side, setting)) for side in sides}
    ready = {side: worker.wait_until_ready() for side, worker in workers.items()}
    result = {
      'setting': {**setting, 'rounds': rounds},
      'host': {'cpu': _cpu(), 'cpus': os.cpu_count(), 'system': platform.platform()},
      'device': {side: message['device'] for side, message in ready.items()},
      'versions': {'python': platform.python_version(), 'ecanet_jax': __version__},
      'images_per_second': {},
    }
    for message in ready.values():
      result['versions'].update(message['versions'])
    for mode in setting['modes']:
      # The first turn is not counted: it says how many calls make a turn.
      calls = {}
      for side, worker in workers.items():
        calls[side] = max(1, min(100, round(AIM_SECONDS / (worker.turn(mode, 2) / 2))))
      speeds = {side: [] for side in sides}
      for i in range(rounds):
        _progress(f'{setting["model"]} {mode}: round {i + 1} of {rounds}')
        for side, worker in workers.items():
          seconds = worker.turn(mode, calls[side]) / calls[side]
          speeds[side].append(setting['batch_size'] / seconds)
      result['images_per_second'][mode] = speeds
    _progress('')
  return result


def table(result: dict[str, Any]) -> str:
  """The figures as text: median (lowest-highest) of the rounds, ratios of neighbouring turns."""
  setting, versions = result['setting'], result['versions']
  sides = list(result['device'])
  heads = {'ours': 'ecanet_jax images/s', 'timm': 'timm images/s'}
  rows = [['mode', *(heads[side] for side in sides), *(['ours / timm'] if len(sides) > 1 else [])]]
  for mode, speeds in result['images_per_second'].items():
    row = [mode, *(_spread(speeds[side], 1) for side in sides)]
    if len(sides) > 1:
      row.append(_spread([a / b for a, b in zip(speeds['ours'], speeds['timm'])], 2))
    rows.append(row)
  widths = [max(map(len, column)) for column in zip(*rows)]
  size, threads = setting['image_size'], setting['threads'] or 'all'
  return '\n'.join([
    f'{setting["model"]}, batch {setting["batch_size"]}, {size} x {size}, {setting["dtype"]}, '
    f'{setting["rounds"]} rounds',
    *('  '.join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows),
    ', '.join(f'{side} on {device}' for side, device in result['device'].items())
    + f'; {result["host"]["cpu"]}, {threads} of {result["host"]["cpus"]} CPUs; '
    + ', '.join(f'{package} {version}' for package, version in versions.items()),
  ])


def _spread(values: list[float], digits: int) -> str:
  low, middle, high = min(values), statistics.median(values), max(values)
  return f'{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})'


def _cpu() -> str:
  with contextlib.suppress(OSError):
    for line in pathlib.Path('/proc/cpuinfo').read_text().splitlines():
      if line.startswith('model name'):
        return line.split(':', 1)[1].strip()
  return platform.processor() or platform.machine()


def _progress(text: str) -> None:
  """Shows where we are on the terminal's last line; nothing when there is no terminal."""
  if sys.stderr.isatty():
    print(f'\r\033[K{text}', end='', file=sys.stderr, flush=True)


class _Worker:
  """The parent's end of one worker."""

  def __init__(self, side: str, process: subprocess.Popen, log: pathlib.Path):
    self._side, self._process, self._log = side, process, log
    self._answers = queue.Queue()
    self._reader = threading.Thread(target=self._read, daemon=True)
    self._reader.start()

  def _read(self):
    for line in self._process.stdout:
      self._answers.put(json.loads(line))
    self._answers.put(None)

  def _answer(self, seconds: float, doing: str) -> dict[str, Any]:
    started = time.monotonic()
    while (waited := time.monotonic() - started) < seconds:
      try:
        message = self._answers.get(timeout=1)
      except queue.Empty:
        if seconds == START_SECONDS:
          _progress(f'{self._side}: {doing}, {waited:.0f} s')
        continue
      if message is None:
        tail = self._log.read_text(errors='replace').strip().splitlines()[-15:]
        raise UserError('\n'.join([f'the {self._side} side ended while {doing}:', *tail]))
      return message
    raise UserError(f'the {self._side} side did not answer in {seconds} s while {doing}.')

  def wait_until_ready(self) -> dict[str, Any]:
    """Returns device and versions once every mode is compiled."""
    doing = 'starting'
    while 'compiling' in (message := self._answer(START_SECONDS, doing)):
      doing = f'compiling {message["compiling"]}'
      _progress(f'{self._side}: {doing}')
    return message

  def turn(self, mode: str, calls: int) -> float:
    """Makes so many calls and returns the seconds they took."""
    with contextlib.suppress(BrokenPipeError):  # it has ended; the answer tells why
      print(json.dumps({'mode': mode, 'calls': calls}), file=self._process.stdin, flush=True)
    return self._answer(TURN_SECONDS, f'computing {mode}')['seconds']

  def end(self) -> None:
    """Asks the process to end, ends it if it does not, and closes its pipes."""
    with contextlib.suppress(OSError):
      self._process.stdin.close()
    try:
      self._process.wait(5)
    except subprocess.TimeoutExpired:
      self._process.kill()
      self._process.wait()
    self._reader.join()
    self._process.stdout.close()


@contextlib.contextmanager
def _worker(side: str, setting: dict[str, Any]) -> Iterator[_Worker]:
  """Starts a worker, and ends it on the way out whatever happened."""
  package = str(pathlib.Path(__file__).parents[2])
  environment = {
    **os.environ,
    'PYTHONPATH': os.pathsep.join(filter(None, [package, os.environ.get('PYTHONPATH', '')])),
    # Two processes share an accelerator: neither may take most of its memory at once.
    'XLA_PYTHON_CLIENT_PREALLOCATE': 'false',
  }
  with tempfile.TemporaryDirectory(prefix='ecanet_jax_bench_') as folder:
    log = pathlib.Path(folder) / 'log'
    with log.open('w') as errors:
      process = subprocess.Popen(
        [sys.executable, '-m', 'ecanet_jax.cli.bench_worker', side, json.dumps(setting)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment,
      )
    worker = _Worker(side, process, log)
    try:
      yield worker
    finally:
      worker.end()
