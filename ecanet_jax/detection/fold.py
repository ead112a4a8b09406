"""BatchNorm folded into the convolutions of a detector's backbone, for inference."""

from collections.abc import Mapping
from typing import Any

from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.models.fold import fold_batch_norm


def fold_backbone(
  model: Detector, variables: Mapping[str, Any]
) -> tuple[Detector, dict[str, Any]]:
  """Returns the same function with fewer BatchNorms; see `models.fold.fold_batch_norm`."""
  own = {name: tree['backbone'] for name, tree in variables.items() if 'backbone' in tree}
  backbone, folded = fold_batch_norm(model.backbone, own)
  return model.clone(backbone=backbone), {
    name: {**tree, 'backbone': folded[name]} if folded.get(name) else
    {key: value for key, value in tree.items() if key != 'backbone'}
    for name, tree in variables.items()
  }
