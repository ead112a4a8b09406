"""Flags and course of `python -m benchmarks`: images per second of our networks beside timm's.

Machines are shared and noisy, so a single figure says little. Each side runs in a process of its
own, the sides take turns, and a ratio compares two neighbouring turns.
"""

import argparse
import json
import os
import pathlib
import platform
from typing import Any

from benchmarks import loaders, machine, picture, side_process, table
from benchmarks.match import Entry, play
from benchmarks.sides import NAMES, classification_network, missing_packages
from ecanet_jax.models import create_model, network
from ecanet_jax.models.count import count
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.machine import describe
from ecanet_jax.version import __version__

DTYPES = ('float32', 'bfloat16')
MODES = ('inference', 'train')
SIDES = ('ours', 'timm')

# The backbones of ECA-Net's Table 2 and B0: without attention, with SE, with ECA.
FAMILIES = {
  'ResNet-50': {'none': 'resnet50', 'SE': 'se_resnet50', 'ECA': 'eca_resnet50'},
  'MobileNetV2': {'none': 'mobilenetv2_100', 'SE': 'se_mobilenetv2', 'ECA': 'eca_mobilenetv2'},
  'EfficientNet-B0': {
    'none': 'b0_nose_all', 'SE': 'efficientnet_b0', 'ECA': 'eca_efficientnet_b0',
  },
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the benchmark's flags to `parser`."""
  parser.add_argument('--model', help='network, or a comma list; efficientnet_b0')
  parser.add_argument('--batch_size', default='16', help='images, or a comma list')
  parser.add_argument('--image_size', type=int, default=224, help='pixels, height = width')
  parser.add_argument('--dtype', default='float32', help=' or '.join(DTYPES))
  parser.add_argument('--mode', default=','.join(MODES), help='comma list')
  parser.add_argument('--side', default=','.join(SIDES), help='comma list')
  parser.add_argument('--compiled', action='store_true', help='timm under torch.compile, too')
  parser.add_argument('--rounds', type=int, default=5, help='turns of each side')
  parser.add_argument('--threads', type=int, default=0, help='CPU threads of each side; 0 = all')
  parser.add_argument('--attention', action='store_true',
                      help="ECA-Net's Table 2: none, SE and ECA in turn, in place of --model")
  parser.add_argument('--memory', action='store_true', help='bytes per image of a training step')
  parser.add_argument('--profile', action='store_true', help='time of ours by class of operation')
  parser.add_argument('--input', action='store_true',
                      help="our training input beside timm's loader and decoding alone")
  parser.add_argument('--json', default='', help='file to write the figures to')
  parser.add_argument('--png', default='', help='file to draw the figures to')


def run(args: argparse.Namespace) -> int:
  """Measures, prints the tables, writes the files, and returns the exit status.

  The status is 1 if one of our own measurements failed.

  Raises:
    UserError: an unknown name, a number out of range, or nothing could be measured.
  """
  modes, sides, batches = check(args)
  if args.input:
    setting = {
      'batch_size': batches[0], 'image_size': args.image_size, 'threads': args.threads
    }
    return loaders.run(sides, setting, args.rounds, args.json)
  lines, groups = _groups(args, sides)
  print(*lines, sep='\n', end='\n' if lines else '', flush=True)
  if not groups:
    raise UserError('nothing can be measured: see above.')
  setting = {'image_size': args.image_size, 'dtype': args.dtype, 'threads': args.threads}
  report = {
    'machine': describe(), 'threads': args.threads, 'bandwidth': None,
    'versions': {'python': platform.python_version(), 'ecanet_jax': __version__},
    'notes': lines, 'matches': [],
  }
  if any(entry.side == 'ours' for _, entries in groups for entry in entries):
    report['bandwidth'] = _bandwidth(setting)
    if report['bandwidth']:
      print(f'memory: copies of {report["bandwidth"] / 1e9:.1f} GB/s, read + written', flush=True)
  ours_failed = False
  for family, entries in groups:
    for batch in batches:
      for mode in modes:
        own = {**setting, 'batch_size': batch, 'mode': mode}
        match = play(
          entries, own, args.rounds, args.memory and mode == 'train', args.profile
        )
        report['versions'].update(match.pop('versions'))
        report['matches'].append({'family': family, **match})
        print(*match['notes'], sep='\n', end='\n' if match['notes'] else '', flush=True)
        ours_failed |= any(e.side == 'ours' and e.label not in match['entries'] for e in entries)
  if not any(match['entries'] for match in report['matches']):
    raise UserError('nothing was measured: see above.')
  _show(report, args, sides)
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps(report, indent=2) + '\n')
  if args.png:
    picture.draw_bars(report, args.png)
  return int(ours_failed)


