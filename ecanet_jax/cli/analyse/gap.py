"""`analyse gap`: the globally averaged channels of single images (ECA-Net, Fig. 6).

    ecanet_jax analyse gap RUN... --images PHOTOGRAPH... [--blocks=GAP_2_3,GAP_4_6]

A network without attention is measured where its attention would be. The output says for each
block how alike the images' curves are, and whether the mean curve repeats more than one of the same
values in random order.
"""

import argparse

from ecanet_jax.cli.analyse import arguments
from ecanet_jax.runtime.errors import UserError

KIND = 'gap'
COLUMNS = ('run', 'image', 'block', 'conv', 'channel', 'value')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  arguments.add_runs(
    parser, f'workdir of a training, weights of any other form, or an earlier {KIND}.npz'
  )
  parser.add_argument('--images', metavar='IMAGE', nargs='+', help='files, folders and patterns')
  arguments.add_model(parser)
  arguments.add_blocks(parser)


def run(args: argparse.Namespace) -> int:
  """Analyses the runs and returns 0.

  Raises:
    UserError: a mistake in the arguments, or a run or photograph that cannot be read.
  """
  from ecanet_jax.analysis.blocks import paper_name
  from ecanet_jax.analysis.files import is_arrays, read_arrays, write_arrays, write_table
  from ecanet_jax.analysis.gap import MOST, draw_gap, from_arrays, to_arrays
  from ecanet_jax.runtime.log import log

  if len(args.runs) == 1 and is_arrays(args.runs[0]):
    arguments.start()
    photographs, found = from_arrays(read_arrays(args.runs[0], KIND))
  elif not args.images:
    raise UserError(f'no photographs: write analyse gap {args.runs[0]} --images FILE_OR_FOLDER.')
  else:
    photographs, found = _measured(args)
  out = arguments.folder(args)
  for each in found:
    _print(each, len(photographs))
  write_arrays(out / f'{KIND}.npz', KIND, to_arrays(photographs, found))
  write_table(out / f'{KIND}.csv', COLUMNS, (
    (run.title, name, block, paper_name(block), channel, value)
    for run in found for block, values in run.blocks.items()
    for (name, _), row in zip(photographs, values, strict=True) for channel, value in enumerate(row)
  ))
  if len(photographs) > MOST:
    log.info('%s.png: the first %d of %d photographs', KIND, MOST, len(photographs))
  draw_gap(photographs, found, out / f'{KIND}.png')
  arguments.say_written(out, f'{KIND}.png', f'{KIND}.csv', f'{KIND}.npz')
  return 0


def _measured(args: argparse.Namespace):
  """The photographs as the first network saw them, and the channels of each network."""
  import numpy as np

  from ecanet_jax.analysis.gap import as_seen, gap_of
  from ecanet_jax.inference.classifier import load
  from ecanet_jax.inference.find_images import find_images
  from ecanet_jax.runtime import paths

  files = find_images(args.images)
  arguments.start()
  photographs, found = [], []
  for path in args.runs:
    classifier = load(path, model=args.model, backbone=True)
    images = np.stack([classifier.transform(file) for file in files])
    photographs = photographs or [
      (paths.to_path(file).name, as_seen(image, classifier.preprocessing))
      for file, image in zip(files, images, strict=True)
    ]
    found.append(gap_of(classifier, images, path, arguments.blocks(args)))
  return photographs, found


def _print(run, images: int) -> None:
  print(f'{run.title}: {images} images')
  print('block         correlation of images  peak  by chance  lag  window: peak  by chance')
  for block in run.blocks:
    whole, part = run.periodicity(block), run.window(block)
    print(
      f'{block:<12}  {run.similarity(block):21.3f}  {whole.peak:4.2f}  {whole.null:9.2f}  '
      f'{whole.lag:3}  {part.peak:12.2f}  {part.null:9.2f}'
    )
