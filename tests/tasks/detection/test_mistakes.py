"""What is said to a config of a detector that cannot be, before anything is trained."""

import json

import pytest

from configs import smoke
from ecanet_jax.config import schema
from ecanet_jax.detection.from_config import create_from_config
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.tasks.choice import open_data
from tests.support import coco_files, small_detector

BAD = [
  ('detection.buckets', ((32, 64),), 'detection: buckets=((32, 64),): none holds an image of'),
  ('detection.buckets', ((800, 1333),), 'detection.buckets=((800, 1333),) must be pairs of a heig'),
  ('detection.buckets', (800, 1344), 'detection.buckets=(800, 1344) must be pairs of a height and'),
  ('detection.longer', 32, 'detection: longer=32 must not be less than shorter=64'),
  ('detection.shorter', 0, 'detection.shorter=0 must be at least 1'),
  ('detection.max_boxes', 4, 'max_boxes=4: a digit scene has up to 8 objects; set --config.detec'),
  ('detection.masks', 'crop', "unknown form of masks (masks) 'crop'. Did you mean 'crops'"),
  ('detection.empty', 'dropp', "(empty) 'dropp'. Did you mean 'drop'"),
  ('detection.scale', (1.5, 0.5), 'detection.scale=(1.5, 0.5) must not fall'),
  ('detection.eval_scenes', 0, 'detection.eval_scenes=0 must be at least 1'),
  ('data.source', 'scene', "unknown source (data.source) 'scene'. Did you mean 'scenes'"),
  ('data.source', 'tfds', "is a detector, and data.source='tfds' has no boxes; set --config.data"),
  ('data.source', 'coco', "data.train_json is missing: data.source='coco' needs the COCO JSON of"),
  ('mix.mixup_alpha', 0.2, 'mix.mixup_alpha=0.2 has no effect on a detector: set it to its defau'),
  ('data.resident', True, '--config.data.resident=False'),
  ('export', True, 'export=True has no effect on a detector'),
]


@pytest.mark.parametrize(('key', 'value', 'said'), BAD)
def test_data(key, value, said):
  config = small_detector.configured(**{key: value})
  with pytest.raises(UserError) as caught:
    schema.check(config)
    open_data(config)
  assert said in str(caught.value) and '\n' not in str(caught.value)


BAD_NETWORKS = [
  ({'model.name': 'mask_rcnn'}, "unknown model 'mask_rcnn'. Did you mean"),
  ({'model.backbone': 'resnet-18'}, "'resnet18'"),
  ({'model.backbone': 'inception_resnet_v2', 'model.depths': None, 'model.planes': None},
   'InceptionResNetV2 has no stage of stride'),
  ({'model.detector.preset': 'mmdet'}, "unknown detection preset 'mmdet'. Did you mean 'mmdet1'"),
  ({'model.detector.coarse': 'p6'}, "unknown coarse 'p6'. Did you mean 'p5'"),
  ({'model.detector.coarse': 'p5'}, "coarse='p5' makes 6 levels, and this detector has anchors for "
   "5; choose coarse='pool'."),
  ({'model.name': 'retinanet_r50_fpn', 'model.detector.coarse': 'pool'},
   "coarse='pool' makes 4 levels, and this detector has anchors for 5; choose coarse='c5' or c"),
  ({'model.attention.kind': 'ecca'}, "unknown attention.kind 'ecca'. Did you mean 'eca'"),
]


@pytest.mark.parametrize(('changes', 'said'), BAD_NETWORKS)
def test_networks(changes, said):
  with pytest.raises(UserError) as caught:
    create_from_config(small_detector.configured(**changes).model)
  assert said in str(caught.value)


def test_coarse_levels_of_retinanet():
  """Those of the preset, or each by its own key."""
  for changes, expected in (
    ({'preset': 'torchvision'}, ('p5', True)),
    ({'preset': 'mmdet1'}, ('c5', False)),
    ({'preset': 'torchvision', 'coarse': 'c5', 'relu_before_p7': False}, ('c5', False)),
  ):
    config = small_detector.configured(**{
      'model.name': 'retinanet_r50_fpn',
      **{f'model.detector.{key}': value for key, value in changes.items()}})
    preset = create_from_config(config.model).preset
    assert (preset.coarse, preset.relu_before_p7) == expected


def test_a_classification_network_has_no_boxes():
  config = smoke.get_config()
  config.model.backbone = 'resnet18'
  with pytest.raises(UserError, match=r'model.backbone=resnet18 is for detectors, and .* is none'):
    create_from_config(config.model)
  config.model.backbone, config.data.source = None, 'scenes'
  with pytest.raises(UserError, match=r"data.source='scenes' has boxes for detectors"):
    open_data(config)


@pytest.mark.parametrize(('change', 'said'), [
  ({'bbox': [5, 5, -3, 4]}, '1 of 4 annotations are wrong, 1 with an inverted bbox'),
  ({'bbox': [50, 5, 30, 4]}, 'with a bbox outside of the image'),
  ({'bbox': [5, 5, 0, 4]}, 'with an empty bbox'),
  ({'bbox': [5, float('nan'), 3, 4]}, 'with a bbox that is not finite'),
  ({'category_id': 2}, 'of unknown categories'),
  ({'segmentation': []}, 'without a mask'),
])
def test_annotations_are_counted_and_named(tmp_path, change, said):
  content = coco_files.small_content()
  file = coco_files.write(tmp_path, content)
  content['annotations'][0].update(change)
  (tmp_path / 'coco.json').write_text(json.dumps(content))
  with pytest.raises(UserError) as caught:
    open_data(coco_config(tmp_path, file))
  assert said in str(caught.value) and '11 of image 70' in str(caught.value)
  assert '\n' not in str(caught.value)


def test_masks_and_images_that_are_missing(tmp_path):
  content = coco_files.small_content()
  file = coco_files.write(tmp_path, content)
  (tmp_path / 'b.png').unlink()
  with pytest.raises(UserError, match=r'1 of 3 images are not in .*: b.png'):
    open_data(coco_config(tmp_path, file))
  for annotation in content['annotations']:
    del annotation['segmentation']
  coco_files.write(tmp_path, content)
  with pytest.raises(UserError, match='has no masks: none of the 4 annotations has a segmentation'):
    open_data(coco_config(tmp_path, file))
  boxes_alone = coco_config(tmp_path, file, **{'model.name': 'faster_rcnn_r50_fpn'})
  assert open_data(boxes_alone).info.num_classes == 3


def test_more_objects_than_rows(tmp_path):
  """Said when the data are opened, which is before anything is trained."""
  content = coco_files.small_content()
  content['annotations'] += [
    coco_files.annotation(100 + number, 5, 3, [4, 8, 40, 50]) for number in range(100)]
  file = coco_files.write(tmp_path, content)
  with pytest.raises(UserError) as caught:
    open_data(coco_config(tmp_path, file, **{'detection.max_boxes': 100}))
  assert str(caught.value) == (
    f'{file}: 1 images have more than max_boxes=100 objects, image 5 the most, 101; set '
    '--config.detection.max_boxes=101')
  assert open_data(coco_config(tmp_path, file, **{'detection.max_boxes': 101})).num_train == 2


def coco_config(folder, file, **changes):
  """A config that reads these files, with and without a folder for each split."""
  return small_detector.configured(**{
    'model.num_classes': 3, 'data.source': 'coco', 'data.data_dir': str(folder),
    'data.train_json': file, 'data.eval_json': file, **changes,
  })
