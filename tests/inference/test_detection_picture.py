import numpy as np

from ecanet_jax.data.detection import digit_scenes
from ecanet_jax.inference import detection_picture as picture
from ecanet_jax.tasks.detection.detections import Detections, with_bitmaps


def test_boxes_masks_and_scores_are_drawn():
  scene = digit_scenes.scene('validation', 0, 0)
  scores = np.linspace(0.9, 0.2, len(scene.labels))
  plain = Detections(0, scene.boxes, scores, scene.labels)
  names = [str(digit) for digit in range(10)]
  image = scene.image
  nothing = np.asarray(picture.draw(image, plain, names, least=1.1)).astype(int)
  boxes = np.asarray(picture.draw(image, plain, names)).astype(int)
  tinted = np.asarray(picture.draw(image, with_bitmaps(plain, scene.masks), names)).astype(int)
  assert nothing.shape == (512, 512, 3)
  x1, y1, x2, y2 = (4 * scene.boxes[0]).astype(int)
  colour = picture.colour(int(scene.labels[0]), 10)
  assert tuple(boxes[(y1 + y2) // 2, x1]) == colour == tuple(boxes[y2, (x1 + x2) // 2])
  inside = np.kron(scene.masks[0], np.ones((4, 4), bool))
  inside[:, :x1 + 3] = inside[:, x2 - 3:] = inside[:y1 + 3] = inside[y2 - 3:] = False
  expected = nothing[inside] * (1 - picture.SHARE) + np.array(colour) * picture.SHARE
  assert np.abs(tinted[inside] - expected).max() <= 3
  # The last detection has a low score.
  x1, y1, x2, y2 = (4 * scene.boxes[-1]).astype(int)
  np.testing.assert_array_equal(boxes[y1 + 5 : y2 - 5, x1], nothing[y1 + 5 : y2 - 5, x1])


def test_large_images_keep_their_size_and_colours_differ():
  image = np.zeros((600, 900, 3), np.uint8)
  nothing = Detections(0, np.zeros((0, 4)), np.zeros(0), np.zeros(0, int))
  assert picture.draw(image, nothing, ['a']).size == (900, 600)
  for classes in (1, 10, 80):
    assert len({picture.colour(label, classes) for label in range(classes)}) == classes
