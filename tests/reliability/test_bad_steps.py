"""Steps that are not finite change nothing: in the compiled step, and in a whole training."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import smoke
from ecanet_jax import data
from ecanet_jax.runtime import sharding
from ecanet_jax.tasks import choice
from ecanet_jax.tasks.classification import Classification
from ecanet_jax.training import trainer
from ecanet_jax.training.faults.nonfinite import NonFiniteCounter, NonFiniteError
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.training.optimizer import make_optimizer
from ecanet_jax.training.schedule import make_schedule
from ecanet_jax.training.state import init_state
from ecanet_jax.training.step import make_train_step
from tests.support import saved
from tests.support.runs import arrays

KINDS = ('image', 'loss', 'gradient', 'statistics')


class Poisoned(Classification):
  """A task whose batch says by which of KINDS it is spoiled: `spoiled`, float [B, 4]."""

  def inputs(self, batch):
    by = batch['spoiled'][0]
    factor = jnp.where(by[0] > 0, jnp.nan, jnp.where(by[3] > 0, 1e25, 1.0))
    return super().inputs(batch) * factor

  def loss(self, outputs, batch):
    by = batch['spoiled'][0]
    loss = super().loss(jnp.where(by[3] > 0, 0 * outputs, outputs), batch)
    # 0, with a gradient of 0 * infinity if it is spoiled.
    nothing = 0 * jnp.sqrt(jnp.where(by[2] > 0, 0 * outputs.sum(), 1.0))
    return jnp.where(by[1] > 0, jnp.inf, loss) + nothing


@pytest.fixture(scope='module')
def training():
  """A compiled step of a small network, a fresh state of it and batches."""
  config = smoke.get_config()
  config.data.image_size, config.batch_size = 16, 16
  model, mesh = saved.Small(), sharding.make_mesh(1)
  schedule = make_schedule(config, 8, 64)
  tx, task = make_optimizer(config, schedule), Poisoned(config)
  start = lambda: init_state(model, tx, config, task.example(), mesh)
  step = make_train_step(model, task, tx, schedule, config, mesh)
  batches = list(data.open(config).train(0, 5))
  clean = np.zeros((16, len(KINDS)), np.float32)
  place = lambda batch, spoiled: sharding.put_batch({**batch, 'spoiled': spoiled}, mesh)
  compiled = step.lower(start(), place(batches[0], clean)).compile(compiler_options=saved.QUICK)

  def run(state, number, kind=''):
    spoiled = clean + np.array([kind == name for name in KINDS], np.float32)
    return compiled(state, place(batches[number], spoiled))

  return start, run


@pytest.mark.parametrize('kind', KINDS)
def test_a_bad_step_changes_nothing(training, kind):
  start, run = training
  state, metrics = run(start(), 0)
  assert float(metrics['left_out']) == 0
  before = jax.device_get(state)
  state, metrics = run(state, 1, kind)
  assert float(metrics['left_out']) == 1
  assert saved.same(before.replace(step=np.int32(2)), state)
  # From here on it is the run without that step's update.
  expected = jax.device_put(before.replace(step=np.int32(2)), sharding.replicated(saved.MESH))
  for number in (2, 3):
    state, metrics = run(state, number)
    expected, _ = run(expected, number)
    assert float(metrics['left_out']) == 0
  assert saved.same(jax.device_get(expected), state)
  assert np.isfinite(optax.tree.norm(jax.device_get(state.variables)))


def test_what_is_counted():
  good, bad = ({'left_out': left, 'loss': 1.0, 'grad_norm': 1.0} for left in (0.0, 1.0))
  guard = NonFiniteCounter(2)
  assert guard.add((1, 2, 3, 4), (bad, bad, good, bad)) == 3
  assert (guard.total, guard.row) == (3, 1)
  again = NonFiniteCounter(2)
  again.restore(guard.meta())
  assert again.add((5,), (bad,)) == 1
  with pytest.raises(NonFiniteError, match=r'^step 6: loss 1\.0, .* 3 steps in a row; stopped$'):
    again.add((6,), (bad,))


def small():
  config = smoke.get_config()
  config.epochs, config.batch_size, config.log_steps = 1.0, 32, 1
  config.tensorboard, config.data.image_size, config.eval_epochs = False, 16, 0.0
  return config


def test_eleven_in_a_row_stop_with_a_dump(tmp_path):
  config = small()
  config.schedule.lr, config.schedule.warmup_epochs, config.save_epochs = 1e30, 0.0, 0.5
  with pytest.raises(NonFiniteError, match=r'^step 12: loss .* 11 steps in a row; ') as error:
    trainer.Trainer(config, tmp_path).run()
  assert '\n' not in str(error.value) and 'dump_12 has the batch' in str(error.value)
  assert not list((tmp_path / 'checkpoints').glob('[0-9]*'))  # 8 was due, in the middle of it
  report = json.loads((tmp_path / 'dump_12' / 'report.json').read_text())
  assert report['step'] == 12 and report['config']['schedule']['lr'] == 1e30
  assert report['metrics']['12']['left_out'] == 1.0 and report['arrays']
  expected = next(data.open(config).train(11, 1))
  with np.load(tmp_path / 'dump_12' / 'batch.npz') as batch:
    np.testing.assert_array_equal(batch['image'], expected['image'])
  assert [image['label'] for image in report['batch']] == expected['label'].tolist()
  assert sorted(report['batch'][0]) == [
    'index', 'label', 'max', 'mean', 'min', 'not_finite', 'std'
  ]


@pytest.mark.slow
def test_a_training_with_a_bad_batch(tmp_path, monkeypatch):
  """Step 7 of 16 is bad: the end is that of the same training without that step's update."""
  config = small()
  config.save_epochs, config.batch_size = 0.25, 32
  bad = next(data.open(config).train(6, 1))['label']

  class Bad(Classification):
    def loss(self, outputs, batch):
      hit = (batch['label'] == jnp.asarray(bad)).all()
      return jnp.where(hit, jnp.nan, super().loss(outputs, batch))

  monkeypatch.setattr(choice, 'Classification', Bad)
  trainer.Trainer(config, tmp_path / 'whole').run()
  by_step = {line['step']: line for line in read_metrics(tmp_path / 'whole') if 'train/lr' in line}
  assert by_step[7]['train/left_out'] == 1 and 'train/loss' not in by_step[7]
  assert 'train/left_out' not in by_step[8] and sorted(by_step) == list(range(1, 17))

  compiled = trainer.make_train_step

  def without(*arguments, **keywords):
    """The step, after which the host itself puts the old state back."""
    step = compiled(*arguments, **keywords)

    def run(state, batch):
      old = jax.device_get(state)
      state, metrics = step(state, batch)
      if int(old.step) == 6:
        metrics = {**metrics, 'left_out': 0 * metrics['left_out']}
        state = jax.device_put(old.replace(step=np.int32(7)), state.step.sharding)
      return state, metrics

    run.lower = step.lower
    return run

  monkeypatch.setattr(trainer, 'make_train_step', without)
  monkeypatch.setattr(jax, 'transfer_guard', lambda _: jax.named_scope('no guard'))
  trainer.Trainer(config, tmp_path / 'without').run()
  ours, theirs = arrays(tmp_path / 'whole'), arrays(tmp_path / 'without')
  assert ours.keys() == theirs.keys()
  assert not [key for key in theirs if not np.array_equal(ours[key], theirs[key])]
  # Killed after the bad step and started again, the counts go on.
  monkeypatch.setattr(trainer, 'make_train_step', compiled)
  for step in ('16', '12'):
    shutil.rmtree(tmp_path / 'whole' / 'checkpoints' / step, ignore_errors=True)
  again = trainer.Trainer(config, tmp_path / 'whole')
  again.run()
  assert (again.nonfinite.total, again.nonfinite.row) == (1, 0)
  ours = arrays(tmp_path / 'whole')
  assert not [key for key in theirs if not np.array_equal(ours[key], theirs[key])]
