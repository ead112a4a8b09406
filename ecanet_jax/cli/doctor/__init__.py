"""python -m ecanet_jax doctor: checks everything that a training needs, with advice.

One line for each check: ok, warning (works, but slower or with less) or broken. Devices are tried
in a separate process, because a device that another program holds can hang.

    python -m ecanet_jax doctor --train CONFIG [--config.KEY=VALUE] [--find_lr=PNG]

runs the first twenty steps of a training instead, saves nothing, and says what looks wrong.
"""

import argparse
import contextlib
import importlib
import importlib.metadata
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from ecanet_jax.cli.arguments import Parser, parse_overrides
from ecanet_jax.cli.doctor.report import BROKEN, OK, WARNING, Finding, print_findings
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.accelerators import PLUGINS, device_files, install_command
from ecanet_jax.runtime.errors import UserError, one_line
from ecanet_jax.version import __version__, installed

PYTHON = ((3, 11), (3, 13))
SECONDS = 180  # time limit for the devices to answer
LITTLE, TOO_LITTLE = 5.0, 0.5  # GB of free disk
_LIST = pathlib.Path(__file__).parents[3] / 'requirements.txt'  # in a checkout

TRY_DEVICES = """
import json, jax, jax.numpy as jnp
wrong = [str(d) for d in jax.devices() if float(jax.device_put(jnp.ones((8, 8)), d).sum()) != 64]
print(json.dumps([jax.default_backend(), [d.device_kind for d in jax.devices()], wrong]))
"""

parse = parse_overrides


def add_arguments(parser: Parser) -> None:
  """Adds the command's arguments to `parser`."""
  parser.add_argument('--data_dir', default='', help="of prepared sets or images; default: TFDS's")
  parser.add_argument('--workdir', default='.', help='where trainings are to be written')


  parser.add_argument(
    '--train', metavar='CONFIG', default='', help='run the first steps of a recipe instead'
  )
  parser.add_argument(
    '--find_lr', metavar='PNG', nargs='?', const='find_lr.png', default='',
    help='with --train: suggest a learning rate, and draw why (default: find_lr.png)',
  )


def run(args: argparse.Namespace) -> int:
  """Prints a line for each check; returns 1 if something is broken.

  Raises:
    UserError: arguments that need --train, or a mistake in the config or the data.
  """
  if args.train:
    from ecanet_jax.cli.doctor import training

    return training.run(args)
  if args.find_lr or args.overrides:
    needs = '--find_lr' if args.find_lr else args.overrides[0]
    raise UserError(f'{needs} needs a recipe: doctor --train CONFIG {needs}.')
  print(f'ecanet_jax {__version__}, Python {platform.python_version()}, {platform.platform()}')
  worst = 0
  checks = (
    python(), packages(), together(), devices(), kernels(), caches(), disk(args.workdir),
    data(args.data_dir),
  )
  for check in checks:
    worst = max(worst, print_findings(check))
  print(('everything is ready', 'a training works; see the warnings', 'broken: see above')[worst])
  return int(worst == 2)


def python() -> Iterator[Finding]:
  """The version of Python."""
  first, last = PYTHON
  name = platform.python_version()
  if not first <= sys.version_info[:2] <= last:
    wanted = ' to '.join('.'.join(map(str, version)) for version in PYTHON)
    yield BROKEN, f'Python {name}', f'make a new environment with Python {wanted}.'


def packages() -> Iterator[Finding]:
  """The packages that a training needs, and those for the conversion of weights."""
  from packaging.requirements import Requirement

  found, extra = [], []
  for text in requirements():
    wanted = Requirement(text)
    if wanted.marker and not wanted.marker.evaluate({'extra': 'train'}):
      continue
    have = installed(wanted.name)
    if not have and wanted.marker and not wanted.marker.evaluate({'extra': ''}):
      extra.append(wanted.name)
    elif not have:
      yield BROKEN, f'{wanted.name} is not installed', f"pip install '{_plain(wanted)}'"
    elif not wanted.specifier.contains(have, prereleases=True):
      yield (
        BROKEN, f'{wanted.name} {have}; {wanted.specifier} is needed',
        f"pip install '{_plain(wanted)}'",
      )
    else:
      found.append(f'{wanted.name} {have}')
  if extra:
    yield (
      BROKEN, f'training and evaluation need {", ".join(extra)}; load, predict and convert do not',
      install_all(),
    )
  yield OK, ', '.join(found), ''
  extras = [f'{name} {installed(name)}' for name in ('torch', 'timm', 'huggingface_hub')
            if installed(name)]
  yield OK, f'to convert weights: {", ".join(extras) or "no PyTorch (training needs none)"}', ''


