"""python -m benchmarks twin: the accuracy at the end of our training and of a PyTorch (timm) one.

    python -m benchmarks twin --config=configs/digits.py --seeds=0-4 \
      --models=b0_nose_all,efficientnet_b0,eca_efficientnet_b0 [--config.KEY=VALUE]

Both sides see the same batches (order, crops and mirroring are made once, on the host), with the
same learning rates, weight decay and average of the weights. Each begins with our first weights and
with timm's, which shows what the initial values are worth. Dropout draws its own numbers on each
side. Before a training the logits of both are compared.

A finished run is one line in --out. The same command again runs only what is missing there.
"""

import argparse
import importlib.metadata
import json
import os
import pathlib
import statistics
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.sides import missing_packages
from ecanet_jax.cli.arguments import Parser, parse_overrides
from ecanet_jax.cli.config import load_config
from ecanet_jax.cli.sweep import statistics as seeds
from ecanet_jax.cli.sweep.definition import parse_seeds
from ecanet_jax.config.trees import config_hash, plain
from ecanet_jax.runtime import machine
from ecanet_jax.runtime.compile_cache import keep_compiled_programs
from ecanet_jax.runtime.errors import UserError, lookup
from ecanet_jax.runtime.log import log, start_log
from ecanet_jax.version import __version__

RESULTS = pathlib.Path(__file__).parents[1] / 'results' / 'twins'
STARTS = ('ours', 'timm')
SIDES = ('ours', 'timm')
PACKAGES = ('jax', 'flax', 'optax', 'torch', 'timm')


def run(arguments: Sequence[str]) -> int:
  """Trains what is missing and prints the table; returns 0.

  Raises:
    UserError: a mistake in the arguments or the config, or timm has no such network.
  """
  args = parse(arguments)
  numbers = parse_seeds(args.seeds)
  starts = args.starts.split(',')
  for start in starts:
    lookup(dict.fromkeys(STARTS), start, 'start (--starts)')
  if line := missing_packages():
    raise UserError(line)
  from benchmarks.twin.training import Pair, check

  start_log()
  keep_compiled_programs()  # for the other seeds
  configs = {}
  for name in args.models.split(',') if args.models else [None]:
    config = load_config(args.config, args.overrides)
    config.model.name = name or config.model.name
    check(config)
    configs[config.model.name] = config
  out = pathlib.Path(args.out) if args.out else RESULTS / f'{_title(args.config)}.jsonl'
  out.parent.mkdir(parents=True, exist_ok=True)
  wanted = [
    {'network': name, 'config_hash': _hash(config), 'seed': seed, 'start': start, 'side': side}
    for name, config in configs.items() for seed in numbers for start in starts for side in SIDES
  ]
  done = read_runs(out)
  missing = [key for key in wanted if _find(done, key) is None]
  log.info('%d of %d runs are in %s', len(wanted) - len(missing), len(wanted), out)
  for number, key in enumerate(missing, start=1):
    config = configs[key['network']].copy_and_resolve_references()
    config.seed = key['seed']
    result = {**key, **Pair(config).train(key['side'], key['start']), **_conditions(args)}
    _append(out, result)
    done.append(result)
    log.info(
      '%s seed %d, %s from the first weights of %s: top-1 %.2f %%, %.0f s; %d of %d',
      key['network'], key['seed'], key['side'], key['start'], 100 * result['top1'],
      result['seconds'], number, len(missing),
    )
  print(table([_find(done, key) for key in wanted]))
  return 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
  """Parses the arguments; `overrides` are those that begin with --config. and a key."""
  parser = Parser('python -m benchmarks twin', description='final accuracy beside timm')
  parser.epilog = 'Any --config.KEY=VALUE, as for train.py, holds for all runs.'
  parser.add_argument('--config', required=True, help='a recipe')
  parser.add_argument('--models', default='', help="comma list of networks; the recipe's")
  parser.add_argument('--seeds', default='0-4', help='such as 0-4 or 0,1,2')
  parser.add_argument(
    '--starts', default=','.join(STARTS), help='whose first weights: ours, timm, or both'
  )
  parser.add_argument('--out', default='', help='file of the runs; benchmarks/results/twins/...')
  args = parse_overrides(parser, arguments)
  args.command = ' '.join(['python', '-m', 'benchmarks', 'twin', *arguments])
  return args


