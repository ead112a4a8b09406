"""Class folders change between a training and its resumption, evaluation or export."""

import json
import shutil

import pytest

from configs import smoke
from ecanet_jax.checkpoints import integrity
from ecanet_jax.checkpoints.files import load_saved
from ecanet_jax.data.summary import DataSummary
from ecanet_jax.data.types import DatasetInfo, Split
from ecanet_jax.evaluation.evaluate_weights import evaluate_weights
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training import resume
from ecanet_jax.training.trainer import Trainer
from ecanet_jax.weights import read_weights
from tests.support.image_folders import write_classes

CLASSES = ('ant', 'bee', 'cat')


def configured(images, **changes):
  config = smoke.get_config()
  config.update_from_flattened_dict({
    'epochs': 0.4, 'batch_size': 8, 'data.source': 'folder', 'data.data_dir': str(images),
    'data.eval_split': 'val', 'data.image_size': 16, 'model.num_classes': 3,
    'schedule.warmup_epochs': 0.0, 'tensorboard': False, 'export': True, **changes,
  })
  return config


@pytest.fixture(scope='module')
def one_device():
  with pytest.MonkeyPatch.context() as patch:
    mesh = sharding.make_mesh(1)
    patch.setattr(sharding, 'make_mesh', lambda: mesh)
    yield


@pytest.fixture(scope='module')
def trained(one_device, tmp_path_factory):
  """Two steps on 40 images of three classes: the images, the workdir."""
  root = tmp_path_factory.mktemp('trained')
  write_classes(root / 'images', dict(zip(CLASSES, (14, 13, 13), strict=True)))
  Trainer(configured(root / 'images'), root / 'run').run()
  return root / 'images', root / 'run'


@pytest.fixture
def images(trained, tmp_path):
  """A copy of the images, to change."""
  return shutil.copytree(trained[0], tmp_path / 'images')


@pytest.fixture
def workdir(trained, tmp_path):
  """A copy of the workdir."""
  return shutil.copytree(trained[1], tmp_path / 'run')


def rename(images, old, new):
  for split in ('train', 'val'):
    (images / split / old).rename(images / split / new)


def remove(images, name):
  for split in ('train', 'val'):
    shutil.rmtree(images / split / name)


def refusal(action, *arguments, **options):
  with pytest.raises(UserError) as error:
    action(*arguments, **options)
  assert '\n' not in str(error.value)
  return str(error.value)


def test_names_and_counts_are_saved_and_exported(trained):
  _, run = trained
  assert load_saved(run).data == {
    'num_classes': 3, 'label_names': list(CLASSES), 'train_images': 40, 'eval_images': 6,
    'multi_label': False,
  }
  assert json.loads((run / 'export' / 'config.json').read_text())['label_names'] == list(CLASSES)
  assert read_weights(run).label_names == read_weights(run / 'export').label_names == CLASSES


CHANGES = {
  'renamed': (lambda images: rename(images, 'bee', 'bug'), 3,
              "class 1 is 'bee' there and 'bug' in the data; gone: 'bee'; new: 'bug'."),
  'another order': (lambda images: rename(images, 'ant', 'doe'), 3,
                    "class 0 is 'ant' there and 'bee' in the data, 3 of 3 differ; gone: 'ant'; "
                    "new: 'doe'."),
  'removed': (lambda images: remove(images, 'cat'), 2,
              "3 classes there and 2 in the data; gone: 'cat'."),
  'added': (lambda images: write_classes(images, {'doe': 2}), 4,
            "3 classes there and 4 in the data; new: 'doe'."),
}


@pytest.mark.parametrize('name', CHANGES)
def test_other_classes_are_refused(name, images, workdir):
  change, classes, said = CHANGES[name]
  change(images)
  text = f'{workdir} was trained with other classes than the data have: {said}'
  accept = ' If they mean the same, add --config.data.accept_changes=True.' if classes == 3 else ''
  new = (
    ' For a new training that starts from its weights: another --workdir and '
    f'--config.init.weights={workdir}'
  )
  ending = f'{accept}{new}.'
  assert refusal(Trainer(configured(images, **{'model.num_classes': classes}), workdir).run) == (
    text + ending
  )
  if classes != 3:
    ending = f'{new} --config.model.num_classes={classes}.'
    for accepted in (False, True):
      config = configured(images, **{'data.accept_changes': accepted})
      assert refusal(Trainer, config, workdir) == text + ending
  for weights in (workdir, workdir / 'export'):
    assert refusal(evaluate_weights, configured(images), weights) == (
      f'{text.replace(str(workdir), str(weights), 1)}{accept} These weights can only be evaluated '
      'on data with their classes.'
    )


@pytest.mark.slow
def test_more_images_are_a_line_and_accepted_names_a_warning(images, workdir, heard):
  write_classes(images, {'ant': 17, 'bee': 16, 'cat': 16}, evaluation=3)
  rename(images, 'bee', 'bug')
  config = configured(images, **{'data.accept_changes': True, 'export': False, 'epochs': 0.5})
  Trainer(config, workdir).run()
  assert load_saved(workdir).data == {
    'num_classes': 3, 'label_names': ['ant', 'bug', 'cat'], 'train_images': 49, 'eval_images': 9,
    'multi_label': False,
  }
  assert [line for line in heard.messages if 'data have' in line] == [
    f"{workdir} was trained with other classes than the data have: class 1 is 'bee' there and "
    "'bug' in the data; gone: 'bee'; new: 'bug'. data.accept_changes=True accepts that.",
    'the data have changed since the checkpoint: train: 40 -> 49 images; eval: 6 -> 9 images; '
    'steps of an epoch: 5 -> 6.125; steps of the training: 2 -> 3',
  ]
  assert f'resumed at step 2 of 3 from {workdir}' in heard.messages


def test_fewer_steps_than_the_checkpoint_has(images, workdir, heard):
  config = configured(images, **{'export': False, 'epochs': 0.2})
  Trainer(config, workdir).run()
  assert (
    f'the checkpoint in {workdir} is of step 2, but the config ends at step 1: nothing is trained; '
    'for more steps set a larger --config.epochs or --config.steps'
  ) in heard.messages


def test_a_checkpoint_without_names_is_not_compared(images, workdir, heard):
  step = workdir / 'checkpoints' / '2'
  meta = json.loads((step / 'meta' / 'metadata').read_text())
  del meta['data']
  (step / 'meta' / 'metadata').write_text(json.dumps(meta))
  integrity.write(step)
  rename(images, 'bee', 'bug')
  Trainer(configured(images), workdir).run()
  assert [line for line in heard.messages if 'class names' in line] == [
    f"{workdir}: the checkpoint has no class names; they are not compared with the data's"
  ]


def test_several_labels_for_an_image(tmp_path):
  was = DataSummary(3, CLASSES, 40, 6)
  info = DatasetInfo(
    Split('train', 40, 3), Split('val', 6, 3), 3, CLASSES, True, multi_label=True
  )
  assert refusal(
    resume.check_data, tmp_path, was.to_json(), info, configured(tmp_path)
  ).startswith(
    f'{tmp_path} was trained with one label for an image and the data have any number of labels. '
    'For a new training'
  )


@pytest.mark.parametrize('section', [
  3, [], {}, {'num_classes': 2, 'label_names': ['a']}, {'num_classes': 1, 'label_names': [3]},
])
def test_a_damaged_section(section):
  assert refusal(DataSummary.from_json, section).startswith("the checkpoint's section 'data' is da")
