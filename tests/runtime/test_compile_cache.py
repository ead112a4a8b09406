"""Compiled programs are kept for the next start, which then compiles nothing."""

import logging
import pathlib
import re
import shutil

import jax
import pytest
from jax.experimental.compilation_cache import compilation_cache

from ecanet_jax.runtime.compile_cache import SWITCH, keep_compiled_programs
from ecanet_jax.runtime.determinism import FLAG
from tests.support import programs
from tests.support.trainings import finish, pair

KEYS = ('jax_compilation_cache_dir', 'jax_persistent_cache_min_compile_time_secs')


@pytest.fixture
def environment(monkeypatch, tmp_path):
  """Nothing set but a cache directory of the test's own; JAX's settings come back afterwards."""
  before = {key: getattr(jax.config, key) for key in KEYS}
  for name in (SWITCH, 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'):
    monkeypatch.delenv(name, raising=False)
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
  jax.config.update('jax_compilation_cache_dir', None)
  compilation_cache.reset_cache()
  yield monkeypatch
  for key, value in before.items():
    jax.config.update(key, value)
  compilation_cache.reset_cache()


def compiled(path):
  return {file.name for file in pathlib.Path(path).rglob('*-cache')}


def test_every_program_is_kept_in_the_users_cache(environment, tmp_path):
  folder = keep_compiled_programs()
  assert pathlib.Path(folder).parent == tmp_path / 'cache' / 'ecanet_jax'
  for expected in (1, 1):
    jax.clear_caches()
    jax.jit(lambda x: x + 1)(1.0)
    assert len(compiled(folder)) == expected


def test_switches(environment, tmp_path):
  environment.setenv(SWITCH, '0')
  assert keep_compiled_programs() == '' and jax.config.jax_compilation_cache_dir is None
  environment.delenv(SWITCH)
  jax.config.update('jax_compilation_cache_dir', '')  # what JAX_COMPILATION_CACHE_DIR= sets
  assert keep_compiled_programs() == ''
  jax.config.update('jax_compilation_cache_dir', str(tmp_path / 'own'))
  environment.setenv('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '7')
  jax.config.update('jax_persistent_cache_min_compile_time_secs', 7)
  assert keep_compiled_programs() == str(tmp_path / 'own')
  assert jax.config.jax_persistent_cache_min_compile_time_secs == 7


def test_several_processes_share_the_workdir(environment, tmp_path):
  folder = pathlib.Path(keep_compiled_programs(str(tmp_path / 'run')))
  assert folder.parent == tmp_path / 'run' / 'compilation_cache' and not folder.parent.exists()
  jax.jit(lambda x: x + 3)(1.0)
  assert len(compiled(folder)) == 1
  bucket = keep_compiled_programs('gs://bucket/run')  # what is set counts
  assert bucket == jax.config.jax_compilation_cache_dir == str(folder)
  jax.config.update('jax_compilation_cache_dir', None)
  bucket = keep_compiled_programs('gs://bucket/run')
  assert bucket == f'gs://bucket/run/compilation_cache/{folder.name}'


@pytest.mark.slow
def test_the_first_of_several_processes_writes(environment, tmp_path):
  for name in KEYS:
    environment.delenv(name.upper(), raising=False)
  environment.setattr(programs, 'CACHE', '')
  environment.setenv('JAX_DEBUG_LOG_MODULES', 'jax._src.compiler')
  command = [
    'train.py', '--config=configs/smoke.py', f'--workdir={tmp_path}', '--config.epochs=1',
    '--config.data.image_size=16', '--config.schedule.warmup_epochs=0.1',
  ]
  for start in ('cold', 'warm'):
    found = finish(pair(programs.start, command))
    assert all(done.returncode == 0 for done in found), found[1].stderr
    if start == 'cold':
      assert compiled(tmp_path / 'compilation_cache') and not compiled(tmp_path / 'cache')
      shutil.rmtree(tmp_path / 'checkpoints')
  # On CPUs JAX's key of a program has the process in it, so that the others find nothing.
  assert "Persistent compilation cache hit for 'jit_train_step'" in found[0].stderr
  assert 'Not writing persistent cache entry since process_id != 0' in found[1].stderr


def test_an_unwritable_directory_is_a_line_in_the_log(environment, tmp_path, caplog):
  (tmp_path / 'cache').write_text('a file')
  with caplog.at_level(logging.WARNING, 'ecanet_jax'):
    assert keep_compiled_programs() == ''
  assert 'compiled programs are not kept for the next start: ' in caplog.text
  jax.jit(lambda x: x + 2)(1.0)


@pytest.mark.slow
def test_a_second_start_compiles_nothing(environment, tmp_path):
  for name in KEYS:
    environment.delenv(name.upper(), raising=False)
  environment.setattr(programs, 'CACHE', '')
  environment.setenv('JAX_DEBUG_LOG_MODULES', 'jax._src.compiler')  # which tells what is compiled
  found, results = [], []
  for i in (1, 2):
    done = programs.run(
      'train.py', '--config=configs/smoke.py', f'--workdir={tmp_path / str(i)}',
      '--config.data.image_size=16', '--config.epochs=2', '--config.eval_epochs=1',
    )
    assert re.search(r'time to first step: \d+\.\d s', done.stderr)
    found.append(compiled(tmp_path / 'cache'))
    results.append(done.stdout)
  assert found[0] == found[1] and results[0] == results[1].replace(
    str(tmp_path / '2'), str(tmp_path / '1')
  )
  assert 'Persistent compilation cache hit' in done.stderr
  assert not re.findall('CACHE MISS for .*', done.stderr)
  names = sorted(name.rsplit('-', 2)[0] for name in found[0])
  assert names.count('jit_train_step') == names.count('jit_eval_step') == 1


def test_deterministic_operations_are_a_flag_that_xla_knows():
  """It ends a process whose flags it does not know."""
  program = (
    'import os; from ecanet_jax.runtime import determinism; '
    'determinism.compute_deterministically(); '
    'import jax; jax.devices(); print(os.environ["XLA_FLAGS"])'
  )
  said = programs.run('-c', program).stdout.split()
  assert said[0].startswith('--xla_force_host') and said[-1] == FLAG
