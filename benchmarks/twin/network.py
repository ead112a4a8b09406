"""The network of a config in timm, with the same arrays under the same names."""

import dataclasses
from collections.abc import Callable

import numpy as np
import torch

from ecanet_jax.models import network
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import from_torch, to_torch
from ecanet_jax.weights.torchvision_shim import import_torchvision

import_torchvision()
import timm  # noqa: E402
from timm.layers import EcaModule, SEModule  # noqa: E402


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How a network that timm has not is made of one that it has.

  Attributes:
    name: the network of timm.
    change: changes the module.
    names: parts of our keys -> of its keys.
  """

  name: str
  change: Callable[[torch.nn.Module], None]
  names: tuple[tuple[str, str], ...] = ()


def _without_se(module: torch.nn.Module) -> None:
  for block in _blocks(module):
    block.se = torch.nn.Identity()


def _at_the_end(make: Callable[[int], torch.nn.Module]) -> Callable[[torch.nn.Module], None]:
  """Attention behind the last BatchNorm of each block, as ECA-Net has it in MobileNetV2."""

  def change(module):
    for block in _blocks(module):
      last = block.bn3 if hasattr(block, 'bn3') else block.bn2
      block.end = make(last.num_features)
      last.register_forward_hook(lambda _, inputs, output, attention=block.end: attention(output))

  return change


def _blocks(module: torch.nn.Module) -> list[torch.nn.Module]:
  return [block for stage in module.blocks for block in stage]


def _se(channels: int) -> torch.nn.Module:
  return SEModule(channels, rd_channels=channels // 8, bias=False)


BUILT = {
  'b0_nose_all': Recipe('efficientnet_b0', _without_se),
  'se_mobilenetv2': Recipe('mobilenetv2_100', _at_the_end(_se), (
    ('.se.conv_reduce.', '.end.fc1.'), ('.se.conv_expand.', '.end.fc2.'),
  )),
  'eca_mobilenetv2': Recipe(
    'mobilenetv2_100', _at_the_end(lambda channels: EcaModule(channels)), (('.se.', '.end.'),)
  ),
}


class Twin:
  """A network in timm beside ours.

  Attributes:
    module: the network of timm, with its own first weights.
  """

  def __init__(self, name: str, model: ConvNet, seed: int):
    """Makes the network.

    Args:
      name: of our network.
      model: ours.
      seed: of the first weights.

    Raises:
      UserError: timm has no such network.
    """
    record, recipe = network(name), BUILT.get(name)
    if not record.timm and not recipe:
      raise UserError(f'timm has no {name}; networks made of its modules: {", ".join(BUILT)}.')
    torch.manual_seed(seed)
    self._model, self._names = model, recipe.names if recipe else ()
    self.module = timm.create_model(
      recipe.name if recipe else record.timm, num_classes=model.num_classes,
      drop_rate=model.dropout, drop_path_rate=model.drop_path, **record.timm_arguments,
    )
    if recipe:
      recipe.change(self.module)
    preset = model.make_layers().preset
    for part in self.module.modules():
      if isinstance(part, torch.nn.BatchNorm2d):
        part.momentum, part.eps = 1 - preset.bn_decay, preset.bn_eps

  def load(self, variables) -> None:
    """Takes the values of our variables.

    Raises:
      UserError: its arrays are others than ours.
    """
    state = {}
    for key, array in to_torch(self._model, variables).items():
      for ours, theirs in self._names:
        key = key.replace(ours, theirs)
      state[key] = torch.from_numpy(np.array(array))
    try:
      self.module.load_state_dict(state)
    except RuntimeError as error:
      first = str(error).strip().splitlines()[-1].strip()
      raise UserError(f'the network of timm has other arrays than ours: {first}') from error

  def variables(self):
    """Its values as our variables."""
    state = {}
    for key, tensor in self.module.state_dict().items():
      for ours, theirs in self._names:
        key = key.replace(theirs, ours)
      state[key] = tensor.numpy().copy()
    return from_torch(self._model, state)

  def check(self, logits: np.ndarray, images: np.ndarray) -> None:
    """Compares its logits with ours.

    Args:
      logits: ours, `[B, classes]`, in evaluation mode with the same weights.
      images: `[B, H, W, 3]`, normalised.

    Raises:
      UserError: they differ by more than rounding.
    """
    self.module.eval()
    with torch.no_grad():
      theirs = self.module(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    worst = np.abs(theirs - logits).max() / np.abs(logits).max()
    if not worst < 1e-3:
      raise UserError(f'the network of timm computes something else: logits differ by {worst:.1e}.')
