"""`python -m benchmarks detection`: a trained Mask R-CNN beside torchvision's, on digit scenes.

Both sides have the network and the weights of a training of `configs/digit_scenes.py`, each in a
process of its own, which is suspended while the other one computes. Inference is one image at a
time, from its pixels to the boxes and masks in it. Before anything is measured, both must find the
same objects.
"""

import argparse
import contextlib
import json
import os
import pathlib
import platform
from typing import Any

from benchmarks import machine, side_process
from benchmarks.detection.scenes import differences
from benchmarks.side_process import SideError, SideProcess
from benchmarks.table import spread
from ecanet_jax.config.stored import read_config
from ecanet_jax.inference.detector import is_detector_training
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.machine import describe
from ecanet_jax.version import __version__

MODES = ('inference', 'train')
PEER = 'torchvision'
ATTENTION = ('none', 'eca')  # of the networks that the peer has
AIM_SECONDS = 1.0  # length of a turn


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the benchmark's flags to `parser`."""
  parser.add_argument(
    '--workdir', required=True, help='a training of configs/digit_scenes.py, without attention or '
    'with ECA')
  parser.add_argument('--mode', default=','.join(MODES), help='comma list')
  parser.add_argument('--threads', type=int, default=0, help='CPU threads of both sides; 0 = all')
  parser.add_argument('--rounds', type=int, default=11, help='turns of each side')
  parser.add_argument('--json', default='', help='file for all figures')


def run(args: argparse.Namespace) -> int:
  """Measures, prints the table, writes the file, and returns the exit status 0.

  Raises:
    UserError: a mistake in the flags, or a side could not be measured.
  """
  modes, batch = check(args)
  report: dict[str, Any] = {
    'machine': describe(), 'workdir': args.workdir, 'threads': args.threads or 'all',
    'rounds': args.rounds, 'versions': {'python': platform.python_version(),
                                        'ecanet_jax': __version__}, 'modes': {},
  }
  for mode in modes:
    images = batch if mode == 'train' else 1
    report['modes'][mode] = _measure(mode, images, args, report['versions'])
  print(table(report))
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps(report, indent=2) + '\n')
  return 0


def check(args: argparse.Namespace) -> tuple[list[str], int]:
  """The modes, and the batch size of the training.

  Raises:
    UserError: a mistake in the flags.
  """
  modes = list(dict.fromkeys(args.mode.split(',')))
  for mode in modes:
    lookup(dict.fromkeys(MODES), mode, 'mode')
  available = len(machine.cpus())
  if not 0 <= args.threads <= available:
    raise UserError(f'--threads={args.threads} must be 0 (all) to {available}, the CPUs there are.')
  if args.threads and not hasattr(os, 'sched_setaffinity'):
    raise UserError(f'--threads={args.threads}: this system cannot bind a process to CPUs; use 0.')
  if args.rounds < 1:
    raise UserError(f'--rounds={args.rounds} must be at least 1.')
  if args.json and not pathlib.Path(args.json).parent.is_dir():
    raise UserError(f'--json={args.json}: the folder {pathlib.Path(args.json).parent} does not '
                    'exist.')
  advice = 'make one: python train.py --config=configs/digit_scenes.py --workdir=runs/digit_scenes'
  if not is_detector_training(args.workdir):
    raise UserError(f'--workdir={args.workdir} has no training of a detector; {advice}')
  config = read_config(args.workdir)
  if config.data.name != 'digit_scenes' or config.model.backbone != 'resnet18':
    raise UserError(
      f'--workdir={args.workdir} is a training of {config.model.name} on {config.data.name}, not '
      f'of configs/digit_scenes.py; {advice}')
  if (kind := config.model.attention.kind) not in ATTENTION:
    raise UserError(
      f'--workdir={args.workdir} has attention {kind!r}; the side of torchvision has '
      f'{" and ".join(map(repr, ATTENTION))}: train with --config.model.attention.kind=eca.')
  return modes, config.batch_size


def _measure(
  mode: str, images: int, args: argparse.Namespace, versions: dict[str, str]
) -> dict[str, Any]:
  """Images per second of both sides in every round, and in inference what they have found."""
  setting = {'workdir': args.workdir, 'threads': args.threads}
  result: dict[str, Any] = {'images': images, 'images_per_second': {'ours': [], PEER: []}}
  before = machine.stolen()
  try:
    with contextlib.ExitStack() as stack:
      sides: dict[str, SideProcess] = {}
      for side, name in (('ours', mode), (PEER, f'{PEER}_{mode}')):
        sides[side] = stack.enter_context(
          side_process.start(name, side, setting, {'JAX_PLATFORMS': 'cpu'}))
        versions.update(sides[side].ready['versions'])
      if mode == 'inference':
        found = [side.ask('found')['found'] for side in sides.values()]
        result['found'] = differences(*found)
      calls = {
        side: max(1, round(AIM_SECONDS / process.ask('turn', calls=1)['seconds']))
        for side, process in sides.items()
      }
      for turn in range(args.rounds):
        side_process.progress(f'{mode}: round {turn + 1} of {args.rounds}')
        for side, process in sides.items():
          seconds = process.ask('turn', calls=calls[side])['seconds']
          result['images_per_second'][side].append(round(images * calls[side] / seconds, 2))
  except (SideError, ValueError) as error:
    raise UserError(f'{mode}: not measured, {error}') from None
  finally:
    side_process.progress('')
  after = machine.stolen()
  if before and after and after[1] > before[1]:
    result['stolen'] = (after[0] - before[0]) / (after[1] - before[1])
  return result


def table(report: dict[str, Any]) -> str:
  """The figures as text: images per second, and the ratio of neighbouring turns."""
  about = report['machine']
  lines = [f'{"mode":<12}{"images":>8}  {"ours, images/s":<24}{"torchvision, images/s":<24}ratio']
  for mode, figures in report['modes'].items():
    ours, theirs = figures['images_per_second'].values()
    ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
    lines.append(f'{mode:<12}{figures["images"]:>8}  {spread(ours, 1):<24}{spread(theirs, 1):<24}'
                 f'{spread(ratios, 2)}')
  lines.append('')
  if found := report['modes'].get('inference', {}).get('found'):
    lines.append(f'both find the same {found["objects"]} objects; boxes differ by at most '
                 f'{found["box_pixels"]:.1e} pixels')
  stolen = [figures['stolen'] for figures in report['modes'].values() if 'stolen' in figures]
  lines += [
    f'median (lowest-highest) of {report["rounds"]} rounds in turn, {report["threads"]} threads'
    + (f'; CPU stolen: at most {100 * max(stolen):.0f} %' if stolen else ''),
    f'{about["date"]}; {about["cpu"]}, {about["cpus"]} CPUs; {about["system"]}; '
    + ', '.join(f'{name} {version}' for name, version in report['versions'].items()),
  ]
  return '\n'.join(lines)
