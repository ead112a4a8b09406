"""JAX's persistent compilation cache."""

import hashlib
import os
import pathlib
import platform

import jax

from ecanet_jax.ops.cpu_flags import cpu_flags
from ecanet_jax.runtime.log import log

SWITCH = 'ECANET_JAX_COMPILATION_CACHE'


def keep_compiled_programs() -> str:
  """Turns on JAX's persistent compilation cache; call it before anything is compiled.

  The directory is JAX_COMPILATION_CACHE_DIR, or ecanet_jax/HASH_OF_THE_CPU in $XDG_CACHE_HOME or
  ~/.cache. It may be deleted at any time. Programs that compile quickly are cached, too, unless
  JAX's own variables say otherwise. ECANET_JAX_COMPILATION_CACHE=0 turns the cache off. A directory
  that cannot be written to is a warning.

  Returns:
    The directory; '' without a cache.
  """
  given = jax.config.jax_compilation_cache_dir
  if os.environ.get(SWITCH) == '0' or given == '':
    jax.config.update('jax_compilation_cache_dir', None)
    return ''
  if not given or '://' not in given:
    try:
      given = given or str(_folder())
      pathlib.Path(given).mkdir(0o700, parents=True, exist_ok=True)
      if not os.access(given, os.R_OK | os.W_OK | os.X_OK):
        raise PermissionError(f'no permission to read and write {given!r}')
    except (OSError, RuntimeError) as error:
      log.warning('compiled programs are not kept for the next start: %s', error)
      jax.config.update('jax_compilation_cache_dir', None)
      return ''
  jax.config.update('jax_compilation_cache_dir', given)
  if 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS' not in os.environ:
    jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
  return given


def _folder() -> pathlib.Path:
  """The user's cache for this kind of CPU; code for another kind can crash with SIGILL."""
  cache = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  kind = platform.machine() + platform.processor() + cpu_flags()
  return pathlib.Path(cache, 'ecanet_jax', hashlib.sha256(kind.encode()).hexdigest()[:12])
