"""A match: several networks or sides compute the same batch in the same mode, in turn."""

import contextlib
import dataclasses
import os
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks import machine, side_process
from benchmarks.roofline import bytes_per_image
from benchmarks.side_process import OutOfMemory, SideError, SideProcess, progress
from benchmarks.sides import NAMES

AIM_SECONDS = 1.0  # length of a turn, if MOST_CALLS allow it
MOST_CALLS = 100
TRIALS = 3


@dataclasses.dataclass(frozen=True)
class Entry:
  """One network of one side.

  Attributes:
    label: in tables; unique in its match.
    side: 'ours', 'timm' or 'compiled'.
    model: the network's name.
  """

  label: str
  side: str
  model: str


def play(
  entries: Sequence[Entry], setting: dict[str, Any], rounds: int, memory: bool = False,
  profile: bool = False,
) -> dict[str, Any]:
  """Measures the entries in turn (A B C A B C), each in a process of its own.

  Args:
    entries: at least one.
    setting: mode, batch_size, image_size, dtype and threads.
    rounds: turns of each.
    memory: also measure each entry's memory after the rounds.
    profile: also measure our time by class of operation after the rounds.

  Returns:
    {'setting', 'entries': {label: figures}, 'versions', 'notes', 'stolen'}. Figures are
    images_per_second of every round, device, start_seconds, cpu_ms_per_image (all threads, also
    spinning ones), idle_cpu_seconds (CPU time used during the others' turns, all rounds), `wait`
    (PyTorch on a CPU: how its threads wait), and `memory`, `roofline` and `profile` if they apply.
    An entry that could not be measured is missing, and a note says why. `stolen` is the share of
    the CPU time that the hypervisor gave to other machines.
  """
  result = {'setting': {**setting, 'rounds': rounds}, 'entries': {}, 'versions': {}, 'notes': []}
  too_large = []
  with contextlib.ExitStack() as stack:
    processes: dict[Entry, SideProcess] = {}
    for entry in entries:
      own = {**setting, 'model': entry.model}
      try:
        process, wait = _start(stack, entry, own)
      except OutOfMemory as error:
        too_large.append((entry, error))
      except SideError as error:
        result['notes'].append(f'{_who(entry, setting)}: not measured, {error}')
      else:
        processes[entry] = process
        result['versions'].update(process.ready.pop('versions'))
        result['entries'][entry.label] = {
          'side': entry.side, 'model': entry.model, **process.ready, **wait,
          'images_per_second': [],
        }
    _rounds(processes, setting, rounds, result, too_large)
    for entry, process in processes.items():
      figures = result['entries'].get(entry.label)
      if figures is None:
        continue
      if entry.side == 'ours':
        figures['roofline'] = _roofline(entry, setting, figures)
      asked = ['memory'] if memory else []
      asked += ['profile'] if profile and entry.side == 'ours' else []
      for what in asked:
        try:
          figures[what] = process.ask(what)
        except SideError as error:
          result['notes'].append(f'{_who(entry, setting)}: no {what}, {error}')
          break
  for entry, error in too_large:
    result['notes'].append(_too_large(entry, setting, error))
  progress('')
  return result


def _start(
  stack: contextlib.ExitStack, entry: Entry, setting: dict[str, Any]
) -> tuple[SideProcess, dict[str, str]]:
  """Starts an entry's process; returns it and, for PyTorch on a CPU, how its threads wait.

  OpenMP threads that spin are faster on an idle machine and slower on a busy one. PyTorch gets the
  faster of both, unless the user's environment decides.

  Raises:
    OutOfMemory, SideError: it did not become ready.
  """
  first = stack.enter_context(side_process.start(entry.side, entry.label, setting))
  if (
    entry.side == 'ours' or first.ready['device'] != 'CPU'
    or any(os.environ.get(name) for name in ('OMP_WAIT_POLICY', 'GOMP_SPINCOUNT'))
  ):
    return first, {}
  with contextlib.ExitStack() as trial:
    try:
      second = trial.enter_context(
        side_process.start(entry.side, entry.label, setting, {'OMP_WAIT_POLICY': 'passive'})
      )
      seconds = [
        [process.ask('turn', calls=1)['seconds'] for process in (first, second)]
        for _ in range(TRIALS)
      ]
    except SideError:  # for instance, not enough memory for two of them
      return first, {'wait': 'default'}
    spinning, sleeping = (min(column) for column in zip(*seconds))
    if sleeping < spinning:
      stack.push(trial.pop_all())
      first.end()
      return second, {'wait': 'passive'}
  return first, {'wait': 'default'}


