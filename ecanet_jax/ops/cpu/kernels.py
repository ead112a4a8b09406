"""Compiles the C++ kernels of this directory and calls them from JAX and TensorFlow.

They are compiled once per machine by $CXX, c++, g++ or clang++, and cached. Without a compiler, XLA
and TensorFlow do the work.
"""

import contextlib
import ctypes
import functools
import hashlib
import logging
import os
import pathlib
import platform
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jaxlib
import numpy as np

from ecanet_jax.ops.cpu_flags import cpu_flags

log = logging.getLogger('ecanet_jax')  # as runtime/log.py
# The compiled files; they include the headers.
SOURCE = pathlib.Path(__file__).with_name('kernels.cc')
OPERATIONS = SOURCE.with_name('operations.cc')
FLAGS = ('-std=c++17', '-O2', '-march=native', '-fno-math-errno', '-fPIC', '-shared', '-w')
TYPES = {'float32': ('f32', ()), 'float64': ('f64', ('-DECANET_DOUBLE',))}
# Axes of each kernel's arrays, arguments -> results, as in einsum.
KERNELS = {
  'convolution_forward': 'nhwi,yxio,o->nrso',
  'convolution_winograd': 'nhwi,yxio,o->nrso',
  'convolution_kernel_gradient': 'nhwi,nrso->yxio',
  'convolution_winograd_gradient': 'nhwi,nrso->yxio',
  'depthwise_forward': 'nhwc,yxc,c->nrsc',
  'depthwise_backward': 'nhwc,yxc,nrsc->nhwc,yxc',
  'max_pool': 'nhwc->nrsc',
  'max_pool_gradient': 'nhwc,nrsc,nrsc->nhwc',
  'roi_align': 'pc,rk->ruvc',
  'roi_align_gradient': 'rk,ruvc->pc',
  'norm_moments': 'gpc,c->gc,gc',
  'norm_apply': 'gpc,gc,gc,gc->gpc',
  'norm_apply_sum': 'gpc,gc,gc->gpc,gc',
  'norm_gradient_sums': 'gpc,gpc,gc,gc,gc->gc,gc',
  'norm_attended_sums': 'gpc,gpc,gc,gc,gc->gc,gc,gc,gc,gc',
  'norm_input_gradient': 'gpc,gpc,gc,gc,gc,gc,gc,gc,gc->gpc',
}
FUSED = {'': 0, 'relu': 1, 'relu6': 2, 'swish': 3}  # activations that the kernels apply
SECONDS = 600  # time limit of the compiler


def usable(*arrays: jax.Array) -> bool:
  """Whether there are kernels for these arrays: all float32, or all float64."""
  types = {array.dtype.name for array in arrays}
  return len(types) == 1 and types <= set(TYPES) and load(*types)


def call(name: str, shapes, *arrays: jax.Array, in_place: bool = False, batched: bool = False,
         **attributes: int):
  """Calls a kernel.

  Args:
    name: a key of KERNELS.
    shapes: the result's shape, or a list of shapes for several results.
    *arrays: all of one type of TYPES, which is also the results' type.
    in_place: the result reuses the first array's memory.
    batched: under `jax.vmap` the kernel is called once, with a further axis in front of all arrays.
    **attributes: integers that the kernel takes by name.

  Raises:
    ValueError: types, ranks or sizes that do not fit the kernel.
  """
  dtype = arrays[0].dtype
  several = isinstance(shapes, list)
  out = [jax.ShapeDtypeStruct(shape, dtype) for shape in (shapes if several else [shapes])]
  _check(name, arrays, out)
  kernel = jax.ffi.ffi_call(
    _target(name, dtype.name), out,
    input_output_aliases={0: 0} if in_place else None,
    vmap_method='broadcast_all' if batched else None,
  )
  results = kernel(*arrays, **{key: np.int64(value) for key, value in attributes.items()})
  return results if several else results[0]


