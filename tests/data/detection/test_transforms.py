import dataclasses

import numpy as np
import pytest

from ecanet_jax.data.detection import digit_scenes, masks, transforms
from ecanet_jax.data.detection.annotations import Instances
from ecanet_jax.data.detection.buckets import bucket_of, by_bucket, resized
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.runtime.errors import UserError

COCO = Settings()
SETTINGS = Settings(96, 128, ((96, 128), (128, 96)), 10, 'bitmaps')
CHANGES = {
  'resized': transforms.Change(),
  'mirrored': transforms.Change(flip=True),
  'smaller': transforms.Change(flip=True, factor=0.6),
  'cut': transforms.Change(factor=1.7, place=(0.3, 0.6)),
  'cut and mirrored': transforms.Change(flip=True, factor=1.5, place=(0.9, 0.2)),
}


@pytest.fixture(scope='module')
def example():
  """A wide image with rectangles and an ellipse, whose boxes are exact."""
  height, width = 150, 200
  rows, columns = np.mgrid[:height, :width]
  shapes = [
    (rows >= 20) & (rows < 70) & (columns >= 30) & (columns < 90),
    (rows >= 100) & (rows < 140) & (columns >= 120) & (columns < 190),
    ((rows - 60) / 40) ** 2 + ((columns - 140) / 30) ** 2 <= 1,
  ]
  boxes = []
  image = np.zeros((height, width, 3), np.uint8)
  for place, shape in enumerate(shapes):
    y, x = np.nonzero(shape)
    boxes.append((x.min(), y.min(), x.max() + 1, y.max() + 1))
    image[shape, place] = 255
  return image, Instances(
    np.array(boxes, np.float32), np.arange(3, dtype=np.int32), tuple(map(masks.encode, shapes))
  )


def box_iou(one, other):
  corner = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
  shared = np.prod(np.clip(corner, 0, None))
  return shared / (np.prod(one[2:] - one[:2]) + np.prod(other[2:] - other[:2]) - shared)


@pytest.mark.parametrize('change', CHANGES.values(), ids=CHANGES)
def test_boxes_masks_and_pixels_move_together(example, change):
  arrays = transforms.prepare(*example, SETTINGS, 0, change)
  height, width = arrays['image_size']
  assert arrays['image'].shape == (96, 128, 3) and arrays['masks'].shape == (10, 96, 128)
  assert not arrays['image'][height:].any() and not arrays['image'][:, width:].any()
  kept = np.flatnonzero(arrays['valid'])
  assert len(kept) >= 2 and not arrays['boxes'][~arrays['valid']].any()
  crops = transforms.prepare(
    *example, dataclasses.replace(SETTINGS, masks='crops', mask_size=64), 0, change
  )
  np.testing.assert_array_equal(crops['boxes'], arrays['boxes'])
  for row in kept:
    box, mask = arrays['boxes'][row].astype(np.float64), arrays['masks'][row] == 255
    y, x = np.nonzero(mask)
    tight = np.array([x.min(), y.min(), x.max() + 1, y.max() + 1], np.float64)
    assert np.abs(tight - box).max() <= 1.0
    if change.factor == 1.7:
      assert box_iou(tight, box) >= 0.95
    bright = arrays['image'][:, :, arrays['labels'][row]] >= 128
    assert np.sum(bright & mask) / np.sum(bright | mask) >= 0.97
    # The crop, looked up at the centre of each pixel of the box.
    inside = np.zeros_like(mask)
    rows, columns = np.mgrid[:96, :128] + 0.5
    cells = [(columns - box[0]) / (box[2] - box[0]) * 64, (rows - box[1]) / (box[3] - box[1]) * 64]
    within = (cells[0] >= 0) & (cells[0] < 64) & (cells[1] >= 0) & (cells[1] < 64)
    small = crops['masks'][row] >= 128
    inside[within] = small[cells[1][within].astype(int), cells[0][within].astype(int)]
    assert np.sum(inside & mask) / np.sum(inside | mask) >= 0.95


def test_whole_pixels_are_exact():
  settings = Settings(128, 128, ((128, 128),), 8, 'bitmaps')
  for index in range(5):
    scene = digit_scenes.scene('train', 0, index)
    image, instances = digit_scenes.SceneSplit('train', 0, 5).load(index)
    arrays = transforms.prepare(image, instances, settings, 0, transforms.Change(flip=True))
    count = len(scene.labels)
    np.testing.assert_array_equal(arrays['image'], scene.image[:, ::-1])
    np.testing.assert_array_equal(arrays['masks'][:count], scene.masks[:, :, ::-1] * 255)
    for box, mask in zip(arrays['boxes'][:count], arrays['masks'][:count]):
      y, x = np.nonzero(mask)
      assert box_iou(box, np.array([x.min(), y.min(), x.max() + 1, y.max() + 1])) == 1


def test_objects_that_are_cut_off_are_left_out(example):
  change = transforms.Change(factor=2.0)  # the upper left quarter
  arrays = transforms.prepare(*example, SETTINGS, 0, change)
  assert arrays['labels'][arrays['valid']].tolist() == [0]
  assert arrays['image_size'].tolist() == [96, 128]


def test_image_without_objects(example):
  nothing = Instances(np.zeros((0, 4), np.float32), np.zeros((0,), np.int32))
  arrays = transforms.prepare(example[0], nothing, SETTINGS, 0)
  assert not arrays['valid'].any() and not arrays['masks'].any()


def test_random_changes():
  settings = dataclasses.replace(SETTINGS, scale=(0.5, 1.5))
  change = transforms.draw(np.array([0.4, 0.25, 0.1, 0.9]), settings)
  assert change == transforms.Change(True, 0.75, (0.1, 0.9))
  assert not transforms.draw(np.zeros(4), dataclasses.replace(settings, flip=False)).flip


def test_every_image_of_coco_fits_one_of_two_buckets():
  random = np.random.RandomState(0)
  sizes = random.randint(30, 700, (2000, 2))
  for height, width in sizes.tolist():
    rows, columns = resized(height, width, COCO)
    bucket = bucket_of(height, width, COCO)
    assert min(rows, columns) <= 800 and max(rows, columns) <= 1333
    assert bucket == (0 if rows <= 800 else 1)
    assert abs(rows / columns - height / width) <= 0.06 * height / width or min(rows, columns) < 80
  assert resized(480, 640, COCO) == (800, 1067) and resized(500, 1000, COCO) == (667, 1333)
  parts = by_bucket(sizes, np.arange(0, 2000, 2), COCO)
  assert sorted(np.concatenate(parts).tolist()) == list(range(0, 2000, 2))


@pytest.mark.parametrize('values, text', [
  ({'buckets': ((800, 1344),)}, r'none holds an image of 1333 x 800 pixels; add \(1344, 800\)'),
  ({'longer': 700}, 'longer=700 must not be less than shorter=800'),
  ({'max_boxes': 0}, 'max_boxes=0 must be at least 1'),
  ({'scale': (1.0, 0.5)}, r'scale=\(1.0, 0.5\) must be two factors above 0'),
  ({'masks': 'crop'}, "unknown form of masks .* 'crop'. Did you mean 'crops'"),
  ({'empty': 'dropped'}, "'dropped'. Did you mean 'drop'"),
])
def test_settings_that_do_not_fit(values, text):
  with pytest.raises(UserError, match=text):
    Settings(**values)