def requirements() -> list[str]:
  """The requirements, from requirements.txt in a checkout or from the installed package."""
  if _LIST.exists():
    lines = (line.partition('#')[0].strip() for line in _LIST.read_text().splitlines())
    return [line for line in lines if line]
  return importlib.metadata.requires('ecanet-jax') or []


def install_all() -> str:
  """The pip command for all packages that a training needs, in versions that fit."""
  return 'pip install -U -r requirements.txt' if _LIST.exists() else (
    "pip install -U 'ecanet_jax[train]'"
  )


def together() -> Iterator[Finding]:
  """Packages that conflict with each other, and the consequence."""
  if installed('torch') and _numbers('torch') < (2, 10):
    yield (
      WARNING, f'torch {installed("torch")} can run code from a weights file (GHSA-63cw-57p8-fm3p)',
      'pip install -U "torch>=2.10"; until then PyTorch files are refused.',
    )
  for plugin in ('jax-cuda12-plugin', 'jax-cuda13-plugin', 'jax-rocm7-plugin'):
    if installed(plugin) and _numbers(plugin)[:2] != _numbers('jaxlib')[:2]:
      yield (
        BROKEN, f'{plugin} {installed(plugin)} and jaxlib {installed("jaxlib")}: GPUs are not seen',
        f'pip install "jax[{plugin.split("-")[1]}]=={installed("jax")}"',
      )
  kinds = [name for name in ('tensorflow', 'tensorflow-cpu', 'tf-nightly') if installed(name)]
  if len(kinds) > 1:
    yield (
      WARNING, f'{" and ".join(kinds)} overwrite one another\'s files',
      f'pip uninstall {" ".join(kinds)}; then {install_all()}',
    )
  if installed('libtpu') and device_files('cuda'):
    yield (
      WARNING, 'libtpu beside an NVIDIA GPU keeps JAX from starting (jax issue 28893)',
      'pip uninstall libtpu',
    )
  for name in ('flax.linen', 'orbax.checkpoint'):
    try:
      importlib.import_module(name)
    except Exception as error:  # an incompatible package can raise anything
      yield (
        BROKEN, f'{name} cannot be imported: {type(error).__name__}: {one_line(error)}',
        install_all(),
      )


def devices() -> Iterator[Finding]:
  """The devices that JAX finds, and whether they compute correctly."""
  try:
    done = subprocess.run(
      [sys.executable, '-c', TRY_DEVICES], capture_output=True, text=True, timeout=SECONDS,
      check=False, stdin=subprocess.DEVNULL,
    )
  except subprocess.TimeoutExpired:
    yield (
      BROKEN, f'the devices did not answer in {SECONDS} s',
      'another program may hold them: end it, or restart the machine.',
    )
    return
  if done.returncode:
    last = (done.stderr.strip().splitlines() or ['no message'])[-1][:300]
    yield BROKEN, f'JAX cannot start: {last}', 'JAX_PLATFORMS=cpu works without an accelerator.'
    return
  backend, kinds, wrong = json.loads(done.stdout.splitlines()[-1])
  if wrong:
    yield BROKEN, f'wrong results from {", ".join(wrong)}', 'use another machine.'
  counted = ', '.join(f'{kinds.count(kind)} x {kind}' for kind in dict.fromkeys(kinds))
  yield OK, f'devices: {counted} ({backend})', ''
  if backend == 'cpu' and not os.environ.get('JAX_PLATFORMS'):
    for platform in PLUGINS:
      if files := device_files(platform):
        yield (
          WARNING, f'{files[0]} is there, and JAX computes on the CPU', install_command(platform)
        )


def kernels() -> Iterator[Finding]:
  """The C++ kernels for CPUs."""
  from ecanet_jax.ops import cpu_status

  usable, text = cpu_status()
  if usable:
    yield OK, f'CPU kernels: {text}', ''
  else:
    yield WARNING, f'CPU kernels: {text}; a CPU trains slower', 'apt-get install g++'