def _show(report: dict[str, Any], args: argparse.Namespace, sides: list[str]) -> None:
  matches = report['matches']
  print(f'\n{args.image_size} x {args.image_size}, {args.dtype}; images/s are median '
        f'(lowest-highest) of {args.rounds} rounds')
  if args.attention:
    sizes = {}
    for match in matches:
      for figures in match['entries'].values():
        name = figures['model']
        if name not in sizes:
          counted = count(create_model(name, num_classes=1000), args.image_size)
          sizes[name] = (counted.parameters(), counted.operations())
    report['sizes'] = {
      name: {'parameters': a, 'multiply_adds': b} for name, (a, b) in sizes.items()
    }
    print(table.attention(matches, sizes))
  else:
    print(table.speeds(matches, sides))
  tables = [table.roofline(matches, report['bandwidth'])]
  tables += [table.memory(matches)] if args.memory else []
  tables += [table.profile(matches)] if args.profile else []
  print(*(f'\n{text}' for text in tables if text), '', sep='\n')
  print(*table.conditions(report), sep='\n', flush=True)


def check(args: argparse.Namespace) -> tuple[list[str], list[str], list[int]]:
  """Modes, sides and batch sizes of the flags; UserError before anything starts."""
  modes, sides = _listed(args.mode, MODES, 'mode'), _listed(args.side, SIDES, 'side')
  lookup(dict.fromkeys(DTYPES), args.dtype, 'dtype')
  if args.attention and args.model:
    raise UserError('--attention has its own networks: leave --model out.')
  if args.compiled and 'timm' not in sides:
    raise UserError(f'--compiled is a side of timm: --side={args.side} must name timm.')
  if args.memory and 'train' not in modes:
    raise UserError(f'--memory is of a training step: --mode={args.mode} must name train.')
  if args.profile and 'ours' not in sides:
    raise UserError(f'--profile is of our side: --side={args.side} must name ours.')
  try:
    batches = list(dict.fromkeys(int(text) for text in args.batch_size.split(',')))
  except ValueError:
    raise UserError(f'--batch_size={args.batch_size} must be numbers, such as 1,16.') from None
  for flag, value in (
    ('batch_size', min(batches)), ('image_size', args.image_size), ('rounds', args.rounds)
  ):
    if value < 1:
      raise UserError(f'--{flag}={value} must be at least 1.')
  if args.threads and not hasattr(os, 'sched_setaffinity'):
    raise UserError(f'--threads={args.threads}: this system cannot bind a process to CPUs; use 0.')
  if not 0 <= args.threads <= (available := len(machine.cpus())):
    raise UserError(f'--threads={args.threads} must be 0 (all) to {available}, the CPUs there are.')
  for flag in ('json', 'png'):
    if path := getattr(args, flag):
      target = pathlib.Path(path)
      if not target.parent.is_dir():
        raise UserError(f'--{flag}={path}: the folder {target.parent} does not exist.')
      if target.is_dir():
        raise UserError(f'--{flag}={path} is a folder, not a file.')
  return modes, sides + (['compiled'] if args.compiled else []), batches


def _listed(text: str, known: tuple[str, ...], what: str) -> list[str]:
  names = list(dict.fromkeys(text.split(',')))
  for name in names:
    lookup(dict.fromkeys(known), name, what)
  return names


def _groups(
  args: argparse.Namespace, sides: list[str]
) -> tuple[list[str], list[tuple[str, list[Entry]]]]:
  """Notes on missing networks, and by family the groups of entries to measure in turn."""
  names = list(dict.fromkeys((args.model or 'efficientnet_b0').split(',')))
  for name in names:
    classification_network(name)
  lines, have = [], list(sides)
  if any(side != 'ours' for side in sides) and (line := missing_packages()):
    have = [side for side in sides if side == 'ours']
    lines.append(line)

  def exists(side: str, name: str) -> bool:
    if side == 'ours' or network(name).timm:
      return True
    if (line := f'timm has no {name}: not on its side.') not in lines:
      lines.append(line)
    return False

  if args.attention:
    groups = [
      (family, [Entry(label, side, name) for label, name in kinds.items() if exists(side, name)])
      for family, kinds in FAMILIES.items() for side in have
    ]
  else:
    groups = [
      ('', [Entry(NAMES[side], side, name) for side in have if exists(side, name)])
      for name in names
    ]
  return lines, [(family, entries) for family, entries in groups if entries]


def _bandwidth(setting: dict[str, Any]) -> float | None:
  """Bytes per second of large copies, in a process of its own; None if that failed."""
  try:
    with side_process.start('bandwidth', 'bandwidth', setting) as process:
      return process.ask('measure')['bytes_per_second']
  except side_process.SideError as error:
    print(f'bandwidth: not measured, {error}', flush=True)
    return None
