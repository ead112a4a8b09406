"""`python -m benchmarks latency`: milliseconds of one image, in JAX and in other runtimes.

The networks are those of the slides "A Compact version of EfficientNet". Every runtime has a
process of its own on the CPU, which is suspended while another one computes. In a round, each
runtime computes all networks in turn, so that a ratio compares neighbouring measurements.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import platform
import tempfile
from typing import Any

import jax

from benchmarks import machine, side_process
from benchmarks.latency.networks import PRESET, ROWS, backend
from benchmarks.sides import classification_network
from ecanet_jax.models import network
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.machine import describe
from ecanet_jax.version import __version__

NAME = 'latency'  # of the files


@dataclasses.dataclass(frozen=True)
class Entry:
  """A runtime.

  Attributes:
    label: in tables.
    modules: that it needs.
    extra: of ecanet_jax, or a package, that contains them.
    format: of its files, a name of `export.formats.FORMATS`; '' = it needs none.
  """

  label: str
  modules: tuple[str, ...] = ()
  extra: str = ''
  format: str = ''


TFLITE = ('ai_edge_litert', 'litert_quantizer')
RUNTIMES = {
  'jax': Entry('JAX (ours)'),
  'litert': Entry('LiteRT', TFLITE, 'ecanet_jax[tflite]', 'tflite'),
  'litert_int8': Entry('LiteRT int8', TFLITE, 'ecanet_jax[tflite]', 'tflite_int8'),
  'onnxruntime': Entry('ONNX Runtime', ('onnx', 'onnxruntime'), 'ecanet_jax[onnx]', 'onnx'),
  'openvino': Entry('OpenVINO', ('onnx', 'openvino'), 'openvino onnx', 'onnx'),
  'torch': Entry('PyTorch (timm)', ('torch', 'timm'), 'ecanet_jax[torch]'),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the benchmark's flags to `parser`."""
  parser.add_argument('--networks', default=','.join(ROWS), help='comma list')
  parser.add_argument('--runtimes', default=','.join(RUNTIMES), help='comma list')
  threads = '1,2' if len(machine.cpus()) > 1 else '1'
  parser.add_argument('--threads', default=threads, help='CPU threads, a number or a comma list')
  parser.add_argument('--rounds', type=int, default=11, help='turns of each runtime')
  parser.add_argument('--calls', type=int, default=5, help='measured calls of a network in a turn')
  parser.add_argument('--image_size', type=int, default=224, help='pixels, height = width')
  parser.add_argument(
    '--out', default='', help=f'directory for {NAME}.md, {NAME}.json and {NAME}.png'
  )


def run(args: argparse.Namespace) -> int:
  """Measures, prints the tables, writes the files, and returns the exit status 0.

  Raises:
    UserError: an unknown name, a number out of range, or no runtime could be measured.
  """
  from benchmarks.latency import report as tables
  from benchmarks.latency.networks import write_files

  names, runtimes, counts, notes = check(args)
  jax.config.update('jax_platforms', 'cpu')
  report = {
    'machine': describe(), 'versions': {'python': platform.python_version(),
                                        'ecanet_jax': __version__},
    'setting': {'image_size': args.image_size, 'rounds': args.rounds, 'calls': args.calls},
    'networks': names, 'notes': notes, 'ms': {}, 'stolen': {},
  }
  with tempfile.TemporaryDirectory(prefix='ecanet_jax_latency_') as folder:
    formats = dict.fromkeys(RUNTIMES[name].format for name in runtimes if RUNTIMES[name].format)
    side_process.progress('writing the files')
    write_files(names, list(formats), args.image_size, pathlib.Path(folder))
    for count in counts:
      setting = {'threads': count, 'image_size': args.image_size, 'folder': folder}
      before = machine.stolen()
      report['ms'][str(count)] = _measure(names, runtimes, setting, args, report)
      after = machine.stolen()
      if before and after and after[1] > before[1]:
        report['stolen'][str(count)] = (after[0] - before[0]) / (after[1] - before[1])
  if not any(report['ms'].values()):
    raise UserError(f'nothing was measured. {" ".join(notes)}')
  text = tables.markdown(report)
  print(text)
  if args.out:
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    (out / f'{NAME}.md').write_text(text)
    (out / f'{NAME}.json').write_text(json.dumps(report, indent=2) + '\n')
    tables.draw(report, out / f'{NAME}.png')
  return 0


