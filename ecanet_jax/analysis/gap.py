"""Globally averaged channels of single images, as the attention sees them.

ECA-Net (Wang et al. 2020), Fig. 6: different images have similar curves, with "certain local
periodicity". A network without attention is measured at the same places.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.analysis import blocks as names_of_blocks
from ecanet_jax.analysis.files import Arrays
from ecanet_jax.analysis.statistics import Periodicity, Window, periodicity, strongest_window
from ecanet_jax.inference.classifier import Classifier
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.nn.attention import ATTENTION
from ecanet_jax.nn.attention.channel import ChannelAttention
from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError

MOST = 8  # images in a picture
DPI = 100


@dataclasses.dataclass(frozen=True)
class Gap:
  """The averaged channels of one network.

  Attributes:
    title: of the network.
    blocks: block -> `[N, C]`, one row for each image.
  """

  title: str
  blocks: dict[str, np.ndarray]

  def similarity(self, block: str) -> float:
    """The mean correlation between the curves of two images; NaN for one image."""
    curves = self.blocks[block]
    if len(curves) < 2:
      return float('nan')
    return float(np.corrcoef(curves)[np.triu_indices(len(curves), 1)].mean())

  def periodicity(self, block: str) -> Periodicity:
    """Of the mean curve."""
    return periodicity(self.blocks[block].mean(0))

  def window(self, block: str) -> Window:
    """The most periodic part of the mean curve."""
    return strongest_window(self.blocks[block].mean(0))


def gap_of(
  classifier: Classifier, images: np.ndarray, title: str, blocks: Sequence[str] = ()
) -> Gap:
  """The averaged channels of images.

  Args:
    classifier: the network.
    images: `[N, H, W, C]`, normalised.
    title: of the network.
    blocks: names of blocks, ours or the papers'; () = all with a place for attention.

  Raises:
    UserError: there is no such block.
  """
  squeezed = squeezed_channels(classifier.model)
  rows = [jax.device_get(squeezed(classifier.variables, image[None])) for image in images]
  found = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
  chosen = names_of_blocks.choose(blocks, found)
  if not chosen:
    raise UserError(f'{title}: no block has a place for channel attention.')
  return Gap(title, {name: found[name] for name in chosen})


def squeezed_channels(model: ConvNet) -> Any:
  """A compiled function (variables, normalised images) -> {block: means over H and W, `[B, C]`}.

  A network without channel attention gets ECA's modules, whose weights are all 1.
  """
  kind = ATTENTION[model.attention.kind]
  has_own = kind is not None and issubclass(kind, ChannelAttention)
  measured = model if has_own else model.clone(
    attention=dataclasses.replace(model.attention, kind='eca', squeeze='mean', k=(1,))
  )

  @jax.jit
  def squeezed(variables, images):
    found = {}

    def look(call, args, kwargs, context):
      module = context.module
      if not (isinstance(module, ChannelAttention) and context.method_name == 'weights'):
        return call(*args, **kwargs)
      (mean,) = args
      if mean.shape[1:3] == (1, 1):
        found[module.path[0]] = mean.reshape(len(images), -1)
      return call(*args, **kwargs) if has_own else jnp.ones_like(mean)

    with nn.intercept_methods(look):
      measured.apply(variables, images, train=False, stages=True)
    return found

  return squeezed


def as_seen(image: np.ndarray, preprocessing: Mapping[str, Any]) -> np.ndarray:
  """A normalised image `[H, W, 3]` as uint8 pixels."""
  pixels = image * np.asarray(preprocessing['std']) + np.asarray(preprocessing['mean'])
  return (255 * np.clip(pixels, 0, 1)).round().astype(np.uint8)


def to_arrays(
  photographs: Sequence[tuple[str, np.ndarray]], runs: Sequence[Gap]
) -> dict[str, np.ndarray]:
  """Arrays with names such as '0/blocks_2_5', 0 being the run.

  Args:
    photographs: name, and uint8 pixels as the network saw them.
    runs: the networks.
  """
  arrays = {'photographs': np.array(json.dumps([name for name, _ in photographs]))}
  arrays |= {f'photographs/{i}': pixels for i, (_, pixels) in enumerate(photographs)}
  for number, run in enumerate(runs):
    about = {'title': run.title, 'blocks': list(run.blocks)}
    arrays[f'{number}/about'] = np.array(json.dumps(about))
    arrays |= {f'{number}/{block}': values for block, values in run.blocks.items()}
  return arrays


def from_arrays(arrays: Arrays) -> tuple[list[tuple[str, np.ndarray]], list[Gap]]:
  """What `to_arrays` was given."""
  names = json.loads(str(arrays['photographs']))
  photographs = [(name, arrays[f'photographs/{i}']) for i, name in enumerate(names)]
  runs = []
  while (key := f'{len(runs)}/about') in arrays:
    about = json.loads(str(arrays[key]))
    blocks = {block: arrays[f'{len(runs)}/{block}'] for block in about['blocks']}
    runs.append(Gap(about['title'], blocks))
  return photographs, runs


def draw_gap(
  photographs: Sequence[tuple[str, np.ndarray]], runs: Sequence[Gap], path: paths.Path
) -> Any:
  """Draws the images at the left, and a panel for each block of each network.

  A red frame marks the most periodic window of the mean curve, where it exceeds chance. The first
  `MOST` images are drawn.

  Args:
    photographs: name, and uint8 pixels as the network saw them.
    runs: the networks, below each other.
    path: of the PNG.

  Returns:
    The figure.
  """
  from matplotlib.backends.backend_agg import FigureCanvasAgg
  from matplotlib.figure import Figure

  drawn = photographs[:MOST]
  panels = [(run, block) for run in runs for block in run.blocks]
  height = max(1.9 * len(panels), 1.5 * len(drawn))
  figure = Figure(figsize=(11, height + 0.4), layout='constrained')
  FigureCanvasAgg(figure)
  left, right = figure.subfigures(1, 2, width_ratios=(1, 5))
  pictures = left.subplots(len(drawn), 1, squeeze=False)[:, 0]
  for number, (axes, (name, pixels)) in enumerate(zip(pictures, drawn, strict=True)):
    axes.imshow(pixels)
    axes.set_title(name, fontsize=8)
    axes.set(xticks=[], yticks=[])
    for side in axes.spines.values():
      side.set(color=f'C{number}', linewidth=3)
  curves = right.subplots(len(panels), 1, squeeze=False)[:, 0]
  for axes, (run, block) in zip(curves, panels, strict=True):
    for number, values in enumerate(run.blocks[block][: len(drawn)]):
      axes.plot(values, lw=0.8, color=f'C{number}')
    window = run.window(block)
    if window.found:
      axes.axvspan(
        window.first, window.first + window.width - 1, fill=False, edgecolor='red', lw=1.5
      )
    paper = names_of_blocks.paper_name(block).replace('conv', 'GAP')
    axes.set_title(f'{run.title}: {block}' + (f' ({paper})' if paper != block else ''), fontsize=9)
    axes.set(xlabel='channel', ylabel='mean', xlim=(0, run.blocks[block].shape[1] - 1))
  paths.write_figure(path, figure, dpi=DPI)
  return figure
