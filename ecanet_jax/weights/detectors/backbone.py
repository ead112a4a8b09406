"""The weights of a classification network as the backbone of a detector, and back."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ecanet_jax.detection.from_config import backbone_section, is_detector
from ecanet_jax.detection.networks.detector import Detector
from ecanet_jax.models.computation import other_fields
from ecanet_jax.models.convnet import ConvNet
from ecanet_jax.nn.attention import Attention
from ecanet_jax.nn.parameter_shapes import flat_shapes, parameter_shapes
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.key_difference import check_keys
from ecanet_jax.weights.loaded_weights import LoadedWeights


def with_backbone(
  model: Detector, variables: Mapping[str, Any], weights: LoadedWeights
) -> dict[str, Any]:
  """A detector's variables with the backbone of a classification network.

  Args:
    model: from `create_detector`.
    variables: {'params', 'batch_stats'} of it.
    weights: of the same network as the backbone, from `read_weights`: a training, a timm folder or
      a file. Its head and its classifier are left out.

  Raises:
    UserError: they are of another network.
  """
  theirs = weights.create()
  if type(theirs) is not type(model.backbone):
    raise UserError(
      f'the weights are of {weights.model["name"]} ({type(theirs).__name__}), and the backbone is '
      f'of another family ({type(model.backbone).__name__}); create the detector with '
      f'backbone={weights.model["name"]!r}.'
    )
  kinds = tuple(_attention(network) for network in (theirs, model.backbone))
  differ = {'attention': kinds} if kinds[0] != kinds[1] else other_fields(
    theirs, model.backbone, ('classifier_values', 'global_pool', 'attention'))
  if differ:
    field, (value, ours) = next(iter(differ.items()))
    raise UserError(
      f'the weights have {field}={value!r}, the backbone {ours!r}; give the backbone the fields of '
      'the weights.'
    )
  prefixes = tuple(f'{collection}/backbone/' for collection in ('params', 'batch_stats'))
  expected = {path.replace('/backbone/', '/', 1): shape
              for path, shape in parameter_shapes(model).items() if path.startswith(prefixes)}
  modules = {path.split('/')[1] for path in expected}
  given = {
    collection: {name: arrays for name, arrays in tree.items() if name in modules}
    for collection, tree in weights.variables.items()}
  check_keys(expected, flat_shapes(given), 'the weights do not fit the backbone of')
  return {collection: {**tree, 'backbone': given[collection]} if given.get(collection) else tree
          for collection, tree in variables.items()}


def backbone_of(weights: LoadedWeights) -> LoadedWeights:
  """The weights of a detector's backbone, a network without head and classifier.

  Args:
    weights: of a detector; those of another network are returned unchanged.
  """
  if not is_detector(weights.model['name']):
    return weights
  variables = {collection: tree['backbone'] for collection, tree in weights.variables.items()
               if 'backbone' in tree}
  return dataclasses.replace(
    weights, model=backbone_section(weights.model), variables=variables, label_names=None
  )


def _attention(network: ConvNet) -> str | Attention:
  """A network's attention without ECA's kernel sizes, which the arrays' shapes show."""
  attention = network.attention
  if attention.kind == 'none':
    return 'none'
  return dataclasses.replace(attention, k=(), k_policy='', gamma=0.0, b=0.0)