def _title(config: str) -> str:
  name, _, argument = pathlib.Path(config).name.partition(':')
  return '_'.join(filter(None, [name.removesuffix('.py'), argument]))


def _hash(config) -> str:
  """Identifies a training without its seed."""
  tree = plain(config)
  del tree['seed']
  return config_hash(tree)


def _conditions(args) -> dict[str, Any]:
  versions = {'ecanet_jax': __version__}
  versions |= {name: importlib.metadata.version(name) for name in PACKAGES}
  return {'command': args.command, 'machine': machine.describe(), 'versions': versions}


def _append(path: pathlib.Path, result: dict[str, Any]) -> None:
  """Appends a line and waits until it is on the disk; an unfinished line is ended first."""
  torn = path.exists() and not path.read_bytes().endswith(b'\n') and path.stat().st_size
  with path.open('a') as file:
    file.write(('\n' if torn else '') + json.dumps(result) + '\n')
    file.flush()
    os.fsync(file.fileno())


def read_runs(path: pathlib.Path) -> list[dict[str, Any]]:
  """The finished runs of a file; the line that a kill cut off is left out."""
  runs = []
  for line in path.read_text().splitlines() if path.exists() else []:
    try:
      runs.append(json.loads(line))
    except json.JSONDecodeError:
      log.warning('%s has an unfinished line, which is ignored: %.40s', path, line)
  return runs


def _find(runs: Sequence[dict[str, Any]], key: dict[str, Any]) -> dict[str, Any] | None:
  return next((run for run in runs if key.items() <= run.items()), None)


def table(runs: Sequence[dict[str, Any]]) -> str:
  """Top-1 of both sides by network and first weights, with the difference paired by seed."""
  rows = [['network', 'first weights', 'ours, %', 'timm, %', 'ours - timm', '95 % interval', 'p',
           'smallest', 'n', 'verdict']]
  rows.append(['---'] * len(rows[0]))
  starts = list(dict.fromkeys(run['start'] for run in runs))
  kinds = [(f'of {start}', start, start) for start in starts]
  kinds += [('own', 'ours', 'timm')] if len(starts) > 1 else []
  steps = 1 / runs[0]['seen']
  for name in dict.fromkeys(run['network'] for run in runs):
    for label, *chosen in kinds:
      sides = [
        [run for run in runs if (run['network'], run['side'], run['start']) == (name, side, start)]
        for side, start in zip(SIDES, chosen, strict=True)
      ]
      ours, timm = ([run['top1'] for run in side] for side in sides)
      row = [name, label, _spread(ours), _spread(timm), f'{100 * _difference(ours, timm):+.2f}']
      if len(ours) > 1:
        found = seeds.compare(ours, timm, resolution=steps)
        low, high = (100 * end for end in found.interval)
        row += [f'{low:+.2f} to {high:+.2f}', f'{found.p:.3f}', f'{100 * found.smallest:.2f}',
                str(len(ours)), seeds.verdict(found.mean, found.p)]
      else:
        row += ['', '', '', '1', 'one seed says nothing']
      rows.append(row)
  body = '\n'.join('| ' + ' | '.join(row) + ' |' for row in rows)
  seen, began = runs[0]['seen'], time.strftime('%Y-%m-%d')
  return (
    f'{body}\n\nTop-1 of the last evaluation, {seen:,} images; mean ± standard deviation (n - 1);\n'
    'differences in points, paired by seed, with the interval and p of the paired t-test, not\n'
    'corrected for the number of rows. Smallest: the true difference that n seeds see in four of\n'
    f'five studies. Printed {began}.\n'
  )


def _difference(ours: Sequence[float], timm: Sequence[float]) -> float:
  return statistics.fmean(ours) - statistics.fmean(timm)


def _spread(values: Sequence[float]) -> str:
  text = f'{100 * statistics.fmean(values):.2f}'
  return f'{text} ± {100 * statistics.stdev(values):.2f}' if len(values) > 1 else text
