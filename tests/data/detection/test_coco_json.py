import copy
import json
import logging
import pathlib

import numpy as np
import pytest

from ecanet_jax.data.detection import coco_json
from ecanet_jax.data.detection.coco_split import CocoFolderSplit
from ecanet_jax.data.detection.settings import Settings
from ecanet_jax.runtime.errors import UserError
from tests.support import coco_files

SMALL = Settings(32, 48, ((32, 48), (48, 32)), 4, 'crops', 16, min_side=8)


def read(tmp_path, content, *, with_masks=True, max_boxes=4, max_bad=0.0):
  file = tmp_path / 'coco.json'
  file.write_text(content if isinstance(content, str) else json.dumps(content))
  return coco_json.read(file, with_masks=with_masks, max_boxes=max_boxes, max_bad=max_bad)


def test_labels_have_no_gaps_and_crowds_are_not_trained_on(tmp_path):
  found = read(tmp_path, coco_files.small_content())
  assert [category.id for category in found.categories] == [1, 3, 18]
  assert found.ids.tolist() == [70, 5, 9]
  assert found.sizes.tolist() == [[40, 60], [64, 48], [40, 60]]
  first, second, empty = found.instances
  assert first.labels.tolist() == [0, 2] and second.labels.tolist() == [1]
  np.testing.assert_array_equal(first.boxes, [[2, 3, 22, 33], [30.5, 10.25, 50.5, 30.25]])
  assert len(first.segmentations) == 2
  assert empty.boxes.shape == (0, 4) and not len(empty.labels)


def test_box_may_leave_its_image_by_a_pixel(tmp_path):
  content = coco_files.small_content()
  content['annotations'] = [coco_files.annotation(1, 9, 1, [-0.5, 0, 61, 40])]
  found = read(tmp_path, content)
  np.testing.assert_array_equal(found.instances[2].boxes, [[0, 0, 60, 40]])


WRONG = {
  'outside': ({'bbox': [50, 5, 20, 20]}, 'with a bbox outside of the image'),
  'inverted': ({'bbox': [30, 30, -10, -10]}, 'with an inverted bbox'),
  'empty': ({'bbox': [3, 3, 0, 10]}, 'with an empty bbox'),
  'beside': ({'bbox': [60, 3, 1, 10]}, 'with an empty bbox'),
  'nan': ({'bbox': [3, float('nan'), 5, 10]}, 'with a bbox that is not finite'),
  'short': ({'bbox': [3, 5, 10]}, 'with no bbox of four numbers'),
  'none': ({'bbox': None}, 'with no bbox of four numbers'),
  'category': ({'category_id': 2}, 'of unknown categories'),
  'image': ({'image_id': 2}, 'of unknown images'),
  'mask': ({'segmentation': [[1, 2, 3, 4]]}, 'without a mask that is polygons or run lengths'),
  'text': ({'segmentation': [['a', 2, 3, 4, 5, 6]]}, 'without a mask'),
  'size': ({'segmentation': {'size': [4, 4], 'counts': [16]}}, 'without a mask'),
}


@pytest.mark.parametrize('change, text', WRONG.values(), ids=WRONG)
def test_wrong_annotation_is_named(tmp_path, change, text):
  content = coco_files.small_content()
  content['annotations'][1].update(change)
  with pytest.raises(UserError) as error:
    read(tmp_path, content)
  message = str(error.value)
  assert f'1 of 4 annotations are wrong, 1 {text}' in message
  assert ': 12 of image' in message and '\n' not in message
  assert message.endswith('--config.data.max_bad=0.25')


def test_wrong_annotations_are_counted_and_may_be_left_out(tmp_path, caplog):
  content = coco_files.small_content()
  content['annotations'][0]['bbox'][2] = -1
  content['annotations'][3]['bbox'][0] = float('nan')
  with pytest.raises(UserError, match=r'2 of 4 .*1 with an inverted.*; 1 with a bbox that is not'):
    read(tmp_path, content)
  with caplog.at_level(logging.WARNING):
    found = read(tmp_path, content, max_bad=0.5)
  assert 'They are left out' in caplog.text
  assert found.left_out == {11, 14}
  assert found.instances[0].labels.tolist() == [2]


