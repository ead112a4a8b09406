"""Traced functions, kept beside the compiled programs for the next start.

Where XLA's program is in the compilation cache, tracing a network and lowering it, Python's work,
is most of what a start takes. So a training step is also kept as it is before XLA compiles it
(`jax.export`, StableHLO: data, no code). It is found again by all that it is made of: the sources
of this package and of every other module that is loaded and not installed, the versions of what is,
JAX's settings, the devices, the shapes, and what the caller says.
"""

import hashlib
import os
import pathlib
import sys
import sysconfig
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from absl import logging
from jax import export

from ecanet_jax.ops.cpu import kernels as cpu

PACKAGE = pathlib.Path(__file__).parents[1]
INSTALLED = tuple({
  str(pathlib.Path(sysconfig.get_path(name)).resolve()) for name in
  ('stdlib', 'platstdlib', 'purelib', 'platlib')
})
SETTINGS = ('ECANET_JAX_', 'JAX_', 'LIBTPU_', 'TPU_', 'XLA_')  # environment variables


class Kept:
  """`jax.jit` of a function whose trace is kept for the next start; call it and lower it as such.

  It is traced at every start where compiled programs are not kept in a local directory, in several
  processes, in an interactive session, and if it cannot be exported.
  """

  def __init__(self, function: Callable, facts: str, **options):
    """Does nothing yet.

    Args:
      function: from a tree that it gives back, a dict of arrays, and more of those or none, to the
        tree and a dict.
      facts: all that the function is made of beside the shapes of its arguments, the sources and
        the devices.
      **options: of `jax.jit`.
    """
    self._function, self._facts, self._options = function, facts, options
    self._jitted = jax.jit(function, **options)
    self._by_shape = {}

  def __call__(self, state, batch, *more):
    return self._of(state, batch, *more)(state, batch, *more)

  def lower(self, state, batch, *more):
    """As of `jax.jit`."""
    return self._of(state, batch, *more).lower(state, batch, *more)

  def _of(self, state, batch, *more) -> Callable:
    shapes = tuple((name, array.shape) for name, array in batch.items())
    if shapes not in self._by_shape:
      self._by_shape[shapes] = self._made(state, batch, *more)
    return self._by_shape[shapes]

  def _made(self, state, *rest) -> Callable:
    arguments, tree = (jax.tree.leaves(state), *rest), jax.tree.structure(state)
    file = _file(self._facts, (state, *rest))
    if file is None:
      return self._jitted
    checks = [
      export.DisabledSafetyCheck.custom_call(target) for target in _kernels()
    ]  # which is not by value: this machine's kernels are the only ones it may call
    exported = _read(file)
    if exported is None:
      def flat(leaves, *rest):
        new, others = self._function(jax.tree.unflatten(tree, leaves), *rest)
        return jax.tree.leaves(new), others

      options = {key: self._options[key] for key in SHARDINGS if key in self._options}
      try:
        exported = export.export(jax.jit(flat, **options), disabled_checks=checks)(*arguments)
        _write(file, exported)
      except (NotImplementedError, TypeError, ValueError) as error:
        logging.info('the trace is not kept: %s', ' '.join(str(error).split())[:200])
        return self._jitted

    def call(state, *rest):
      leaves, others = exported.call(jax.tree.leaves(state), *rest)
      return jax.tree.unflatten(tree, leaves), others

    call.__name__ = self._function.__name__
    return jax.jit(call, **self._options)


SHARDINGS = ('in_shardings', 'out_shardings')


def _kernels() -> Iterator[str]:
  """Tells XLA of the kernels that the function may call, and gives their names there."""
  types = ('float32', 'float64') if jax.config.jax_enable_x64 else ('float32',)
  for dtype in types:
    if cpu.usable(jax.ShapeDtypeStruct((), jnp.dtype(dtype))):
      yield from cpu.targets(dtype)


def _file(facts: str, arguments: tuple) -> pathlib.Path | None:
  """Where the trace is kept; None where it is not to be."""
  directory = jax.config.jax_compilation_cache_dir
  main = getattr(sys.modules['__main__'], '__file__', None)
  if not directory or '://' in directory or main is None or jax.process_count() > 1:
    return None
  leaves, tree = jax.tree.flatten(arguments)
  described = [f'{leaf.dtype}{list(leaf.shape)} {leaf.sharding}' for leaf in leaves]
  devices = [device.device_kind for device in jax.devices()]
  settings = {key: value for key, value in os.environ.items() if key.startswith(SETTINGS)}
  parts = [
    facts, str(tree), *described, jax.default_backend(), *devices, sys.version,
    *sorted(_kernels()), repr(sorted(settings.items())), repr(sorted(jax.config.values.items())),
  ]
  digest = hashlib.sha256('\n'.join(parts).encode())
  try:
    for path in _sources():
      digest.update(f'\n{path}\n'.encode() + path.read_bytes())
    for folder in INSTALLED:
      if os.path.isdir(folder):
        names = [name for name in os.listdir(folder) if name.endswith('-info')]
        digest.update('\n'.join(sorted(names)).encode())
  except OSError:
    return None
  return pathlib.Path(directory, f'traced-{digest.hexdigest()[:32]}')


def _sources() -> Iterator[pathlib.Path]:
  """All files of this package, and those of other modules that are loaded and not installed."""
  yield from sorted(PACKAGE.rglob('*.py'))
  files = {getattr(module, '__file__', None) for module in list(sys.modules.values())}
  for file in sorted(filter(None, files)):
    path = pathlib.Path(file).resolve()
    inside = str(path).startswith(INSTALLED) or PACKAGE in path.parents
    generated = path.name.startswith('__autograph_generated_file')  # of tf.data, by another name
    if path.suffix == '.py' and not (inside or generated) and path.exists():
      yield path


def _read(file: pathlib.Path) -> Any | None:
  """What is kept; None if there is nothing, or something that is not as it was written."""
  try:
    digest, data = (content := file.read_bytes())[:32], content[32:]
  except OSError:
    return None
  if hashlib.sha256(data).digest() != digest:
    return None
  return export.deserialize(bytearray(data))


def _write(file: pathlib.Path, exported) -> None:
  """Keeps it, if the disk allows; another process may do the same."""
  data = exported.serialize()
  fresh = file.with_suffix(f'.{os.getpid()}')
  try:
    fresh.write_bytes(hashlib.sha256(data).digest() + data)
    os.replace(fresh, file)
  except OSError as error:
    logging.info('the trace is not kept: %s', error)
    fresh.unlink(missing_ok=True)
