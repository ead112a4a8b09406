"""Checkpoints in a bucket: what counts, what is damaged, and what is refused."""

import gc

import numpy as np
import pytest

from ecanet_jax.checkpoints import integrity, recovery
from ecanet_jax.checkpoints.files import is_checkpoint, load_weights, save_weights
from ecanet_jax.checkpoints.manager import Checkpoints, SaveError
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError
from tests.support import saved


@pytest.fixture(scope='module')
def state():
  return saved.fresh_state()


@pytest.mark.slow
def test_a_damaged_object(here, state, heard):
  workdir = f'{here.root}/damage'
  saved.save(workdir, state, 8, 16)
  assert recovery.steps_in(workdir) == [8, 16]
  assert saved.same(saved.restore(workdir, state), saved.at(state, 16))
  name = 'damage/checkpoints/16/ema/_METADATA'
  here.write(name, here.read(name).replace(b'bn', b'bm', 1))
  with pytest.raises(UserError, match=r'checkpoints/16 is damaged: ema/_METADATA has another SHA'):
    load_weights(workdir, step=16)
  kept = here.read(name)
  assert saved.same(saved.restore(workdir, state), saved.at(state, 8))
  assert (
    'gs://bucket/damage/checkpoints/16 is damaged and not loaded: ema/_METADATA has another '
    'SHA-256 than was written; moved to gs://bucket/damage/damaged/16'
  ) in heard.text
  assert here.names('damage/checkpoints/16/') == []
  assert here.read('damage/damaged/16/ema/_METADATA') == kept
  saved.save(workdir, state, 16)
  assert saved.same(saved.restore(workdir, state), saved.at(state, 16))


def test_a_step_counts_from_its_marker_on(here, state):
  workdir = f'{here.root}/unfinished'
  saved.save(workdir, state, 1)
  here.write('unfinished/checkpoints/2/ema/_METADATA', b'{}')
  assert recovery.steps_in(workdir) == [1]
  assert saved.same(saved.restore(workdir, state), saved.at(state, 1))
  assert here.names('unfinished/checkpoints/2/')  # nothing is deleted: it may be a copy
  saved.save(workdir, state, 2)
  assert integrity.fault(recovery.root_of(workdir) / '2') == ''


@pytest.mark.filterwarnings(
  'ignore:coroutine:RuntimeWarning', 'ignore::pytest.PytestUnraisableExceptionWarning'
)
def test_refused_writes(here, state, heard):
  workdir = f'{here.root}/refused_saves'
  checkpoints = Checkpoints(workdir, keep=3)
  checkpoints.save(1, saved.at(state, 1).items(), saved.meta(), None)
  checkpoints.wait()
  with here.refusing_writes(), pytest.raises(SaveError) as error:
    for step in range(2, 9):
      checkpoints.save(step, saved.at(state, step).items(), saved.meta(), None)
  text = str(error.value)
  assert text.startswith('3 saves in a row failed: step ') and '\n' not in text
  assert text.endswith(
    f'MB and goes to {workdir}/checkpoints. The newest step there is 1.'
  )
  checkpoints.save(9, saved.at(state, 9).items(), saved.meta(), None)
  checkpoints.wait()
  checkpoints.close()
  gc.collect()
  assert saved.same(saved.restore(workdir, state), saved.at(state, 9))


def test_converted_weights(here, state):
  target, variables = f'{here.root}/converted', state.variables
  with here.refusing_writes(), pytest.raises(paths.StoreError):
    save_weights(target, saved.meta()['config'], variables)
  assert not is_checkpoint(target)
  save_weights(target, saved.meta()['config'], variables)
  found = load_weights(target)[1]['params']['conv']['kernel']
  np.testing.assert_array_equal(found, variables['params']['conv']['kernel'])
