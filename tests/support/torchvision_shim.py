"""Makes torchvision, which timm imports, importable beside a PyTorch it was not built for.

The wheel's compiled operators do not load beside a CPU-only PyTorch, and torchvision then fails to
describe operators that are not there. Their schemas are enough to import it; no test calls them.
Import this module before timm.
"""

import torch

SCHEMAS = (
  'nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
  'qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
  'roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, '
  'int pooled_width, int sampling_ratio, bool aligned) -> Tensor',
)

try:
  import torchvision
except RuntimeError:
  LIBRARY = torch.library.Library('torchvision', 'FRAGMENT')
  for schema in SCHEMAS:
    LIBRARY.define(schema)
  import torchvision  # noqa: F401