def output_shape(shape, window, stride: int, padding, channels: int) -> tuple[int, ...]:
  """`[B, H', W', channels]` for images of this shape, and windows of these sizes and stride.

  H' or W' is 0 where no window fits.
  """
  sizes = (max(0, (shape[a + 1] + sum(padding[a]) - window[a]) // stride + 1) for a in (0, 1))
  return shape[0], *sizes, channels


def _check(name: str, arrays: Sequence[jax.Array], out: Sequence[jax.ShapeDtypeStruct]) -> None:
  given = [array.shape for array in (*arrays, *out)]
  types = {array.dtype.name for array in arrays}
  sizes, axes = {}, KERNELS[name].replace('->', ',').split(',')
  fits = len(axes) == len(given) and len(types) == 1 and types <= set(TYPES)
  for letters, shape in zip(axes, given):
    fits = fits and len(letters) == len(shape)
    fits = fits and all(sizes.setdefault(letter, n) == n for letter, n in zip(letters, shape))
  if not fits:
    raise ValueError(
      f'the CPU kernel {name} takes {KERNELS[name]} in one type of {", ".join(TYPES)}, not '
      f'{", ".join(f"{list(shape)}" for shape in given)} in {", ".join(sorted(types))}.'
    )


@functools.cache
def library(dtype: str) -> ctypes.CDLL | None:
  """The kernels for a type, compiled if necessary; None where that fails."""
  return _unless_it_fails(lambda: ctypes.CDLL(str(_library(SOURCE, _flags(dtype)))))


@functools.cache
def operations() -> Any | None:
  """The module of TensorFlow operations, compiled if necessary; None where that fails."""
  import tensorflow as tf

  # The macro puts TensorFlow's version into the cache key.
  flags = [*tf.sysconfig.get_compile_flags(), f'-DTENSORFLOW={tf.__version__}']
  flags += tf.sysconfig.get_link_flags()
  return _unless_it_fails(
    lambda: tf.load_op_library(str(_library(OPERATIONS, flags))), tf.errors.OpError
  )


def _unless_it_fails(load: Callable[[], Any], *errors: type[Exception]) -> Any | None:
  try:
    return load()
  except (OSError, RuntimeError, subprocess.SubprocessError, *errors) as error:
    log.warning('CPU kernels are not used, which is slower: %s', ' '.join(str(error).split()))
    return None


@functools.cache
def load(dtype: str) -> bool:
  """Registers the kernels for a type with XLA; False where there are none."""
  loaded, (suffix, _) = library(dtype), TYPES[dtype]
  if loaded is None:
    return False
  for name in KERNELS:
    handler = jax.ffi.pycapsule(getattr(loaded, f'{name}_{suffix}'))
    jax.ffi.register_ffi_target(_target(name, dtype), handler, platform='cpu')
  return True


def _target(name: str, dtype: str) -> str:
  return f'ecanet_jax_{name}_{TYPES[dtype][0]}'


def ready(dtype: str) -> bool:
  """Whether the kernels for a type are in this machine's cache."""
  with contextlib.suppress(OSError, RuntimeError):
    return _place(SOURCE, _flags(dtype))[0].exists()
  return False


def _flags(dtype: str) -> list[str]:
  return [*TYPES[dtype][1], f'-I{jax.ffi.include_dir()}', f'-DJAXLIB={jaxlib.__version__}']


def _place(source: pathlib.Path, flags: list[str]) -> tuple[pathlib.Path, list[str]]:
  """The cached file of a source for this compiler and CPU, and the command that compiles it."""
  command = [*compiler(), *FLAGS, str(source), *flags]
  sources = [path.read_text() for path in sorted(SOURCE.parent.glob('*.[ch]*'))]
  facts = [*sources, *command, platform.machine(), cpu_flags() or platform.processor()]
  digest = hashlib.sha256('\n'.join(facts).encode()).hexdigest()[:16]
  return _cache() / f'{source.stem}-{digest}.so', command


def _library(source: pathlib.Path, flags: list[str]) -> pathlib.Path:
  """The compiled source; compiles it first if it is not cached."""
  library, command = _place(source, flags)
  with _locked(library.with_suffix('.lock')):
    if not library.exists():
      log.info('compiling the CPU kernels, once on this machine: %s', source.name)
      log.debug('%s', shlex.join(command))
      fresh = library.with_suffix(f'.{os.getpid()}.partial')
      try:
        done = subprocess.run(
          [*command, '-o', str(fresh)], capture_output=True, text=True, timeout=SECONDS,
          check=False, stdin=subprocess.DEVNULL,
        )
        if done.returncode:
          raise RuntimeError(f'{command[0]} failed: {done.stderr[-300:]}')
        os.replace(fresh, library)
      finally:
        fresh.unlink(missing_ok=True)
  return library


def compiler() -> list[str]:
  """The command of the C++ compiler; RuntimeError if there is none."""
  if given := os.environ.get('CXX'):
    return shlex.split(given)
  for name in ('c++', 'g++', 'clang++'):
    if found := shutil.which(name):
      return [found]
  raise RuntimeError('there is no C++ compiler; install g++ or clang++')


def _cache() -> pathlib.Path:
  """The user's cache directory if it can be written to, else a temporary one."""
  base = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  directory = pathlib.Path(base) / 'ecanet_jax'
  try:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory):
      return directory
  except OSError:
    return _temporary()


@functools.cache
def _temporary() -> pathlib.Path:
  return pathlib.Path(tempfile.mkdtemp(prefix='ecanet_jax_'))


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
  """Lets one process compile while the others wait."""
  try:
    import fcntl
  except ImportError:  # Windows: each process compiles
    yield
    return
  with path.open('w') as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    yield