def check(args: argparse.Namespace) -> tuple[list[str], list[str], list[int], list[str]]:
  """Networks, installed runtimes, thread counts, and notes on what is not measured.

  Raises:
    UserError: an unknown name, or a number out of range.
  """
  names, asked = (
    list(dict.fromkeys(text.split(','))) for text in (args.networks, args.runtimes)
  )
  for name in names:
    family = classification_network(name).family
    if 'preset' not in {field.name for field in dataclasses.fields(family)}:
      raise UserError(f'{name} has no padding of {PRESET!r}; give others, such as b0_compact.')
  for name in asked:
    lookup(RUNTIMES, name, 'runtime')
  try:
    counts = list(dict.fromkeys(int(text) for text in args.threads.split(',')))
  except ValueError:
    raise UserError(f'--threads={args.threads} must be numbers, such as 1,2.') from None
  available = len(machine.cpus())
  if not hasattr(os, 'sched_setaffinity'):
    raise UserError('this system cannot bind a process to CPUs; latency is measured on Linux.')
  if min(counts) < 1 or max(counts) > available:
    raise UserError(f'--threads={args.threads} must be 1 to {available}, the CPUs there are.')
  for flag in ('rounds', 'calls', 'image_size'):
    if getattr(args, flag) < 1:
      raise UserError(f'--{flag}={getattr(args, flag)} must be at least 1.')
  if args.out and pathlib.Path(args.out).is_file():
    raise UserError(f'--out={args.out} is a file; give a directory.')
  have, notes = [], []
  for name in asked:
    entry = RUNTIMES[name]
    if all(importlib.util.find_spec(module) for module in entry.modules):
      have.append(name)
    else:
      notes.append(f"{entry.label} is not installed: pip install '{entry.extra}'.")
  return names, have, counts, notes


def _measure(
  names: list[str], runtimes: list[str], setting: dict[str, Any], args: argparse.Namespace,
  report: dict[str, Any],
) -> dict[str, dict[str, list[float]]]:
  """Label of the runtime -> network -> milliseconds of each round, for one number of threads."""
  found: dict[str, dict[str, list[float]]] = {}
  with contextlib.ExitStack() as stack:
    processes = {}
    for runtime in runtimes:
      label, known = label_of(runtime), _known(runtime, names)
      if not known:
        continue
      try:
        process = stack.enter_context(
          side_process.start(
            runtime, label, {**setting, 'networks': known}, {'JAX_PLATFORMS': 'cpu'}
          )
        )
      except side_process.SideError as error:
        report['notes'].append(f'{label}, {setting["threads"]} threads: not measured, {error}')
        continue
      report['versions'].update(process.ready['versions'])
      processes[label], found[label] = process, {name: [] for name in known}
    for turn in range(args.rounds):
      side_process.progress(f'{setting["threads"]} threads: round {turn + 1} of {args.rounds}')
      for label, process in processes.items():
        for name, values in found[label].items():
          values.append(round(process.ask('measure', name=name, calls=args.calls)['ms'], 3))
  side_process.progress('')
  return found


def label_of(runtime: str) -> str:
  """The label of a runtime in tables; ours names its backend."""
  label = RUNTIMES[runtime].label
  return f'{label}, backend {backend()}' if runtime == 'jax' else label


def _known(runtime: str, names: list[str]) -> list[str]:
  """The networks that a runtime has."""
  return [name for name in names if runtime != 'torch' or network(name).timm]
