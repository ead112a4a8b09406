"""The number of classes in a state dict of a detector."""

from collections.abc import Mapping

from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.weights import dialects

# Module -> the classes, from the number of its outputs and the anchors of a cell. Faster and Mask
# R-CNN have an output for the background, RetinaNet has outputs for each anchor.
_CLASSES = {
  'box_head/classes': lambda outputs, anchors: outputs - 1,
  'class_head/outputs': lambda outputs, anchors: outputs // anchors,
}


def classes_in(
  model: Detector, given: Mapping[str, tuple[int, ...]], dialect: str
) -> int | None:
  """The number of classes; None if the state dict does not have that layer.

  Args:
    model: the detector; its own number of classes does not matter.
    given: the state dict's shapes by key, without the prefixes of wrappers.
    dialect: the code whose names they are.
  """
  table = dialects.dialect_of(model, dialect)
  for each in dialects.modules(model, dialect):
    if each.ours in _CLASSES and (shape := given.get(table.key(each.theirs, 'bias'))):
      return _CLASSES[each.ours](shape[0], model.cell_anchors)
  return None
