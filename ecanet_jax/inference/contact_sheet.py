"""A contact sheet: one picture of many pictures, each with what the network sees in it."""

import dataclasses
import math
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont, ImageOps

from ecanet_jax.inference.classifier import Prediction

MOST = 100  # pictures on a sheet
COLUMNS = 5
WIDTH, HEIGHT = 400, 300  # pixels of a thumbnail
MARGIN, GAP, LINE = 32, 28, 30
PAPER, INK, GREY, FRAME = '#ffffff', '#1f2933', '#6b7785', '#eef1f4'
BARS = ('#8fb8de', '#c3d9ee')  # of the best class, and of the others


@dataclasses.dataclass(frozen=True)
class Entry:
  """One picture of the sheet.

  Attributes:
    title: such as the file's name.
    image: RGB, of any size.
    predictions: the best first.
  """

  title: str
  image: Image.Image
  predictions: Sequence[Prediction]


def thumbnail(image: Image.Image) -> Image.Image:
  """Returns the whole picture in the size of the sheet, with its own aspect."""
  return ImageOps.contain(image, (WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def contact_sheet(entries: Sequence[Entry]) -> Image.Image:
  """Draws the pictures in a grid: thumbnail, title, and a bar with name and per cent per class.

  Args:
    entries: at least one, at most MOST.
  """
  columns = min(COLUMNS, math.ceil(math.sqrt(len(entries))))
  rows = math.ceil(len(entries) / columns)
  bars = max(len(entry.predictions) for entry in entries)
  cell = HEIGHT + 10 + LINE * (1 + bars)
  size = [2 * MARGIN + count * side + (count - 1) * GAP for count, side in (
    (columns, WIDTH), (rows, cell)
  )]
  sheet = Image.new('RGB', size, PAPER)
  draw = ImageDraw.Draw(sheet)
  for number, entry in enumerate(entries):
    row, column = divmod(number, columns)
    _draw_entry(sheet, draw, entry, MARGIN + column * (WIDTH + GAP), MARGIN + row * (cell + GAP))
  return sheet


def _draw_entry(sheet: Image.Image, draw: ImageDraw.ImageDraw, entry: Entry, x: int, y: int):
  small, font = ImageFont.load_default(16), ImageFont.load_default(18)
  image = thumbnail(entry.image)
  draw.rectangle((x, y, x + WIDTH - 1, y + HEIGHT - 1), FRAME)
  sheet.paste(image, (x + (WIDTH - image.width) // 2, y + (HEIGHT - image.height) // 2))
  y += HEIGHT + 10
  draw.text((x, y + LINE // 2), _fit(draw, entry.title, small, WIDTH), GREY, small, 'lm')
  for number, prediction in enumerate(entry.predictions):
    y += LINE
    bar = round(prediction.probability * WIDTH)
    draw.rounded_rectangle((x, y + 2, x + WIDTH - 1, y + LINE - 3), 4, FRAME)
    if bar > 1:
      draw.rounded_rectangle((x, y + 2, x + bar - 1, y + LINE - 3), min(4, bar // 2),
                             BARS[number > 0])
    share, middle = f'{100 * prediction.probability:.1f} %', y + LINE // 2
    draw.text((x + WIDTH - 8, middle), share, INK, font, 'rm')
    room = WIDTH - 28 - draw.textlength(share, font)
    draw.text((x + 8, middle), _fit(draw, prediction.name, font, room), INK, font, 'lm')


def _fit(draw: ImageDraw.ImageDraw, text: str, font, room: float) -> str:
  """Returns the text, cut with dots to `room` pixels."""
  text = ' '.join(text.split())
  if draw.textlength(text, font) <= room:
    return text
  while text and draw.textlength(f'{text}...', font) > room:
    text = text[:-1]
  return f'{text.rstrip()}...'