def _rounds(processes, setting, rounds, result, too_large) -> None:
  """Fills in the speeds and CPU times; removes an entry that fails."""

  def turn(entry: Entry, calls: int) -> float | None:
    if entry.label not in result['entries']:
      return None
    try:
      return processes[entry].ask('turn', calls=calls)['seconds'] / calls
    except OutOfMemory as error:
      too_large.append((entry, error))
    except SideError as error:
      result['notes'].append(f'{_who(entry, setting)}: not measured, {error}')
    del result['entries'][entry.label]
    return None

  # The first turn is not counted. It shows how many calls fill a turn.
  calls = {}
  for entry in processes:
    seconds = turn(entry, 1)
    calls[entry] = max(1, min(MOST_CALLS, round(AIM_SECONDS / seconds))) if seconds else 1
  idle, used, images = (dict.fromkeys(processes, 0.0) for _ in range(3))
  begun = machine.stolen()
  for i in range(rounds):
    progress(f'{setting["mode"]}, batch {setting["batch_size"]}: round {i + 1} of {rounds}')
    for entry in processes:
      before = {other: process.cpu_seconds() for other, process in processes.items()}
      if seconds := turn(entry, calls[entry]):
        speeds = result['entries'][entry.label]['images_per_second']
        speeds.append(setting['batch_size'] / seconds)
        images[entry] += (calls[entry] + 1) * setting['batch_size']  # with the call to warm up
      for other, process in processes.items():
        after = process.cpu_seconds()
        if after is not None and before[other] is not None:
          (used if other == entry else idle)[other] += after - before[other]
  for entry in processes:
    if entry.label in result['entries']:
      figures = result['entries'][entry.label]
      figures['idle_cpu_seconds'] = round(idle[entry], 2)
      figures['cpu_ms_per_image'] = round(1e3 * used[entry] / max(images[entry], 1), 2)
  if begun and (ended := machine.stolen()) and ended[1] > begun[1]:
    result['stolen'] = (ended[0] - begun[0]) / (ended[1] - begun[1])


def _roofline(entry: Entry, setting: dict[str, Any], figures: dict[str, Any]) -> dict[str, float]:
  moved = bytes_per_image(
    entry.model, setting['image_size'], setting['dtype'], setting['mode']
  )
  speed = statistics.median(figures['images_per_second'])
  return {'bytes_per_image': moved, 'bytes_per_second': moved * speed}


def _who(entry: Entry, setting: dict[str, Any]) -> str:
  return f'{entry.model} of {NAMES[entry.side]}, {setting["mode"]}, batch {setting["batch_size"]}'


def _too_large(entry: Entry, setting: dict[str, Any], error: Exception) -> str:
  """The note of an entry whose batch does not fit, with the largest power of two that does."""
  fits = largest_batch(entry, setting)
  hint = f'the largest power of two that fits is {fits}' if fits else 'not even one image fits'
  return f'{_who(entry, setting)}: too little memory; {hint} ({error})'


def largest_batch(entry: Entry, setting: dict[str, Any]) -> int:
  """The largest power of two below the batch size that computes, found by halving; 0 = none."""
  fits, fails = -1, (setting['batch_size'] - 1).bit_length()  # exponents of 2
  while fails - fits > 1:
    middle = (fits + fails) // 2
    progress(f'{entry.label}: trying batch {2**middle}')
    own = {**setting, 'model': entry.model, 'batch_size': 2**middle}
    try:
      with side_process.start(entry.side, entry.label, own):
        fits = middle
    except SideError:
      fails = middle
  return 2**fits if fits >= 0 else 0
