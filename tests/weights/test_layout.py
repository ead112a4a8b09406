"""Layouts against PyTorch's own layers."""

import numpy as np
import pytest

from ecanet_jax.weights.layout import KINDS

OURS = {
  'conv': (3, 3, 4, 8),
  'flattened': (7, 7, 4, 8),
  'pointwise': (4, 8),
  'depthwise': (5, 3, 8),
  'dense': (4, 8),
  'eca': (5,),
  'rois': (7 * 7 * 4, 8),
  'transposed': (2, 2, 4, 8),
  'classes_last': (4, 8),
  'boxes_last': (4, 8),
  'masks_last': (4, 8),
}
BACKGROUND = {'boxes_last': 4, 'masks_last': 1}  # outputs that PyTorch's layer lacks


def torch_layer(kind):
  torch = pytest.importorskip('torch')
  return {
    'conv': lambda: torch.nn.Conv2d(4, 8, 3),
    'flattened': lambda: torch.nn.Linear(4 * 7 * 7, 8),
    'pointwise': lambda: torch.nn.Conv2d(4, 8, 1),
    'depthwise': lambda: torch.nn.Conv2d(8, 8, (5, 3), groups=8),
    'dense': lambda: torch.nn.Linear(4, 8),
    'eca': lambda: torch.nn.Conv1d(1, 1, 5, bias=False),
    'rois': lambda: torch.nn.Linear(4 * 7 * 7, 8),
    'transposed': lambda: torch.nn.ConvTranspose2d(4, 8, 2, 2),
    'classes_last': lambda: torch.nn.Linear(4, 8),
    'boxes_last': lambda: torch.nn.Linear(4, 4),
    'masks_last': lambda: torch.nn.Conv2d(4, 7, 1),
    'norm': lambda: torch.nn.BatchNorm2d(8),
  }[kind]()


@pytest.mark.parametrize('kind', OURS)
def test_kernel_has_pytorchs_shape_and_comes_back(kind):
  kernel = KINDS[kind][0]
  array = np.random.default_rng(0).normal(size=OURS[kind]).astype(np.float32)
  array[..., :BACKGROUND.get(kind, 0)] = 0
  there = kernel.to_theirs(array)
  assert there.shape == tuple(torch_layer(kind).weight.shape) == kernel.their_shape(array.shape)
  np.testing.assert_array_equal(kernel.to_ours(there), array)


@pytest.mark.parametrize('kind', KINDS)
def test_names_are_pytorchs(kind):
  theirs = set(torch_layer(kind).state_dict()) - {'num_batches_tracked'}
  ours = {leaf.theirs for leaf in KINDS[kind]}
  assert ours == theirs or (kind in ('conv', 'depthwise') and ours | {'bias'} == theirs)


def test_kernels_index_as_documented():
  array = np.arange(3 * 3 * 4 * 8).reshape(3, 3, 4, 8)
  assert KINDS['conv'][0].to_theirs(array)[7, 2, 0, 1] == array[0, 1, 2, 7]
  array = np.arange(3 * 3 * 8).reshape(3, 3, 8)
  assert KINDS['depthwise'][0].to_theirs(array)[7, 0, 0, 1] == array[0, 1, 7]
  array = np.arange(5)
  assert KINDS['eca'][0].to_theirs(array)[0, 0, 1] == array[1]  # not flipped
  array = np.arange(2 * 2 * 4 * 8).reshape(2, 2, 4, 8)
  assert KINDS['transposed'][0].to_theirs(array)[2, 7, 0, 1] == array[1, 0, 2, 7]  # flipped
