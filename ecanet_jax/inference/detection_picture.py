"""A picture of detections: boxes, masks, names and scores on an image."""

import colorsys
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ecanet_jax.data.detection import masks
from ecanet_jax.tasks.detection.detections import Detections

SHARE = 0.45  # of a mask's colour
SMALLEST = 512  # pixels of the longer side: a smaller image is enlarged


def draw(
  image: np.ndarray, found: Detections, names: Sequence[str], *, least: float = 0.5,
) -> Image.Image:
  """Returns the image with what was found on it; each class has its colour.

  Args:
    image: uint8 [height, width, 3], as it is stored.
    found: of this image.
    names: of the classes by their label.
    least: detections with a lower score are not drawn.
  """
  factor = max(1, round(SMALLEST / max(image.shape[:2])))
  size = image.shape[1] * factor, image.shape[0] * factor
  picture = Image.fromarray(image).convert('RGB').resize(size, Image.Resampling.BICUBIC)
  order = np.argsort(found.scores, kind='stable')  # the best on top
  kept = [place for place in order if found.scores[place] >= least]
  for place in kept if found.masks is not None else ():
    mask = masks.bitmap(found.masks[place], *image.shape[:2])
    picture = _tinted(picture, mask, colour(int(found.labels[place]), len(names)))
  canvas = ImageDraw.Draw(picture)
  line, font = max(2, max(size) // 300), ImageFont.load_default(max(12, max(size) // 45))
  for place in kept:
    label = int(found.labels[place])
    box = [float(side) * factor for side in found.boxes[place]]
    text = f'{names[label]} {100 * float(found.scores[place]):.0f} %'
    _draw_box(canvas, size, box, text, colour(label, len(names)), line, font)
  return picture


def colour(label: int, classes: int) -> tuple[int, int, int]:
  """Returns the RGB colour of a class; those of near numbers are far apart."""
  hue = label * 0.618034 % 1 if classes > 12 else label / max(classes, 1)
  return tuple(round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.85, 0.95))


def _tinted(picture: Image.Image, mask: np.ndarray, rgb: tuple[int, int, int]) -> Image.Image:
  share = Image.fromarray((mask * round(255 * SHARE)).astype(np.uint8))
  share = share.resize(picture.size, Image.Resampling.NEAREST)
  return Image.composite(Image.new('RGB', picture.size, rgb), picture, share)


def _draw_box(
  canvas: ImageDraw.ImageDraw, size: tuple[int, int], box: list[float], text: str,
  rgb: tuple[int, int, int], line: int, font: ImageFont.FreeTypeFont,
) -> None:
  """Draws a box and its text above it, or below its upper edge where there is no room."""
  canvas.rectangle(box, outline=rgb, width=line)
  left, top, right, bottom = canvas.textbbox((0, 0), text, font=font)
  width, height = right - left + 2 * line, bottom - top + 2 * line
  x = min(max(box[0], 0), max(size[0] - width, 0))
  y = box[1] - height if box[1] >= height else box[1]
  canvas.rectangle([x, y, x + width, y + height], fill=rgb)
  canvas.text((x + line - left, y + line - top), text, fill='black', font=font)
