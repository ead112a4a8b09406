"""Detection: boxes and masks of the objects on images, evaluated by COCO's average precision."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.data.detection.dataset import DetectionDataset
from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.detection.networks.ground_truth import GroundTruth
from ecanet_jax.detection.selection.paste import paste_masks
from ecanet_jax.detection.targets.sampler import image_keys
from ecanet_jax.tasks.classification import standardised
from ecanet_jax.tasks.detection import coco_metrics
from ecanet_jax.tasks.detection.detections import (
  Detections,
  coco_results,
  stored_boxes,
  with_bitmaps,
)
from ecanet_jax.tasks.task import Batch, Metric

BOX_AP = Metric('box_ap', 'box AP', 100, '%')
MASK_AP = Metric('mask_ap', 'mask AP', 100, '%')
KINDS = {'bbox': 'box', 'segm': 'mask'}
EXAMPLE = 64  # pixels of the image that a network is initialised with


class Detection:
  """Images with boxes, labels and perhaps masks, as `DetectionDataset` has them."""

  headline = BOX_AP
  training_loss = ''
  joined = ('found',)

  def __init__(self, config, model: Detector, dataset: DetectionDataset, per_class: bool = False):
    """Wraps what the task needs of a configuration.

    Args:
      config: the whole config.
      model: the detector.
      dataset: the opened data set.
      per_class: the metrics have those of each class, too.
    """
    self.mean = jnp.asarray(config.data.mean, jnp.float32)
    self.std = jnp.asarray(config.data.std, jnp.float32)
    self.preset, self.with_masks = model.preset, hasattr(model, 'mask_convs')
    self.shown = (BOX_AP, MASK_AP) if self.with_masks else (BOX_AP,)
    self._dataset, self._per_class = dataset, per_class
    self._truth: dict[str, Any] | None = None

  def example(self) -> jax.Array:
    return jnp.zeros((1, EXAMPLE, EXAMPLE, 3), jnp.float32)

  def mix(self, batch: Batch, key: jax.Array) -> Batch:
    return batch

  def training_outputs(self, apply: Callable, batch: Batch, key: jax.Array) -> Any:
    """The losses of the network, with a random key for each image."""
    keys = image_keys(jax.random.fold_in(key, 2), jnp.arange(batch['image'].shape[0]))
    return apply(
      self._images(batch), batch['image_size'], self._ground_truth(batch), keys, train=True,
      method='losses',
    )

  def outputs(self, apply: Callable, batch: Batch) -> Any:
    """The detections and masks of the network."""
    return apply(self._images(batch), train=False, image_sizes=batch['image_size'])

  def loss(self, outputs: Any, batch: Batch) -> jax.Array:
    return sum(outputs.values())

  def loss_parts(self, outputs: Any) -> dict[str, jax.Array]:
    return outputs

  def sums(self, outputs: Any, batch: Batch) -> dict[str, jax.Array]:
    """The detections of each image: nothing is summed on the device but the images."""
    found, masks = outputs
    arrays = {
      'boxes': found.boxes, 'scores': found.scores, 'labels': found.labels, 'valid': found.valid,
      'index': batch['index'], 'scale': batch['scale'], 'mask': batch['mask'],
      'seen': batch['mask'].sum(),
    }
    return arrays if masks is None else {**arrays, 'masks': masks}

  def on_host(self, sums: dict[str, np.ndarray]) -> dict[str, Any]:
    """{'found': the detections of each image, in its own pixels, 'seen': their number}."""
    rows = np.flatnonzero(sums['mask'])
    return {'found': [self._of_image(sums, row) for row in rows], 'seen': sums['seen']}

  def metrics(self, sums: dict[str, Any]) -> dict[str, Any]:
    """COCO's twelve numbers of boxes and masks, such as 'box_ap', 'box_ap50' and 'mask_ap'.

    A number that no object tells is left out.
    """
    if self._truth is None:
      self._truth = self._dataset.ground_truth()
    metrics, classes = {}, {}
    for kind in ('bbox', 'segm') if self.with_masks else ('bbox',):
      results = coco_results(sums['found'], self._dataset.categories, kind)
      result = coco_metrics.evaluate(self._truth, results, kind)
      named = {f'{KINDS[kind]}_{key.lower()}': value for key, value in result.numbers.items()}
      metrics |= {key: value for key, value in named.items() if not math.isnan(value)}
      for name, values in result.per_class.items():
        if not math.isnan(values['all']):
          classes.setdefault(name, {'name': name})[f'{KINDS[kind]}_ap'] = values['all']
    for metric in self.shown:  # without any object there is no AP
      metrics.setdefault(metric.name, 0.0)
    metrics['detections'] = sum(len(found.scores) for found in sums['found'])
    return {**metrics, 'per_class': list(classes.values())} if self._per_class else metrics

  def _images(self, batch: Batch) -> jax.Array:
    return normalised(batch['image'], batch['image_size'], self.mean, self.std)

  def _ground_truth(self, batch: Batch) -> GroundTruth:
    """The objects in the preset's coordinates, where x2 may be the last pixel inside."""
    boxes = batch['boxes']
    pixel = self.preset.pixel * batch['scale'][:, None, ::-1]  # of the stored image, x and y
    boxes = jnp.concatenate([boxes[..., :2], boxes[..., 2:] - pixel], axis=-1)
    masks = frames = None
    if self.with_masks:
      masks = batch['masks']
      bitmaps = masks.shape[-2:] == batch['image'].shape[1:3]
      frames = None if bitmaps else batch['boxes']
    return GroundTruth(boxes, batch['labels'], batch['valid'], masks, frames)

  def _of_image(self, sums: dict[str, np.ndarray], row: int) -> Detections:
    evaluation, index = self._dataset.evaluation, int(sums['index'][row])
    return detections_of(
      {key: value[row] for key, value in sums.items() if key != 'seen'},
      int(evaluation.ids[index]), tuple(map(int, evaluation.sizes[index])), self.preset,
    )


def normalised(
  images: jax.Array, sizes: jax.Array, mean: jax.Array, std: jax.Array
) -> jax.Array:
  """Normalised images, with zeros right of and below each.

  Args:
    images: uint8 `[B, H, W, 3]`.
    sizes: height and width of each image without the zeros, `[B, 2]`.
    mean: of the RGB channels, for images in 0..1.
    std: likewise.
  """
  rows, columns = (jnp.arange(side)[None] for side in images.shape[1:3])
  inside = ((rows < sizes[:, :1])[:, :, None] & (columns < sizes[:, 1:])[:, None, :])
  return jnp.where(inside[..., None], standardised(images, mean, std), 0.0)


def detections_of(
  found: dict[str, np.ndarray], image_id: int, size: tuple[int, int], preset
) -> Detections:
  """What a network has found on an image, in pixels of the stored image.

  Args:
    found: 'boxes', 'scores', 'labels' and 'valid' of `selection.detections.Detections`, 'scale' of
      the batch, and perhaps 'masks' within the boxes.
    image_id: COCO's number of the image.
    size: height and width of the stored image.
    preset: of the network.
  """
  valid = found['valid']
  boxes, (height, width) = found['boxes'][valid], size
  stored = stored_boxes(boxes, found['scale'], height, width)
  whole = stored + preset.pixel * np.array([0, 0, 1, 1])
  result = Detections(
    image_id, np.clip(whole, 0, [width, height, width, height]), found['scores'][valid],
    found['labels'][valid],
  )
  if 'masks' not in found:
    return result
  return with_bitmaps(result, paste_masks(found['masks'][valid], stored, size, preset))
