"""`analyse curves`: top-1 and training loss of trainings, over images seen and over time.

    ecanet_jax analyse curves RUN... [--smooth=3]

Folders seed_0, seed_1 ... of one parent, as `sweep` writes them, are drawn as their mean with a
band of one standard deviation.
"""

import argparse

from ecanet_jax.cli.analyse import arguments
from ecanet_jax.runtime.errors import UserError

KIND = 'curves'
COLUMNS = ('run', 'variant', 'figure', 'images', 'seconds', 'value')
AXES = (('images', 'images'), ('seconds', 'time'))


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  arguments.add_runs(parser, f'workdir of a training, or an earlier {KIND}.npz')
  parser.add_argument(
    '--smooth', type=int, default=3, help='points averaged in a point, odd (default: 3)'
  )


def run(args: argparse.Namespace) -> int:
  """Draws the curves and returns 0.

  Raises:
    UserError: a mistake in the arguments, or a run without metrics.
  """
  arguments.check_least(args, smooth=1)
  if not args.smooth % 2:
    raise UserError(f'--smooth={args.smooth} must be odd.')
  from ecanet_jax.analysis.curves import (
    by_variant,
    curves_of_run,
    draw_curves,
    from_arrays,
    metric_of,
    to_arrays,
  )
  from ecanet_jax.analysis.files import write_arrays, write_table

  arguments.start()
  found = arguments.results(args, KIND, from_arrays, curves_of_run)
  first, *others = found
  for each in others:
    if list(each.curves) != list(first.curves):
      raise UserError(f'{each.path} is of another task than {first.path}; draw them apart.')
  out = arguments.folder(args)
  write_arrays(out / f'{KIND}.npz', KIND, to_arrays(found))
  write_table(out / f'{KIND}.csv', COLUMNS, (
    (run.path, run.variant, key, *row) for run in found for key, curve in run.curves.items()
    for row in zip(curve.images, curve.seconds, curve.values, strict=True)
  ))
  written, title = [], ', '.join(dict.fromkeys(run.title for run in found))
  for key in first.curves:
    metric = metric_of(key)
    for axis, name in AXES:
      written.append(f'{metric.name}_by_{name}.png')
      draw_curves(by_variant(found, key), axis, out / written[-1], args.smooth, metric, title)
  arguments.say_written(out, *written, f'{KIND}.csv', f'{KIND}.npz')
  return 0
