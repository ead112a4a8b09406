"""A sweep: configs x variants x seeds, and its directory."""

import contextlib
import dataclasses
import fcntl
import hashlib
import itertools
import json
import math
import pathlib
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from typing import IO, Any

import jax

from ecanet_jax.cli.arguments import keys_of
from ecanet_jax.cli.config import load_config
from ecanet_jax.cli.training_packages import check_packages
from ecanet_jax.config.difference import completed
from ecanet_jax.config.trees import differences, plain
from ecanet_jax.detection.from_config import create_from_config
from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.models.count import count
from ecanet_jax.nn.parameter_shapes import parameter_shapes
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError, one_line
from ecanet_jax.tasks.choice import has_several_labels

RECORD = 'sweep.json'
_LOCK_SECONDS = 10  # time in which the processes of a killed sweep end


@dataclasses.dataclass(frozen=True)
class Run:
  """One training.

  Attributes:
    variant: what it varies, without the seed, such as 'kind=eca'.
    seed: config.seed.
    folder: its directory in that of the sweep.
    arguments: for train.py, without --workdir.
    length: ('epochs' or 'steps', their number), as in the config.
    batch_size: images per step.
  """

  variant: str
  seed: int
  folder: str
  arguments: tuple[str, ...]
  length: tuple[str, float]
  batch_size: int

  @property
  def name(self) -> str:
    return f'{self.variant} seed {self.seed}'


@dataclasses.dataclass(frozen=True)
class Sweep:
  """All runs, in order.

  Attributes:
    runs: variant by variant.
    parameters: number of parameters of each variant.
    record: identifies the sweep; JSON values.
  """

  runs: tuple[Run, ...]
  parameters: dict[str, int]
  record: dict[str, Any]


def define(
  configs: Sequence[str], vary: Sequence[str], seeds: str, overrides: Sequence[str]
) -> Sweep:
  """Checks the flags, creates every variant's network, and lists the runs.

  Args:
    configs: paths of recipes.
    vary: 'KEY=VALUE,VALUE'; several are combined in all ways.
    seeds: '0,1,2' or '0-4'.
    overrides: '--config.KEY=VALUE' for all runs.

  Raises:
    UserError: an unknown file, key, value, network or seed, or one that is given twice.
  """
  numbers = parse_seeds(seeds)
  axes = dict(_axis(text) for text in vary)
  if len(axes) < len(vary):
    raise UserError('--vary has a key twice; give all its values in one.')
  given = keys_of(overrides)
  for key in [*axes, *given]:
    if key == 'seed':
      raise UserError('the seed is not a key of a sweep: give --seeds=0,1,2.')
    if key in axes and key in given:
      raise UserError(f'{key} is given by --vary and by --config.{key}; give one of them.')
  titles = _titles(configs)
  names = {key: key.rpartition('.')[2] for key in axes}
  if len(set(names.values())) < len(names):
    names = {key: key for key in axes}
  bases = {path: plain(load_config(path, overrides)) for path in configs}
  runs, seen, folders, parameters = [], {}, {}, {}
  for path, values in itertools.product(configs, itertools.product(*axes.values())):
    chosen = dict(zip(axes, values, strict=True))
    parts = [titles[path]] if len(configs) > 1 or not axes else []
    variant = ' '.join([*parts, *(f'{names[key]}={value}' for key, value in chosen.items())])
    arguments = [*overrides, *(f'--config.{key}={value}' for key, value in chosen.items())]
    config = load_config(path, arguments)
    check_packages(config)
    if has_several_labels(config):
      raise UserError(
        "a sweep compares top-1, which images with several labels do not have: set "
        "--config.data.label_separator=''."
      )
    same = seen.setdefault(json.dumps(plain(config), sort_keys=True), variant)
    if same != variant:
      raise UserError(f'{same!r} and {variant!r} are the same training.')
    folder = re.sub(r'[^\w.=+,-]+', '_', variant).strip('_')
    if folders.setdefault(folder, variant) != variant:
      raise UserError(f'{folders[folder]!r} and {variant!r} would share the directory {folder!r}.')
    parameters[variant] = _parameters(config)
    for seed in numbers:
      runs.append(Run(
        variant, seed, f'{folder}/seed_{seed}',
        (f'--config={path}', *arguments, f'--config.seed={seed}'), _length(config),
        config.batch_size,
      ))
  for base in bases.values():
    del base['data']['accept_changes']  # an answer of the user, not a part of the sweep
  record = {'config': bases, 'vary': {k: list(v) for k, v in axes.items()}, 'seeds': numbers}
  return Sweep(tuple(runs), parameters, json.loads(json.dumps(record)))


def parse_seeds(text: str) -> list[int]:
  """The seeds of '0,1,2' or '0-4'.

  Raises:
    UserError: other text, a seed that is given twice, or one that is out of range.
  """
  numbers = []
  try:
    for part in text.split(','):
      ends = re.fullmatch(r'(\d+)-(\d+)', part)
      numbers += range(int(ends[1]), int(ends[2]) + 1) if ends else [int(part)]
  except ValueError:
    raise UserError(f'--seeds={text!r} are not whole numbers such as 0,1,2 or 0-4.') from None
  if not numbers:
    raise UserError(f'--seeds={text!r} has no seed; write the smaller number first, such as 0-4.')
  for number in numbers:
    if not 0 <= number < 2**31:
      raise UserError(f'--seeds: {number} must be at least 0 and below 2^31.')
    if numbers.count(number) > 1:
      raise UserError(f'--seeds has {number} twice.')
  return numbers