def test_other_mistakes(tmp_path):
  content = coco_files.small_content()

  def changed(change):
    other = copy.deepcopy(content)
    change(other)
    return other

  without = changed(lambda one: [entry.pop('segmentation') for entry in one['annotations']])
  with pytest.raises(UserError, match='has no masks: none of the 4 annotations has a segmentation'):
    read(tmp_path, without)
  assert read(tmp_path, without, with_masks=False).instances[0].segmentations == ()
  with pytest.raises(UserError, match=r'1 images have more than max_boxes=1 objects, image 70 the '
                                      r'most, 2; set --config.detection.max_boxes=2'):
    read(tmp_path, content, max_boxes=1)
  with pytest.raises(UserError, match='category id 1 is there twice'):
    read(tmp_path, changed(lambda one: one['categories'].append({'id': 1, 'name': 'cow'})))
  with pytest.raises(UserError, match="image number 1 has no 'height'"):
    read(tmp_path, changed(lambda one: one['images'][1].pop('height')))
  with pytest.raises(UserError, match='has 0 x 48 pixels'):
    read(tmp_path, changed(lambda one: one['images'][1].update(height=0)))
  with pytest.raises(UserError, match='has 40 x wide pixels'):
    read(tmp_path, changed(lambda one: one['images'][0].update(width='wide')))
  with pytest.raises(UserError, match="the list 'annotations' has entries that are no objects"):
    read(tmp_path, changed(lambda one: one['annotations'].append(3)))
  with pytest.raises(UserError, match='has no images'):
    read(tmp_path, changed(lambda one: one.update(images=[])))
  with pytest.raises(UserError, match="has no list 'annotations'"):
    read(tmp_path, changed(lambda one: one.pop('annotations')))
  with pytest.raises(UserError, match='the COCO JSON cannot be read'):
    read(tmp_path, '{')
  with pytest.raises(UserError, match='cannot be read: No such file'):
    coco_json.load(pathlib.Path(tmp_path / 'other.json'))


def test_folder(tmp_path):
  content = coco_files.small_content()
  file = coco_files.write(tmp_path, content)
  split = CocoFolderSplit(file, str(tmp_path), SMALL)
  split.check()
  image, instances = split.load(0)
  assert image.shape == (40, 60, 3) and image[5, 5].tolist() == [220] * 3
  assert instances.labels.tolist() == [0, 2]
  assert split.trainable(SMALL).tolist() == [0, 1]
  assert split.trainable(Settings(empty='keep')).tolist() == [0, 1, 2]
  with pytest.raises(UserError, match='no image is left to train on: 1 of 3 have no objects, 3'):
    split.trainable(Settings(min_side=100))
  truth = split.ground_truth()
  assert len(truth['annotations']) == 4 and truth['annotations'][2]['iscrowd'] == 1


def test_images_that_do_not_fit(tmp_path):
  content = coco_files.small_content()
  file = coco_files.write(tmp_path, content)
  content['images'][1]['width'] = 50
  pathlib.Path(file).write_text(json.dumps(content))
  split = CocoFolderSplit(file, str(tmp_path), SMALL)
  with pytest.raises(UserError, match=r'1 of 3 images do not fit: b.png has 64 x 48 pixels'):
    split.check()
  with pytest.raises(UserError, match=r'b.png has 64 x 48 pixels, not 64 x 50'):
    split.load(1)
  (tmp_path / 'a.png').write_bytes(b'no image')
  with pytest.raises(UserError, match=r'2 of 3 images do not fit: a.png cannot be read'):
    split.check()
  (tmp_path / 'a.png').unlink()
  (tmp_path / 'c.png').unlink()
  with pytest.raises(UserError, match=r'2 of 3 images are not in .*: a.png, c.png; --config.data.'
                                      'data_dir=DIR'):
    CocoFolderSplit(file, str(tmp_path), SMALL)