def caches() -> Iterator[Finding]:
  """The cache of compiled programs."""
  from ecanet_jax.runtime.compile_cache import keep_compiled_programs

  directory = keep_compiled_programs()
  if not directory:
    yield (
      WARNING, 'compiled programs are not kept: every start compiles again',
      'let ~/.cache, $XDG_CACHE_HOME or $JAX_COMPILATION_CACHE_DIR be a directory that can be '
      'written to.',
    )
  elif '://' in directory:
    yield OK, f'compiled programs: {directory}', ''
  else:
    files = [path for path in pathlib.Path(directory).rglob('*') if path.is_file()]
    size = sum(path.stat().st_size for path in files) / 1e9
    yield OK, f'compiled programs: {len(files)}, {size:.2f} GB, in {directory}', ''


def disk(workdir: str) -> Iterator[Finding]:
  """Free space and write permission for trainings and temporary files."""
  for what, name in (('trainings', workdir), ('temporary files', tempfile.gettempdir())):
    try:
      directory = paths.absolute(paths.to_path(name))
      if paths.is_remote(directory):
        paths.check_writable(directory)
        yield OK, f'{what}: {name} can be written to', ''
        continue
    except paths.StoreError as error:
      yield BROKEN, f'{what}: {name}: {error.strerror}', paths.advice(name)
      continue
    except UserError as error:
      yield BROKEN, f'{what}: {error}', 'give another --workdir.'
      continue
    while not directory.exists():
      directory = directory.parent
    try:
      with tempfile.TemporaryFile(dir=directory):
        free = shutil.disk_usage(directory).free / 1e9
    except OSError as error:
      yield BROKEN, f'{what}: {error}', 'give another --workdir (or $TMPDIR).'
      continue
    level = BROKEN if free < TOO_LITTLE else WARNING if free < LITTLE else OK
    advice = '' if level == OK else 'make room: a checkpoint is 3 to 4 times the parameters.'
    yield level, f'{what}: {free:.1f} GB free in {directory}', advice


def data(data_dir: str) -> Iterator[Finding]:
  """Prepared data sets, or the classes of an image folder."""
  default = os.environ.get('TFDS_DATA_DIR', '~/tensorflow_datasets')
  try:
    root = paths.to_path(data_dir or default)
    with paths.answers(root):
      is_folder = root.is_dir()
  except UserError as error:
    yield BROKEN, f'data: {error}', 'give another --data_dir.'
    return
  except paths.StoreError as error:
    yield BROKEN, f'data: {root}: {error.strerror}', paths.advice(root)
    return
  if not is_folder:
    level = BROKEN if data_dir else OK
    yield (
      level, f'data: {root} does not exist',
      'python -m ecanet_jax prepare --dataset=NAME --data_dir=DIR' if data_dir else '',
    )
    return
  levels = ('', '*/', '*/*/', '*/*/*/')  # as TFDS nests name, config and version
  prepared = sorted(path for level in levels for path in root.glob(f'{level}dataset_info.json'))
  for path in prepared:
    with contextlib.suppress(ValueError, OSError, KeyError):
      info = json.loads(path.read_text())
      splits = ', '.join(
        f'{split["name"]} {sum(map(int, split.get("shardLengths", []))):,}'
        for split in info['splits']
      )
      unfinished, name = 'incomplete' in str(path.parent), f'{info["name"]} {info["version"]}'
      yield (
        WARNING if unfinished else OK, f'data: {name} in {root}: {splits}',
        '`prepare` was interrupted: run it again.' if unfinished else '',
      )
  if not prepared:
    classes = {
      split.name: [path for path in split.iterdir() if path.is_dir()]
      for split in sorted(root.iterdir()) if split.is_dir() and not split.name.startswith('.')
    }
    said = ', '.join(f'{name} {len(folders)} classes' for name, folders in classes.items())
    if any(classes.values()):
      yield OK, f'data: folders in {root}: {said}', ''
    else:
      yield (
        BROKEN if data_dir else OK, f'data: nothing in {root}',
        'python -m ecanet_jax prepare, or SPLIT/CLASS/image.jpg' if data_dir else '',
      )


def _plain(wanted) -> str:
  """A requirement without its marker, for pip."""
  return f'{wanted.name}{wanted.specifier}'


def _numbers(package: str) -> tuple[int, ...]:
  parts = installed(package).split('+')[0].split('.')
  return tuple(int(part) for part in parts if part.isdigit())
