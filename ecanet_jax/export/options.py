"""What the formats are asked for."""

import dataclasses

import numpy as np

PLATFORMS = ('cpu', 'cuda', 'tpu')


@dataclasses.dataclass(frozen=True)
class ExportOptions:
  """How files are written.

  Attributes:
    batch: images per call; None = any number, where the format can have it.
    platforms: of a StableHLO file, names of PLATFORMS.
    calibration: float32 `[N, H, W, C]` as `Forward.apply` takes them, for formats of int8 and for
      static attention; None = there are none.
    force: write what loses more accuracy than the format allows.
  """

  batch: int | None = None
  platforms: tuple[str, ...] = PLATFORMS
  calibration: np.ndarray | None = None
  force: bool = False
