"""How a process compiles, and where it keeps the programs for the next start."""

import contextlib
import hashlib
import logging
import os
import pathlib
import platform

import jax

SWITCH = 'ECANET_JAX_COMPILATION_CACHE'
SAME_EVERY_TIME = '--xla_gpu_exclude_nondeterministic_ops=true'

log = logging.getLogger('ecanet_jax')


def keep_compiled_programs() -> str:
  """Turns on JAX's persistent compilation cache; call it before anything is compiled.

  The directory is JAX_COMPILATION_CACHE_DIR or ecanet_jax/KIND_OF_CPU in $XDG_CACHE_HOME or
  ~/.cache; it may be deleted at any time. Every program is kept however quickly it compiled, unless
  JAX's own variables say otherwise. ECANET_JAX_COMPILATION_CACHE=0 turns it off. A directory that
  cannot be written is a line in the log.

  Returns:
    The directory, or '' when nothing is kept.
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


def compute_deterministically() -> None:
  """Has GPUs take only operations that give the same bits every time; some of them are slower.

  Call it before a device is touched. On a CPU and a TPU there are no others.
  """
  given = os.environ.get('XLA_FLAGS', '').split()
  os.environ['XLA_FLAGS'] = ' '.join([*given, SAME_EVERY_TIME])


def _folder() -> pathlib.Path:
  """Of this user and this kind of CPU: code for another one can end a process with SIGILL."""
  cache = os.environ.get('XDG_CACHE_HOME') or pathlib.Path.home() / '.cache'
  kind = platform.machine() + platform.processor()
  with contextlib.suppress(OSError):
    lines = pathlib.Path('/proc/cpuinfo').read_text().splitlines()
    kind += next((line for line in lines if line.startswith(('flags', 'Features'))), '')
  return pathlib.Path(cache, 'ecanet_jax', hashlib.sha256(kind.encode()).hexdigest()[:12])
