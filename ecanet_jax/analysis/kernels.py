"""The kernels of ECA: their weights, their sizes, and which patterns over the channels they pass.

ECA-Net (Wang et al. 2020), Eq. 5-9: k weights that all channels of a block share, with
k = |log2(C) / gamma + b / gamma|, rounded up to an odd number.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ecanet_jax.analysis import blocks as names_of_blocks
from ecanet_jax.analysis.files import Arrays
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.nn.attention import ATTENTION, eca_kernel_size
from ecanet_jax.nn.attention.channel import ECA
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError

FREQUENCIES = 129  # from 0 to pi
COLUMNS = 4  # panels in a row
DPI = 100


@dataclasses.dataclass(frozen=True)
class Kernel:
  """The kernel of one block.

  Attributes:
    block: its name.
    channels: of the tensor that is reweighted.
    weights: `[k]`; the middle one belongs to the channel itself.
  """

  block: str
  channels: int
  weights: np.ndarray

  @property
  def k(self) -> int:
    """The kernel's size."""
    return len(self.weights)

  def response(self) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies in radians per channel, 0 to pi, and |sum_j w_j exp(-i f j)|."""
    frequencies = np.linspace(0, np.pi, FREQUENCIES)
    waves = np.exp(-1j * np.outer(frequencies, np.arange(self.k)))
    return frequencies, np.abs(waves @ np.asarray(self.weights, np.float64))


@dataclasses.dataclass(frozen=True)
class RunKernels:
  """The kernels of one network.

  Attributes:
    title: of the network.
    gamma: of Eq. 9.
    b: of Eq. 9.
    kernels: in the network's order.
  """

  title: str
  gamma: float
  b: float
  kernels: tuple[Kernel, ...]


def kernels_of(
  model: ConvNet, variables: Mapping[str, Any], title: str, blocks: Sequence[str] = ()
) -> RunKernels:
  """The kernels of a network.

  Args:
    model: from `create_model`.
    variables: {'params', 'batch_stats'}.
    title: of the network.
    blocks: names of blocks, ours or the papers'; () = all with attention.

  Raises:
    UserError: the network's attention has no kernel that all channels share, or no such block.
  """
  spec = model.attention
  if not issubclass(ATTENTION[spec.kind] or object, ECA):
    raise UserError(
      f'{title}: attention {spec.kind!r} has no kernel that all channels share; give a network '
      'with ECA.'
    )
  parameters = variables['params']
  found = {
    slot.block.name: Kernel(
      slot.block.name, slot.channels,
      np.asarray(parameters[slot.block.name]['attention']['kernel'], np.float64),
    )
    for slot in map(model.slot, model.blocks())
    if 'attention' in parameters.get(slot.block.name, {})
  }
  chosen = names_of_blocks.choose(blocks, found)
  gamma, b = (2.0, 1.0) if spec.k_policy == 'linear' else (spec.gamma, spec.b)
  return RunKernels(title, gamma, b, tuple(found[name] for name in chosen))


def to_arrays(runs: Sequence[RunKernels]) -> dict[str, np.ndarray]:
  """Arrays with names such as '0/blocks_2_5', 0 being the run."""
  arrays = {}
  for number, run in enumerate(runs):
    about = {'title': run.title, 'gamma': run.gamma, 'b': run.b,
             'channels': {each.block: each.channels for each in run.kernels}}
    arrays[f'{number}/about'] = np.array(json.dumps(about))
    arrays |= {f'{number}/{each.block}': each.weights for each in run.kernels}
  return arrays


def from_arrays(arrays: Arrays) -> list[RunKernels]:
  """What `to_arrays` was given."""
  runs = []
  while (key := f'{len(runs)}/about') in arrays:
    about = json.loads(str(arrays[key]))
    runs.append(RunKernels(about['title'], about['gamma'], about['b'], tuple(
      Kernel(block, channels, arrays[f'{len(runs)}/{block}'])
      for block, channels in about['channels'].items()
    )))
  return runs


def draw_kernels(runs: Sequence[RunKernels], path: paths.Path) -> Any:
  """Draws sizes beside Eq. 9, frequency responses, and the weights of each block.

  Args:
    runs: the networks, below each other.
    path: of the PNG.

  Returns:
    The figure.
  """
  from matplotlib import colormaps
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  rows = [1 + -(-len(run.kernels) // COLUMNS) for run in runs]
  figure = Figure(figsize=(3.2 * COLUMNS, 2.2 * sum(rows) + 0.4 * len(runs)), layout='constrained')
  FigureCanvasAgg(figure)
  parts = figure.subfigures(len(runs), 1, height_ratios=rows, squeeze=False)[:, 0]
  for part, run, count in zip(parts, runs, rows, strict=True):
    part.suptitle(run.title, fontsize=11)
    grid = part.add_gridspec(count, COLUMNS)
    size = part.add_subplot(grid[0, : COLUMNS // 2])
    passed = part.add_subplot(grid[0, COLUMNS // 2 :])
    channels = np.array([kernel.channels for kernel in run.kernels])
    curve = np.unique(np.geomspace(channels.min() / 2, channels.max() * 2, 400).astype(int))
    size.plot(
      curve, [eca_kernel_size(int(c), run.gamma, run.b) for c in curve], 'k--', lw=0.9,
      label=f'Eq. 9, gamma = {run.gamma:g}, b = {run.b:g}',
    )
    size.plot(channels, [kernel.k for kernel in run.kernels], 'o', label='blocks')
    size.set_xscale('log', base=2)
    size.set(xlabel='channels', ylabel='k', ylim=(0, None))
    size.legend(fontsize=8)
    colors = colormaps['viridis'](np.linspace(0, 0.9, len(run.kernels)))
    for color, kernel in zip(colors, run.kernels, strict=True):
      frequencies, gain = kernel.response()
      passed.plot(frequencies / np.pi, gain, color=color, lw=0.9)
    passed.set(xlabel='frequency over the channels, of pi', ylabel='gain', ylim=(0, None))
    passed.set_title('dark: first blocks; bright: last blocks', fontsize=9)
    for number, (color, kernel) in enumerate(zip(colors, run.kernels, strict=True)):
      axes = part.add_subplot(grid[1 + number // COLUMNS, number % COLUMNS])
      places = np.arange(kernel.k) - kernel.k // 2
      axes.axhline(0, color='grey', lw=0.6)
      axes.vlines(places, 0, kernel.weights, color=color)
      axes.plot(places, kernel.weights, 'o', color=color)
      axes.set_xticks(places)
      name = names_of_blocks.paper_name(kernel.block)
      paper = '' if name == kernel.block else f' ({name})'
      axes.set_title(f'{kernel.block}{paper}, C = {kernel.channels}', fontsize=9)
  paths.write_figure(path, figure, dpi=DPI)
  return figure
