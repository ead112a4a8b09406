"""`analyse static`: top-1 with the attention of each block constant, and removed.

    ecanet_jax analyse static RUN... [--blocks=blocks_5_0,blocks_5_1]

Constant weights are the means over the evaluated images. If top-1 stays, the block's attention can
be part of a kernel: `export --static_attention=BLOCKS`.
"""

import argparse

from ecanet_jax.cli.analyse import arguments

KIND = 'static'
COLUMNS = (
  'run', 'block', 'conv', 'images', 'top1', 'constant_top1', 'constant_same_answer',
  'removed_top1', 'removed_same_answer',
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  arguments.add_runs(parser, arguments.RUN.format(KIND))
  arguments.add_images(parser)
  arguments.add_blocks(parser)


def run(args: argparse.Namespace) -> int:
  """Analyses the runs and returns 0.

  Raises:
    UserError: a mistake in the arguments, or a run that cannot be read.
  """
  arguments.check_least(args, batch_size=1)
  from ecanet_jax.analysis.effect.arrays import static_from_arrays, static_to_arrays
  from ecanet_jax.analysis.effect.pictures import draw_static
  from ecanet_jax.analysis.effect.static import static_attention
  from ecanet_jax.analysis.files import write_arrays, write_table
  from ecanet_jax.analysis.run import open_run

  arguments.start()
  source, blocks = arguments.source(args), arguments.blocks(args)
  found = arguments.results(
    args, KIND, static_from_arrays, lambda path: static_attention(open_run(path, source), blocks)
  )
  out = arguments.folder(args)
  for each in found:
    _print(each)
  write_arrays(out / f'{KIND}.npz', KIND, static_to_arrays(found))
  write_table(out / f'{KIND}.csv', COLUMNS, _rows(found))
  draw_static(found, arguments.titles(found), out / f'{KIND}.png')
  arguments.say_written(out, f'{KIND}.png', f'{KIND}.csv', f'{KIND}.npz')
  return 0


def _rows(found):
  from ecanet_jax.analysis.blocks import paper_name

  for run in found:
    for block, constant, removed in zip(run.blocks, run.constant, run.removed, strict=True):
      yield (
        run.path, block, paper_name(block), constant.images, run.reference.top1, constant.top1,
        constant.agreement, removed.top1, removed.agreement,
      )


def _print(run) -> None:
  reference = run.reference
  print(
    f'{run.path}: {run.title}, {reference.images:,} images, top-1 {100 * reference.top1:.2f} %'
  )
  print('block         constant: top-1  same answer  removed: top-1  same answer')
  for block, constant, removed in zip(run.blocks, run.constant, run.removed, strict=True):
    print(
      f'{block:<12}  {100 * constant.top1:13.2f} %  {100 * constant.agreement:9.2f} %  '
      f'{100 * removed.top1:12.2f} %  {100 * removed.agreement:9.2f} %'
    )
