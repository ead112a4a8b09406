"""Class activation maps of the last features, and Grad-CAM of any block.

Zhou et al., Learning Deep Features for Discriminative Localization (2016), equation 2: the map of
class k is M_k = sum_c w_kc A_c, with the features A before global mean pooling and the classifier's
weights w. Selvaraju et al., Grad-CAM (2017), equations 1 and 2: w_kc is replaced by the gradient of
the logit, summed over the positions. In a network that ends in mean pooling and one linear layer
both are the same map. There the mean of the map plus the classifier's bias is the logit.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from ecanet_jax.analysis.blocks import our_name
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.nn.pooling import GlobalPool
from ecanet_jax.runtime.errors import UserError, closest

HEAD = 'head'  # the features before global pooling


@dataclasses.dataclass(frozen=True)
class Layer:
  """Where the maps are taken.

  Attributes:
    name: HEAD or a block's name.
    exact: whether the mean of a map plus the classifier's bias is the logit.
  """

  name: str
  exact: bool


def choose_layer(model: ConvNet, asked: str = '') -> Layer:
  """The layer with this name, ours or the papers' (`conv_4_6`); by default the last features.

  The default is HEAD, or the last block if the network has fully connected layers behind it (VGG).

  Raises:
    UserError: the network has no such layer, or no classifier.
  """
  if not model.num_classes:
    raise UserError('the network has no classifier (num_classes=0), so there is no class to map.')
  blocks = [block.name for block in model.blocks()]
  pooled = not getattr(model, 'mlp', 0)
  name = our_name(asked) or (HEAD if pooled else blocks[-1])
  known = [*blocks, *([HEAD] if pooled else [])]
  if name not in known:
    raise UserError(f'no layer {asked!r}.{closest(name, known)} Layers: {", ".join(known)}.')
  return Layer(name, name == HEAD and model.global_pool == 'avg')


def make_cam(
  model: ConvNet, layer: Layer
) -> Callable[[Mapping[str, Any], jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
  """A compiled function of variables, normalised images `[B, H, W, C]` and classes `[B]`.

  It returns the maps, float32 `[B, h, w]`, as they are (not rectified), and the logits `[B, K]`.
  """

  def outputs(variables, images, added=None):
    """The logits and the layer's features, to which `added` is added."""
    seen = []

    def tap(next_fun, args, kwargs, context):
      if context.method_name != '__call__':
        return next_fun(*args, **kwargs)
      if layer.name == HEAD:
        if not isinstance(context.module, GlobalPool) or seen:
          return next_fun(*args, **kwargs)
        seen.append(args[0])
        return next_fun(args[0] if added is None else args[0] + added, *args[1:], **kwargs)
      features = next_fun(*args, **kwargs)
      if context.module.path == (layer.name,):
        seen.append(features)
        features = features if added is None else features + added
      return features

    with nn.intercept_methods(tap):
      logits = model.apply(variables, images, train=False)
    return logits, seen[-1]

  @jax.jit
  def cam(variables, images, classes):
    features = jax.eval_shape(outputs, variables, images)[1]

    def chosen(added):
      logits, seen = outputs(variables, images, added)
      own = jnp.take_along_axis(logits, classes[:, None], axis=-1)
      return own.sum(), (logits, seen)  # images do not depend on each other

    zeros = jnp.zeros(features.shape, features.dtype)
    gradient, (logits, seen) = jax.grad(chosen, has_aux=True)(zeros)
    weights = gradient.astype(jnp.float32).sum((1, 2), keepdims=True)
    return (weights * seen.astype(jnp.float32)).sum(-1), logits

  return cam


def random_variables(model: ConvNet, image_size: int, seed: int = 0) -> Mapping[str, Any]:
  """The variables of an untrained network, for a check.

  A map that does not change when the weights are random shows the picture and not what was learnt
  (Adebayo et al., Sanity Checks for Saliency Maps, 2018).
  """
  images = jnp.zeros((1, image_size, image_size, model.in_chans), jnp.float32)
  return jax.jit(lambda key: model.init(key, images, train=False))(jax.random.key(seed))
