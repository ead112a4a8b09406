"""Every run of a sweep killed once: python -m tests.check_sweep OUT SWEEP_ARGUMENTS

Runs `python -m ecanet_jax sweep SWEEP_ARGUMENTS` in OUT/whole, and again in OUT/killed, where every
run gets SIGKILL at a random step, every second one together with the sweep itself. Then compares
what is not a time, to the bit. May itself be stopped and started again.
"""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

from ecanet_jax.training.logging.writers import read_metrics

TIMES = (
  'seconds', 'train/seconds', 'train/images_per_second', 'train/images_per_second_per_chip',
  'train/mfu', 'train/data_wait',
)


def main(out: pathlib.Path, arguments: list[str]) -> int:
  """Runs both sweeps and returns 0 when their results are the same."""
  out.mkdir(parents=True, exist_ok=True)
  _until_done(out / 'whole', arguments, lambda *_: None)
  record = json.loads((out / 'whole' / 'results.json').read_text())
  kills = _Kills(out / 'kills.json', out / 'whole', len(record['runs']))
  _until_done(out / 'killed', arguments, kills.look)
  for line in kills.done.values():
    print(line)
  problems = differences(out / 'whole', out / 'killed')
  if len(kills.done) != len(record['runs']):
    problems.append(f'{len(kills.done)} of {len(record["runs"])} runs were killed')
  for problem in problems:
    print(f'DIFFERENT: {problem}')
  if not problems:
    print(f'{len(kills.done)} of {len(record["runs"])} runs were killed; all results are the same')
  return int(bool(problems))


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
  """What is not the same in two sweeps' results and metrics, times aside."""
  found = []
  reports = [json.loads((path / 'results.json').read_text()) for path in (one, other)]
  for part in ('variants', 'runs', 'failed'):
    if _timeless(reports[0][part]) != _timeless(reports[1][part]):
      found.append(f'{part} of results.json')
  tables = [
    [line.rsplit('|', 2)[0] for line in (path / 'table.md').read_text().splitlines() if '|' in line]
    for path in (one, other)
  ]
  if tables[0] != tables[1]:
    found.append('table.md')
  names = [sorted(str(p.relative_to(path)) for p in path.glob('*/*/metrics.jsonl'))
           for path in (one, other)]
  if names[0] != names[1]:
    found.append(f'the runs: {names}')
  for name in names[0]:
    lines = [_timeless(read_metrics((path / name).parent)) for path in (one, other)]
    if lines[0] != lines[1]:
      found.append(name)
  return found


def _timeless(value):
  if isinstance(value, dict):
    return {key: _timeless(item) for key, item in value.items() if key not in TIMES}
  return [_timeless(item) for item in value] if isinstance(value, list) else value


class _Kills:
  """Kills each run once, and keeps a list on disk."""

  def __init__(self, path: pathlib.Path, whole: pathlib.Path, runs: int):
    self._path, self._whole, self._targets = path, whole, {}
    self.done = json.loads(path.read_text()) if path.exists() else {}
    self._random = random.Random()

  def look(self, sweep: subprocess.Popen, log: pathlib.Path) -> None:
    """Kills the run that the log names last, if its time has come."""
    started = re.findall(r'process (\d+): (.*)/log\.txt$', log.read_text(), re.MULTILINE)
    if not started:
      return
    pid, folder = int(started[-1][0]), pathlib.Path(started[-1][1])
    name = '/'.join(folder.parts[-2:])
    if name in self.done:
      return
    steps = [line['step'] for line in read_metrics(folder)]
    last = read_metrics(self._whole / name)[-1]['step']
    target = self._targets.setdefault(name, self._random.randint(1, int(0.8 * last)))
    if max(steps, default=0) < target:
      return
    time.sleep(self._random.uniform(0, 0.5))
    command = pathlib.Path(f'/proc/{pid}/cmdline')
    if not command.exists() or str(folder) not in command.read_text():
      return
    both = len(self.done) % 2 == 1
    reached = read_metrics(folder)[-1]['step']
    if both:
      sweep.send_signal(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)
    self.done[name] = (
      f'{name}: killed after step {reached} of {last}{", the sweep, too" if both else ""}'
    )
    self._path.write_text(json.dumps(self.done, indent=2))


def _until_done(workdir: pathlib.Path, arguments: list[str], look) -> None:
  """Starts the sweep until it says that everything is finished."""
  for _ in range(100):
    log = workdir.with_suffix('.now')
    with log.open('w') as errors:
      sweep = subprocess.Popen(
        [sys.executable, '-m', 'ecanet_jax', 'sweep', *arguments, f'--workdir={workdir}'],
        stdout=subprocess.DEVNULL, stderr=errors,
      )
      try:
        while sweep.poll() is None:
          look(sweep, log)
          time.sleep(0.1)
      finally:
        sweep.kill()
        sweep.wait()
        with workdir.with_suffix('.log').open('a') as everything:
          everything.write(log.read_text())
    if sweep.returncode == 0:
      return
    if sweep.returncode not in (1, -signal.SIGKILL):
      sys.exit(log.read_text())
  sys.exit(f'{workdir} was started 100 times')


if __name__ == '__main__':
  sys.exit(main(pathlib.Path(sys.argv[1]), sys.argv[2:]))
