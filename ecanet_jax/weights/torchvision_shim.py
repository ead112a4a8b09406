"""Imports torchvision beside a PyTorch that its wheel was not built for, such as a CPU-only one.

timm imports torchvision. The compiled operators of the wheel do not load beside another build of
PyTorch, and the import then fails as it describes operators that do not exist. Declaring their
schemas is enough for the import; timm's networks do not call them.
"""

import sys

SCHEMAS = (
  'nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
  'qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor',
  'roi_align(Tensor input, Tensor rois, float spatial_scale, int pooled_height, '
  'int pooled_width, int sampling_ratio, bool aligned) -> Tensor',
)

_libraries = []  # the schemas live as long as their library


def import_torchvision() -> None:
  """Makes `import torchvision` and `import timm` work; does nothing without PyTorch or torchvision.

  Call it before timm is imported.
  """
  try:
    import torch
    import torchvision
  except ImportError:
    return
  except (AttributeError, OSError, RuntimeError):  # 'operator torchvision::nms does not exist'
    for name in [name for name in sys.modules if name.partition('.')[0] == 'torchvision']:
      del sys.modules[name]
    library = torch.library.Library('torchvision', 'FRAGMENT')
    for schema in SCHEMAS:
      library.define(schema)
    _libraries.append(library)
    import torchvision  # noqa: F401
