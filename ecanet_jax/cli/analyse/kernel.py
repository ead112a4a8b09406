"""`analyse kernel`: ECA's k weights in each block, k beside Eq. 9, and frequency responses.

    ecanet_jax analyse kernel RUN... [--blocks=conv_4_6]
"""

import argparse

from ecanet_jax.cli.analyse import arguments

KIND = 'kernel'
COLUMNS = ('run', 'block', 'conv', 'channels', 'k', 'place', 'weight')


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the command's arguments to `parser`."""
  arguments.add_runs(
    parser, f'workdir of a training, weights of any other form, or an earlier {KIND}.npz'
  )
  arguments.add_model(parser)
  arguments.add_blocks(parser)


def run(args: argparse.Namespace) -> int:
  """Analyses the runs and returns 0.

  Raises:
    UserError: a network without ECA, no such block, or a run that cannot be read.
  """
  from ecanet_jax.analysis.blocks import paper_name
  from ecanet_jax.analysis.files import write_arrays, write_table
  from ecanet_jax.analysis.kernels import draw_kernels, from_arrays, kernels_of, to_arrays
  from ecanet_jax.weights.detectors.backbone import backbone_of
  from ecanet_jax.weights.loaded_weights import read_weights

  arguments.start()
  blocks = arguments.blocks(args)

  def of_run(path: str):
    weights = backbone_of(read_weights(path, model={'name': args.model} if args.model else None))
    return kernels_of(weights.create(), weights.variables, path, blocks)

  found = arguments.results(args, KIND, from_arrays, of_run)
  out = arguments.folder(args)
  for each in found:
    print(f'{each.title}\nblock         channels   k  weights')
    for kernel in each.kernels:
      weights = ' '.join(f'{weight:7.3f}' for weight in kernel.weights)
      print(f'{kernel.block:<12}  {kernel.channels:8}  {kernel.k:2}  {weights}')
  write_arrays(out / f'{KIND}.npz', KIND, to_arrays(found))
  write_table(out / f'{KIND}.csv', COLUMNS, (
    (run.title, kernel.block, paper_name(kernel.block), kernel.channels, kernel.k,
     place - kernel.k // 2, weight)
    for run in found for kernel in run.kernels for place, weight in enumerate(kernel.weights)
  ))
  draw_kernels(found, out / f'{KIND}.png')
  arguments.say_written(out, f'{KIND}.png', f'{KIND}.csv', f'{KIND}.npz')
  return 0