def _axis(text: str) -> tuple[str, list[str]]:
  """Splits 'KEY=VALUE,(1,2)' into key and values; commas in brackets do not separate."""
  key, _, rest = text.partition('=')
  values, depth = [''], 0
  for letter in rest:
    depth += (letter in '([{') - (letter in ')]}')
    if letter == ',' and not depth:
      values.append('')
    else:
      values[-1] += letter
  values = [value.strip() for value in values]
  if not key or not all(values):
    raise UserError(f'--vary={text!r} has {"an empty value" if any(values) else "no values"}; '
                    'write KEY=VALUE,VALUE.')
  for value in values:
    if values.count(value) > 1:
      raise UserError(f'--vary={key} has {value!r} twice.')
  return key, values


def _titles(paths: Sequence[str]) -> dict[str, str]:
  """A short name for each config file."""
  for path in paths:
    if paths.count(path) > 1:
      raise UserError(f'--config={path} is given twice.')
  stems = {path: pathlib.Path(path).name.replace('.py', '', 1) for path in paths}
  return stems if len(set(stems.values())) == len(stems) else {path: path for path in paths}


def _length(config) -> tuple[str, float]:
  by_steps = 'steps' in config and config.steps
  return ('steps', config.steps) if by_steps else ('epochs', config.epochs)


def _parameters(config) -> int:
  """The network's number of parameters; finds wrong names before anything is trained."""
  # Leaves the accelerator to the runs.
  jax.config.update('jax_platforms', 'cpu')
  model = create_from_config(config.model)
  if not isinstance(model, Detector):
    return count(model, config.data.image_size).parameters()
  shapes = parameter_shapes(model)
  return sum(math.prod(shape) for path, shape in shapes.items() if path.startswith('params/'))


@contextlib.contextmanager
def enter(sweep: Sweep, workdir: paths.Path) -> Iterator[IO[str]]:
  """Claims the directory for this sweep and locks it against other sweeps.

  A bucket has no locks: there, only the sweeps of this machine are kept out.

  Yields:
    The open lock file. The runs' processes hold it open, too.

  Raises:
    UserError: the directory has another sweep or a training, or a sweep is running in it.
  """
  try:
    paths.check_writable(workdir)
    with paths.answers(workdir):
      if (workdir / 'checkpoints').exists() or (workdir / 'metrics.jsonl').exists():
        raise UserError(f'{workdir} has a training, not a sweep; give another --workdir.')
    lock = _lock_file(workdir).open('w')
  except OSError as error:
    raise UserError(f'--workdir={workdir}: {error.strerror}.') from error
  with lock:
    _hold(lock, workdir)
    _check_record(sweep.record, workdir)
    yield lock


def _lock_file(workdir: paths.Path) -> pathlib.Path:
  if not paths.is_remote(workdir):
    return workdir / 'lock'
  name = hashlib.sha256(str(workdir).encode()).hexdigest()[:16]
  return pathlib.Path(tempfile.gettempdir()) / f'ecanet_jax-sweep-{name}.lock'


def _hold(lock: IO[str], workdir: paths.Path) -> None:
  deadline = time.monotonic() + _LOCK_SECONDS
  while True:
    try:
      fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
      return
    except OSError:
      if time.monotonic() > deadline:
        raise UserError(f'a sweep is running in {workdir}.') from None
      time.sleep(0.1)


def _check_record(record: dict[str, Any], workdir: paths.Path) -> None:
  path = workdir / RECORD
  if not path.exists():
    paths.write_whole(path, json.dumps(record, indent=2) + '\n')
    return
  try:
    there = json.loads(path.read_text())
    there = _completed(there)
  except (json.JSONDecodeError, AttributeError, KeyError, TypeError) as error:
    raise UserError(f'{path} is not the record of a sweep: {one_line(error)}.') from error
  more = set(there.get('seeds', ())) < set(record['seeds'])  # further seeds may be added
  wanted = _completed(record)
  changed = differences(there | {'seeds': wanted['seeds']} if more else there, wanted)
  if changed:
    key, (old, new) = next(iter(changed.items()))
    others = f' ({len(changed) - 1} more)' if len(changed) > 1 else ''
    raise UserError(
      f'{workdir} has another sweep: {key} is {_said(old)} there and {_said(new)} here{others}; '
      'give another --workdir.'
    )
  if more:
    paths.write_whole(path, json.dumps(record, indent=2) + '\n')


def _completed(record: dict[str, Any]) -> dict[str, Any]:
  """A record whose configs have every key, also those that an older version did not have."""
  configs = {path: completed(config) for path, config in record['config'].items()}
  return {**record, 'config': configs}


def _said(value) -> str:
  if isinstance(value, list):
    return ','.join(map(str, value)) or '()'
  return 'given' if isinstance(value, dict) else 'not given' if value is None else repr(value)
