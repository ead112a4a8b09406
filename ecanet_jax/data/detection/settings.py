"""How images, boxes and masks become arrays of fixed shape."""

import dataclasses

from ecanet_jax.runtime.errors import UserError, lookup

MASKS = ('none', 'crops', 'bitmaps')
EMPTY = ('drop', 'keep')


@dataclasses.dataclass(frozen=True)
class Settings:
  """The preparation of a detector's data. The defaults are those of mmdetection 1.0rc0.

  Attributes:
    shorter: the shorter side of a resized image, in pixels, unless `longer` makes it smaller.
    longer: the most pixels of its longer side.
    buckets: heights and widths of batches. An image goes into the first one that holds it.
    max_boxes: rows of the boxes of an image.
    masks: 'none'; 'crops' (each mask within its box); 'bitmaps' (each mask of a whole image).
    mask_size: side of a crop, in pixels.
    flip: training: one image in two is mirrored.
    scale: training: the resized image is resized again by a factor between the two. What does not
      fit its bucket is cut off at random.
    empty: training images without boxes: 'drop' or 'keep'.
    min_side: training images with a shorter side below it are left out, in pixels.
  """

  shorter: int = 800
  longer: int = 1333
  buckets: tuple[tuple[int, int], ...] = ((800, 1344), (1344, 800))
  max_boxes: int = 100
  masks: str = 'none'
  mask_size: int = 112
  flip: bool = True
  scale: tuple[float, float] = (1.0, 1.0)
  empty: str = 'drop'
  min_side: int = 32

  def __post_init__(self):
    lookup(dict.fromkeys(MASKS), self.masks, 'form of masks (masks)')
    lookup(dict.fromkeys(EMPTY), self.empty, 'treatment of images without boxes (empty)')
    for name in ('shorter', 'longer', 'max_boxes', 'mask_size'):
      if getattr(self, name) < 1:
        raise UserError(f'{name}={getattr(self, name)} must be at least 1')
    if self.longer < self.shorter:
      raise UserError(f'longer={self.longer} must not be less than shorter={self.shorter}')
    if len(self.scale) != 2 or not 0 < self.scale[0] <= self.scale[1]:
      raise UserError(f'scale={self.scale} must be two factors above 0, the smaller first')
    for size in ((self.shorter, self.longer), (self.longer, self.shorter)):
      if not any(size[0] <= height and size[1] <= width for height, width in self.buckets):
        raise UserError(
          f'buckets={self.buckets}: none holds an image of {size[0]} x {size[1]} pixels; add '
          f'{tuple(-(-side // 32) * 32 for side in size)}'
        )
