"""COCO through TFDS's own builder, on generated archives; also in a training."""

import json
import math

import numpy as np
import pytest

from ecanet_jax.data.detection.dataset import DetectionDataset
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.runtime import sharding
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.training.trainer import Trainer
from tests.support import coco_zips, small_detector
from tests.support.prepare import run_prepare

pytestmark = pytest.mark.slow

SETTINGS = Settings(48, 64, ((48, 64), (64, 48)), 8, 'crops', 16, flip=False)


@pytest.fixture(scope='module')
def coco(tmp_path_factory):
  from tensorflow_datasets.core.download import checksums
  from tensorflow_datasets.object_detection.coco import Coco

  root = tmp_path_factory.mktemp('coco')
  contents = coco_zips.write_zips(root / 'manual')
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(Coco, 'url_infos', {
      url: checksums.UrlInfo(size=size, checksum=digest, filename=name)
      for url, (size, digest, name) in coco_zips.checksums(root / 'manual').items()
    })
    run_prepare(
      '--dataset=coco/2017', f'--data_dir={root / "tfds"}', f'--manual_dir={root / "manual"}',
      '--file_format=array_record',
    )
  return root, contents


def test_images_and_annotations_are_joined(coco, capsys):
  from ecanet_jax.data.detection.tfds_coco import TfdsCocoSplit

  root, contents = coco
  assert run_prepare('--dataset=coco/2017', f'--data_dir={root / "tfds"}') == 0
  printed = capsys.readouterr().out
  assert 'coco train: 5 images, 4 objects, 5 images decoded, ok' in printed
  assert 'coco test: 2 images, 0 objects' in printed

  def split(name, file, part=''):
    return TfdsCocoSplit(
      'coco/2017', str(root / 'tfds'), f'{name}{part}',
      str(root / 'manual' / f'instances_{file}2017.json'), SETTINGS,
    )

  train, val = split('train', 'train'), split('validation', 'val')
  truth = {image['id']: image for image in contents['train']['images']}
  assert sorted(train.ids) == sorted(truth)
  train.check()
  objects = 0
  for index, number in enumerate(train.ids):
    image, instances = train.load(index)
    assert image.shape[:2] == (truth[number]['height'], truth[number]['width'])
    own = [entry for entry in contents['train']['annotations']
           if entry['image_id'] == number and not entry['iscrowd']]
    np.testing.assert_allclose(
      instances.boxes, np.array([
        (x, y, x + width, y + height) for x, y, width, height in (one['bbox'] for one in own)
      ]).reshape(-1, 4), rtol=0, atol=1e-5)
    assert [train.categories[label].id for label in instances.labels] == [
      one['category_id'] for one in own]
    assert len(instances.segmentations) == len(own)
    objects += len(own)
  assert objects == 3  # one of four is a crowd
  assert len(train.ground_truth()['annotations']) == 4

  data = DetectionDataset(SETTINGS, train, val, batch_size=1, seed=0)
  batches = list(data.train(0, 4))
  assert {batch['image'].shape for batch in batches} == {(1, 48, 64, 3), (1, 64, 48, 3)}
  batches, steps = data.eval()
  assert steps == 3 and sorted(int(batch['index'][0]) for batch in batches) == [0, 1, 2]

  assert len(split('train', 'train', '[:2]').ground_truth()['images']) == 2
  with pytest.raises(UserError, match='does not name 5 of the 5 images of coco/2017 train; its '
                                      r'JSON is instances_train2017.json'):
    split('train', 'val')
  with pytest.raises(UserError, match=r'prepare --dataset=coco/2017 --data_dir=.*/other '
                                      '--file_format=array_record'):
    TfdsCocoSplit('coco/2017', str(root / 'other'), 'train',
                  str(root / 'manual' / 'instances_train2017.json'), SETTINGS)
  json.dumps(val.ground_truth())


def test_a_training_has_losses_and_numbers_of_masks(coco, tmp_path, monkeypatch):
  """Two steps of a Mask R-CNN and an evaluation, by the trainer."""
  root, contents = coco
  make_mesh = sharding.make_mesh
  monkeypatch.setattr(sharding, 'make_mesh', lambda devices=1: make_mesh(devices))
  config = small_detector.configured(**{
    'steps': 2, 'batch_size': 2, 'model.num_classes': 80, 'data.source': 'coco_tfds',
    'data.name': 'coco/2017', 'data.data_dir': str(root / 'tfds'), 'data.train_split': 'train',
    'data.eval_split': 'validation',
    'data.train_json': str(root / 'manual' / 'instances_train2017.json'),
    'data.eval_json': str(root / 'manual' / 'instances_val2017.json'),
  })
  trainer = Trainer(config, tmp_path)
  assert trainer.info.label_names[0] == contents['val']['categories'][0]['name']
  trainer.run()
  lines = read_metrics(tmp_path)
  losses = [line['train/loss_mask'] for line in lines if 'train/loss_mask' in line]
  assert len(losses) == 2 and all(map(math.isfinite, losses))
  assert lines[-1]['eval/seen'] == 3 and {'eval/box_ap50', 'eval/mask_ap50'} <= set(lines[-1])
