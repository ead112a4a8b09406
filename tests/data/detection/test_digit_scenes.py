import json

import numpy as np
import pytest

from ecanet_jax.data.detection import coco_dict, digit_scenes
from ecanet_jax.data.detection.coco_split import CocoFolderSplit
from ecanet_jax.data.detection.dataset import DetectionDataset
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.data.sources import in_memory
from ecanet_jax.runtime.errors import UserError
from tests.support import coco_files

SETTINGS = Settings(128, 128, ((128, 128),), 8, 'crops', 28, flip=False)


def test_boxes_are_tight_and_apart():
  counts = []
  for index in range(30):
    scene = digit_scenes.scene('train', 0, index)
    assert scene.image.shape == (128, 128, 3) and scene.image.dtype == np.uint8
    counts.append(len(scene.labels))
    assert scene.masks.sum(axis=0).max() == 1
    covered = np.zeros((128, 128), int)
    for box, mask in zip(scene.boxes.astype(int), scene.masks):
      y, x = np.nonzero(mask)
      assert box.tolist() == [x.min(), y.min(), x.max() + 1, y.max() + 1]
      covered[box[1] : box[3], box[0] : box[2]] += 1
    assert covered.max() == 1
  assert min(counts) == 1 and max(counts) >= 7


def test_scene_is_a_function_of_split_seed_and_number():
  scene = digit_scenes.scene('validation', 5, 17)
  for name in ('image', 'boxes', 'labels', 'masks'):
    np.testing.assert_array_equal(
      getattr(scene, name), getattr(digit_scenes.scene('test', 5, 17), name)
    )
  for other in (('train', 5, 17), ('validation', 6, 17), ('validation', 5, 18)):
    assert (digit_scenes.scene(*other).image != scene.image).any()
  # Known values: the scenes of a version are those of the next.
  assert scene.labels.tolist() == LABELS
  np.testing.assert_array_equal(scene.boxes[0], BOX)


LABELS, BOX = [4, 0, 0], [66, 67, 87, 97]


def test_training_and_evaluation_have_different_digits():
  train, test = in_memory.digits()
  scans = {scan.tobytes() for scan in train['image']}
  assert len(train['image']) == 1437 and len(test['image']) == 360
  assert len([scan for scan in test['image'] if scan.tobytes() in scans]) == 0


def test_written_as_coco_and_read_again(tmp_path):
  split = digit_scenes.SceneSplit('validation', 0, 6)
  file = coco_dict.write(split, tmp_path)
  assert json.loads(file.read_text()) == split.ground_truth()
  again = CocoFolderSplit(str(file), str(tmp_path / 'images'), SETTINGS)
  again.check()
  assert again.categories == split.categories
  for index in range(6):
    for one, other in zip(split.load(index), again.load(index)):
      if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
      else:
        np.testing.assert_array_equal(one.boxes, other.boxes)
        np.testing.assert_array_equal(one.labels, other.labels)
        assert one.segmentations == other.segmentations


def test_mistakes():
  with pytest.raises(UserError, match="unknown split of digit scenes 'val'"):
    digit_scenes.scene('val', 0, 0)
  with pytest.raises(UserError, match='0 digit scenes are none'):
    digit_scenes.SceneSplit('train', 0, 0)
  with pytest.raises(UserError, match='max_boxes=4: a digit scene has up to 8 objects'):
    digit_scenes.SceneSplit('train', 0, 1).trainable(Settings(max_boxes=4))


def test_batches_resume_and_hosts_share_them():
  train = digit_scenes.SceneSplit('train', 0, 11)
  data = DetectionDataset(
    SETTINGS, train, digit_scenes.SceneSplit('validation', 0, 5), batch_size=4, seed=1, threads=2
  )
  assert data.num_train == 11 and len(data.categories) == 10
  batches = list(data.train(0, 5))
  assert {name: (array.shape, array.dtype.name) for name, array in batches[0].items()} == {
    'image': ((4, 128, 128, 3), 'uint8'), 'image_size': ((4, 2), 'int32'),
    'scale': ((4, 2), 'float32'), 'boxes': ((4, 8, 4), 'float32'), 'labels': ((4, 8), 'int32'),
    'valid': ((4, 8), 'bool'), 'masks': ((4, 8, 28, 28), 'uint8'), 'index': ((4,), 'int32'),
  }
  resumed = list(data.train(3, 2))
  shares = [list(data.train(3, 2, host=host, num_hosts=2)) for host in range(2)]
  for step in range(2):
    for name, array in batches[3 + step].items():
      np.testing.assert_array_equal(array, resumed[step][name])
      np.testing.assert_array_equal(array, np.concatenate([share[step][name] for share in shares]))


def test_evaluation_pads_the_last_batch():
  split = digit_scenes.SceneSplit('validation', 0, 5)
  data = DetectionDataset(SETTINGS, split, split, batch_size=2, seed=1)
  batches, steps = data.eval(batch_size=4)
  batches = list(batches)
  assert len(batches) == steps == 2
  mask = np.concatenate([batch['mask'] for batch in batches])
  assert np.concatenate([batch['index'] for batch in batches])[mask].tolist() == [0, 1, 2, 3, 4]
  assert set(batches[0]) == {'image', 'image_size', 'scale', 'index', 'mask'}
  assert not batches[1]['image'][1:].any()
  with pytest.raises(UserError, match='multiple of the number of hosts'):
    data.eval(batch_size=3, num_hosts=2)
  with pytest.raises(UserError, match='must not be negative'):
    data.train(-1)


def test_splits_need_the_same_categories(tmp_path):
  content = coco_files.small_content()
  settings = Settings(32, 48, ((32, 48), (48, 32)), 8, min_side=8)

  def split(name):
    file = coco_files.write(tmp_path / name, content)
    return CocoFolderSplit(file, str(tmp_path / name), settings)

  train = split('one')
  content['categories'] = [*content['categories'], {'id': 20, 'name': 'cow'}]
  other = split('two')
  with pytest.raises(UserError, match=r"one/coco.json has nothing where .*two/coco.json has 20 'c"):
    DetectionDataset(settings, train, other, batch_size=2, seed=0)
  data = DetectionDataset(settings, train, train, batch_size=1, seed=0)
  data.check()
  shapes = {batch['image'].shape for batch in data.train(0, 4)}
  assert shapes == {(1, 32, 48, 3), (1, 48, 32, 3)}
  # A damaged image stops the training with its name.
  (tmp_path / 'one' / 'b.png').write_bytes(b'no image')
  with pytest.raises(UserError, match=r'b.png: it is no image'):
    list(data.train(0, 4))
