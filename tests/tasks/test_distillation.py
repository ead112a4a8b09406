"""Distillation: losses against PyTorch, a network that teaches itself, resuming, mistakes."""

import dataclasses
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax.traverse_util import flatten_dict

from configs import smoke
from ecanet_jax import cli, data
from ecanet_jax.checkpoints.files import load_weights
from ecanet_jax.checkpoints.manager import Checkpoints
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.distillation import Teacher, hard_loss, soft_loss
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.training.trainer import Trainer


def test_losses_are_those_of_pytorch():
  random = np.random.RandomState(0)
  student, teacher = 3 * random.randn(2, 8, 5).astype(np.float32)
  ours = soft_loss(jnp.asarray(student), jnp.asarray(teacher), 4.0)
  theirs = 16 * torch.nn.functional.kl_div(
    torch.log_softmax(torch.tensor(student) / 4, -1), torch.softmax(torch.tensor(teacher) / 4, -1),
    reduction='batchmean',
  )
  assert float(ours) == pytest.approx(theirs.item(), rel=1e-6, abs=1e-6)
  hard = torch.nn.functional.cross_entropy(torch.tensor(student), torch.tensor(teacher).argmax(-1))
  found = hard_loss(jnp.asarray(student), jnp.asarray(teacher), 4.0)
  assert float(found) == pytest.approx(hard.item(), rel=1e-6)
  same = jax.grad(lambda outputs: soft_loss(outputs, jnp.asarray(teacher), 4.0))
  np.testing.assert_allclose(same(jnp.asarray(teacher)), 0, atol=1e-7)


def small(teacher=''):
  config = smoke.get_config()
  config.batch_size, config.data.image_size, config.tensorboard = 64, 16, False
  config.epochs, config.eval_epochs, config.save_epochs, config.log_steps = 0.5, 0.0, 0.25, 1
  config.model.dropout = config.model.drop_path = 0.0
  config.schedule.warmup_epochs, config.ops.fold_batch_norm = 0.0, False
  config.distill.weights = str(teacher)
  return config


@pytest.fixture(scope='module')
def teacher(tmp_path_factory):
  """A training of 4 steps, whose weights teach."""
  workdir = tmp_path_factory.mktemp('teacher') / 'run'
  config = small()
  config.data.mean, config.data.std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
  Trainer(config, workdir).run()
  return workdir


def test_a_file_teaches_like_the_training(teacher, tmp_path):
  file = tmp_path / 'teacher.safetensors'
  assert cli.main(['convert', str(teacher), str(file)]) == 0
  config = small(file)
  config.distill.model = config.model.name
  info, mesh = data.open(config).info, sharding.make_mesh(1)
  found, expected = (Teacher(each, info, mesh, {16}) for each in (config, small(teacher)))
  assert found.checksum == expected.checksum


@pytest.fixture(scope='module')
def student(teacher, tmp_path_factory):
  """The config and workdir of a student that begins as its teacher, with frozen statistics."""
  config = small(teacher)
  config.init.weights, config.model.frozen_bn, config.distill.share = str(teacher), True, 1.0
  config.mix.mixup_alpha, config.ema.decay = 0.5, 0.0
  workdir = tmp_path_factory.mktemp('student') / 'run'
  trainer = Trainer(config, workdir)
  before = jax.device_get(trainer.teacher.variables)
  trainer.run()
  jax.tree.map(np.testing.assert_array_equal, jax.device_get(trainer.teacher.variables), before)
  return config, workdir, trainer


def test_a_network_that_is_its_own_teacher_has_nothing_to_learn(student):
  _, workdir, trainer = student
  first = next(line for line in read_metrics(workdir) if 'train/loss' in line)
  assert first['train/loss'] == pytest.approx(0, abs=1e-6)
  assert first['train/grad_norm'] == pytest.approx(0, abs=1e-5)
  # The teacher is not in the checkpoint, but for its checksum.
  checkpoints = Checkpoints(workdir, 2)
  meta = checkpoints.meta(checkpoints.latest())
  checkpoints.close()
  assert meta['teacher'] == trainer.teacher.checksum


def test_resuming_is_bit_identical(student, tmp_path):
  config, workdir, _ = student
  shutil.copytree(workdir, tmp_path / 'run')
  shutil.rmtree(tmp_path / 'run' / 'checkpoints' / '4')
  Trainer(config, tmp_path / 'run').run()
  (_, ours), (_, theirs) = (load_weights(place) for place in (tmp_path / 'run', workdir))
  jax.tree.map(np.testing.assert_array_equal, ours, theirs)


@pytest.mark.slow
def test_the_teacher_has_its_own_normalisation(teacher):
  config = small(teacher)
  dataset = data.open(config)
  found = Teacher(config, dataset.info, sharding.make_mesh(1), {16})
  image = np.random.RandomState(0).randint(0, 256, (4, 16, 16, 3)).astype(np.uint8)
  _, variables = load_weights(teacher)
  images = (image / np.float32(255) - np.float32([0.4, 0.5, 0.6])) / np.float32([0.2, 0.3, 0.4])
  expected = found._model.apply(variables, images.astype(np.float32), train=False)
  outputs = found.outputs(found.variables, {'image': jnp.asarray(image)})
  np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-5)
  flat = flatten_dict(jax.device_get(found.variables))
  assert {array.dtype for array in flat.values()} == {np.dtype('float32')}


def test_mistakes(teacher, student, tmp_path):
  def refused(text, workdir=tmp_path / 'run', **keys):
    config = small(teacher)
    config.update_from_flattened_dict({f'distill.{key}': value for key, value in keys.items()})
    with pytest.raises(UserError) as error:
      Trainer(config, workdir).run()
    assert text in str(error.value) and '\n' not in str(error.value)

  refused("unknown distill.kind 'sfot'. Did you mean 'soft'?", kind='sfot')
  refused('distill.temperature=0.0 must be above 0.', temperature=0.0)
  refused('distill.weights=no/where: no/where: no such file', weights='no/where')
  (tmp_path / 'w.npz').touch()
  refused('a file does not say which network it is of; give --config.distill.model=NAME',
          weights=str(tmp_path / 'w.npz'))
  config = small(teacher)
  info = data.open(config).info
  for change, text in (
    ({'num_classes': 7}, 'the teacher has 10 classes and the data set 7; give a teacher that'),
    ({'multi_label': True}, 'distillation is for one label per image: set --config.distill.weig'),
  ):
    with pytest.raises(UserError, match=text):
      Teacher(config, dataclasses.replace(info, **change), sharding.make_mesh(1), {16})
  # Another teacher than at the start.
  own_config, workdir, _ = student
  shutil.copytree(workdir, tmp_path / 'own')
  shutil.rmtree(tmp_path / 'own' / 'checkpoints' / '4')
  again = own_config.copy_and_resolve_references()
  again.distill.weights = str(workdir)
  with pytest.raises(UserError, match=r'is not the teacher with which .* was trained so far'):
    Trainer(again, tmp_path / 'own').run()
