"""The speed of a training by chip, and the share of a chip's peak that it uses (MFU)."""

import functools
from collections.abc import Sequence

import jax

from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.models.count import count
from ecanet_jax.runtime.accelerators import PEAK_FLOPS
from ecanet_jax.training.progressive_resizing import Stretch, size_at

# FLOPs of a training step for each multiply-add of the network: two in the forward pass, and four
# for the gradients by the features and by the parameters.
FLOPS = 6


class Utilization:
  """Speed by chip, and model FLOPs utilisation.

  MFU (Chowdhery et al., "PaLM", 2022, appendix B) counts what the network needs: `FLOPS` for each
  multiply-add, all layers trained. What a program computes twice to save memory does not count.
  """

  def __init__(
    self, model: ConvNet, parts: Sequence[Stretch], devices: Sequence[jax.Device],
    gradients: int = 1,
  ):
    """Prepares to count; nothing is traced on devices whose peak is not known.

    Args:
      model: the network.
      parts: all steps of the training by image size.
      devices: of the training, all of one kind.
      gradients: computed in a step: 2 with sharpness-aware minimisation.
    """
    self._parts, self._devices = parts, len(devices)
    # The operations of a detector depend on what it finds.
    counted = isinstance(model, ConvNet)
    self._peak = PEAK_FLOPS.get(devices[0].device_kind) if counted else None
    flops = gradients * FLOPS
    self._flops = functools.cache(lambda size: flops * count(model, size).operations())

  def figures(self, step: int, images_per_second: float) -> dict[str, float]:
    """images_per_second_per_chip with several devices, and mfu (0 to 1) where the peak is known.

    Args:
      step: number of a finished step, from 1; the size of its images counts.
      images_per_second: of all devices.
    """
    per_chip = images_per_second / self._devices
    found = {'images_per_second_per_chip': per_chip} if self._devices > 1 else {}
    if self._peak:
      found['mfu'] = per_chip * self._flops(size_at(self._parts, step - 1)) / self._peak
    return found
