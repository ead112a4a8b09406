"""`python -m benchmarks operations`: milliseconds of single convolutions, XLA's and our kernels'.

Both compute the same arrays in this process, in turn, in float32: the forward pass, the gradient by
the input, and the gradient by the kernel. Before anything is measured, their results are compared.
"""

import argparse
import dataclasses
import platform
import statistics
import time
from collections.abc import Callable

import jax
import numpy as np

from ecanet_jax.ops import convolution as xla
from ecanet_jax.ops.cpu import convolution, depthwise, kernels
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.machine import describe
from ecanet_jax.version import __version__

AIM_SECONDS = 0.2  # length of a turn
TOLERANCE = 1e-3  # of the largest value; Winograd and long sums round more than the plain form
PASSES = ('forward', 'gradient by x', 'gradient by the kernel')


@dataclasses.dataclass(frozen=True)
class Convolution:
  """A convolution of a network at 224 px.

  Attributes:
    size: height and width of the input.
    inputs: channels.
    outputs: channels; None: depthwise.
    kernel: its height and width.
    stride: in pixels.
  """

  size: int
  inputs: int
  outputs: int | None
  kernel: int
  stride: int

  def __str__(self) -> str:
    channels = 'depthwise' if self.outputs is None else f'-> {self.outputs}'
    stride = f', stride {self.stride}' if self.stride > 1 else ''
    return f'{self.kernel} x {self.kernel}{stride}; {self.size} px, {self.inputs} {channels}'


CONVOLUTIONS = (
  Convolution(56, 64, 64, 3, 1), Convolution(14, 256, 256, 3, 1), Convolution(28, 256, 256, 3, 2),
  Convolution(224, 3, 32, 3, 2), Convolution(56, 24, 144, 1, 1), Convolution(14, 672, 112, 1, 1),
  Convolution(112, 32, None, 3, 1), Convolution(28, 240, None, 5, 1),
  Convolution(14, 672, None, 5, 2),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the benchmark's flags to `parser`."""
  parser.add_argument('--batch_size', type=int, default=16, help='images')
  parser.add_argument('--rounds', type=int, default=7, help='turns of each side')


def run(args: argparse.Namespace) -> int:
  """Measures, prints the table, and returns the exit status 0.

  Raises:
    UserError: a mistake in the flags, or our kernels are not usable here.
  """
  check(args)
  about = describe()
  print(f'{about["date"]}; {about["cpu"]}, {about["cpus"]} CPUs; ecanet_jax {__version__}, jax '
        f'{jax.__version__}, Python {platform.python_version()}; float32, batch {args.batch_size}; '
        f'milliseconds, median of {args.rounds}: XLA / ours\n')
  print('| convolution | ' + ' | '.join(PASSES) + ' |')
  print('|---' * (1 + len(PASSES)) + '|')
  for case in CONVOLUTIONS:
    times = measure(case, args.batch_size, args.rounds)
    cells = (' / '.join(f'{1000 * each:.3g}' for each in pair) for pair in times)
    print(f'| {case} | ' + ' | '.join(cells) + ' |', flush=True)
  return 0


def check(args: argparse.Namespace) -> None:
  """Raises UserError for a mistake in the flags."""
  for name in ('batch_size', 'rounds'):
    if getattr(args, name) < 1:
      raise UserError(f'--{name}={getattr(args, name)} must be at least 1.')


def measure(case: Convolution, batch_size: int, rounds: int) -> list[tuple[float, float]]:
  """Seconds of each pass, as medians of (XLA's, ours).

  Raises:
    UserError: the two results differ, or our kernels are not usable here.
  """
  random = np.random.default_rng(0)
  channels = (case.inputs,) if case.outputs is None else (case.inputs, case.outputs)
  x = random.normal(size=(batch_size, case.size, case.size, case.inputs)).astype(np.float32)
  kernel = random.normal(size=(case.kernel, case.kernel, *channels)).astype(np.float32)
  if jax.default_backend() != 'cpu':
    raise UserError('the kernels are for CPUs: set JAX_PLATFORMS=cpu.')
  if not kernels.usable(x, kernel):
    raise UserError('the kernels could not be compiled here: install a C++ compiler, such as g++.')
  margin = (case.kernel - 1) // 2
  rule = case.stride, ((margin, margin),) * 2
  pairs = zip(_passes(_plain(case), rule, x, kernel), _passes(_ours(case), rule, x, kernel))
  return [_in_turn(case, *pair, rounds) for pair in pairs]


def _plain(case: Convolution) -> Callable[..., jax.Array]:
  return xla.depthwise_conv if case.outputs is None else xla.conv


def _ours(case: Convolution) -> Callable[..., jax.Array]:
  return depthwise.depthwise_conv if case.outputs is None else convolution.conv


def _passes(conv, rule, x, kernel) -> list[Callable[[], jax.Array]]:
  """The three passes as functions without arguments, compiled."""
  forward = jax.jit(lambda x, kernel: conv(x, kernel, *rule))
  shape = jax.eval_shape(forward, x, kernel).shape
  gradient = np.random.default_rng(1).normal(size=shape).astype(np.float32)
  by_x = jax.jit(lambda x, kernel, y: jax.vjp(lambda x: conv(x, kernel, *rule), x)[1](y)[0])
  by_kernel = jax.jit(lambda x, kernel, y: jax.vjp(lambda k: conv(x, k, *rule), kernel)[1](y)[0])
  x, kernel, gradient = jax.device_put((x, kernel, gradient))
  return [
    lambda: forward(x, kernel), lambda: by_x(x, kernel, gradient),
    lambda: by_kernel(x, kernel, gradient),
  ]


def _in_turn(case, plain, ours, rounds: int) -> tuple[float, float]:
  expected, found = np.asarray(plain()), np.asarray(ours())
  worst = np.abs(found - expected).max() / np.abs(expected).max()
  if not worst < TOLERANCE:
    raise UserError(f'{case}: our result differs from that of XLA by {worst:.1e} of it.')
  repeats = [max(1, round(AIM_SECONDS / _seconds(side, 1))) for side in (plain, ours)]
  turns = [
    [_seconds(side, number) for side, number in zip((plain, ours), repeats)] for _ in range(rounds)
  ]
  return tuple(statistics.median(side) for side in zip(*turns))


def _seconds(function: Callable[[], jax.Array], repeats: int) -> float:
  """Mean seconds of a call."""
  began = time.perf_counter()
  for _ in range(repeats):
    result = function()
  result.block_until_ready()
  return (time.perf_counter() - began) / repeats
