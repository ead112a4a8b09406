"""Checkpoints of one training: what is kept, and which step is the best."""

import numpy as np
import orbax.checkpoint as ocp
import pytest

from ecanet_jax.checkpoints.files import load_saved, load_weights, rank
from ecanet_jax.checkpoints.manager import Checkpoints
from ecanet_jax.runtime.errors import UserError
from tests.support import saved


@pytest.fixture(scope='module')
def state():
  return saved.fresh_state()


def save(workdir, state, scores, keep=1):
  """Saves a step for each score, None for a step without an evaluation."""
  checkpoints = Checkpoints(workdir, keep=keep)
  for step, score in enumerate(scores, start=1):
    checkpoints.save(step, saved.at(state, step).items(), saved.meta(), score)
  checkpoints.wait()
  checkpoints.close()


def kernel(workdir, step):
  return load_weights(workdir, ema=False, step=step)[1]['params']['conv']['kernel']


@pytest.mark.parametrize(('scores', 'best'), [
  ((0.3, 0.9, None, 0.5), 2), ((-2.0, -0.5, -1.0), 2),  # the second: of a metric that falls
])
def test_the_newest_and_the_best_are_kept(tmp_path, state, scores, best):
  save(tmp_path, state, scores)
  steps = sorted(int(path.name) for path in (tmp_path / 'checkpoints').glob('[0-9]*'))
  assert steps == [best, len(scores)]
  expected = saved.at(state, best).variables['params']['conv']['kernel']
  np.testing.assert_array_equal(kernel(tmp_path, 'best'), expected)


def test_the_best_of_an_older_version_has_a_top_1():
  assert rank({'top1': 0.7}) == 0.7 and rank({'score': -0.2}) == -0.2
  assert rank({}) == rank(None) == -np.inf


def test_best_step_among_old_and_new_checkpoints(tmp_path, state):
  save(tmp_path, state, (0.5,), keep=9)
  items = saved.at(state, 2).items()
  arguments = {name: ocp.args.StandardSave(tree) for name, tree in items.items()}
  options = ocp.CheckpointManagerOptions(best_fn=lambda metrics: metrics.get('top1', -1.0))
  with ocp.CheckpointManager(tmp_path / 'checkpoints', options=options) as manager:
    manager.save(
      2, args=ocp.args.Composite(**arguments, meta=ocp.args.JsonSave(saved.meta())),
      metrics={'top1': 0.8},
    )
  expected = saved.at(state, 2).variables['params']['conv']['kernel']
  with pytest.raises(UserError, match=r'manifest\.json is missing'):  # not ours, behind ours
    kernel(tmp_path, 'best')
  (tmp_path / 'checkpoints' / '1' / 'manifest.json').unlink()
  np.testing.assert_array_equal(kernel(tmp_path, 'best'), expected)


def test_metrics_of_the_loaded_weights(tmp_path, state):
  checkpoints = Checkpoints(tmp_path, keep=2)
  for step in (1, 2):
    meta = {**saved.meta(), 'last': {'step': 1, 'top1': 0.5}}
    checkpoints.save(step, saved.at(state, step).items(), meta, None)
  checkpoints.wait()
  checkpoints.close()
  assert load_saved(tmp_path, step=1).metrics == {'step': 1, 'top1': 0.5}
  assert load_saved(tmp_path, step=2).metrics == {}  # not evaluated
  assert load_saved(tmp_path, step=1, ema=False).metrics == {}  # the average was


def test_average_and_config_must_agree(tmp_path, state):
  save(tmp_path, state, (None,))
  checkpoints = Checkpoints(tmp_path, keep=1)
  like = {name: tree for name, tree in state.items().items() if name != 'ema'}
  with pytest.raises(UserError, match=r'has an EMA and the config asks for no EMA \(ema\.decay\)'):
    checkpoints.restore(1, like, None)
  checkpoints.close()
