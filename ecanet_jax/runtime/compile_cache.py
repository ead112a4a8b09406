"""JAX's persistent compilation cache."""

import hashlib
import os
import pathlib
import platform

import jax

from ecanet_jax.ops.cpu_flags import cpu_flags
from ecanet_jax.runtime.log import log

SWITCH = 'ECANET_JAX_COMPILATION_CACHE'


def keep_compiled_programs(shared: str = '') -> str:
  """Turns on JAX's persistent compilation cache; call it before anything is compiled.

  The directory is JAX_COMPILATION_CACHE_DIR. Without it, the processes of one training use
  `shared`/compilation_cache: JAX lets the first one write and all read, so that no host of a pod
  compiles again at the next start. On CPUs JAX gives each process other keys, and only the first
  finds its programs. A single process uses ecanet_jax in $XDG_CACHE_HOME or ~/.cache. Below the
  last two is a folder for the kind of CPU.

  The directory may be deleted at any time. Programs that compile quickly are cached, too, unless
  JAX's own variables say otherwise. ECANET_JAX_COMPILATION_CACHE=0 turns the cache off. A local
  directory that cannot be written to is a warning.

  Args:
    shared: a directory that all processes have, such as the workdir, local or at a gs:// address;
      '' for a single process.

  Returns:
    The directory; '' without a cache.
  """
  directory = jax.config.jax_compilation_cache_dir
  if os.environ.get(SWITCH) == '0' or directory == '':
    jax.config.update('jax_compilation_cache_dir', None)
    return ''
  if not directory and shared:
    directory = f'{shared}/compilation_cache/{_cpu_kind()}'  # which JAX makes when it writes
  elif not directory or '://' not in directory:
    try:
      directory = directory or str(_home())
      pathlib.Path(directory).mkdir(0o700, parents=True, exist_ok=True)
      if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(f'no permission to read and write {directory!r}')
    except (OSError, RuntimeError) as error:
      log.warning('compiled programs are not kept for the next start: %s', error)
      jax.config.update('jax_compilation_cache_dir', None)
      return ''
  jax.config.update('jax_compilation_cache_dir', directory)
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  return directory


def _home() -> pathlib.Path:
  """The user's cache."""
  cache = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  return pathlib.Path(cache, 'ecanet_jax', _cpu_kind())


def _cpu_kind() -> str:
  """A name for this kind of CPU; code for another kind can crash with SIGILL."""
  kind = platform.machine() + platform.processor() + cpu_flags()
  return hashlib.sha256(kind.encode()).hexdigest()[:12]
