"""CBAM, A2-Net, GSoP-Net1 and AA-Net against twins written from their papers' equations."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from ecanet_jax.nn.attention.comparators import AugmentedConv
from ecanet_jax.runtime.errors import UserError
from tests.support.attention_twins import batch_norm, compare, make, quick, random_variables
from tests.support.channel_twins import channel_twin, deviation, parameters, se

IMAGES = np.random.default_rng(0).normal(size=(2, 4, 3, 16)).astype(np.float32)


def conv(x, kernel, **options):
  """`[B, H, W, C]` with `[kh, kw, in, out]`."""
  kernel = kernel.permute(3, 2, 0, 1).contiguous()
  return F.conv2d(x.movedim(-1, 1), kernel, **options).movedim(1, -1)


def pixelwise(params, x):
  """1x1 convolution."""
  return F.linear(x, params['kernel'].T, params.get('bias'))


@pytest.mark.parametrize('train', [False, True])
def test_cbam_is_equations_2_and_3(train):
  def twin(params, stats, x):
    x, shown = channel_twin(se, 'both')(params, stats, x)
    maps = torch.stack([x.amax(-1), x.mean(-1)], -1)
    y = conv(maps, params['spatial']['kernel'], padding=3)
    y = batch_norm(params['spatial_bn'], stats['spatial_bn'], y, train)
    weights = torch.sigmoid(y)
    return x * weights, {**shown, 'spatial_weights': weights}

  compare(make('cbam', 16, {'reduction': 4.0}), twin, IMAGES, train)


@pytest.mark.parametrize('train', [False, True])
def test_double_attention(train):
  """Chen et al., Eq. 3-6: z_i = sum_k softmax(V)_ki g_k, g_k = sum_j softmax(B)_kj a_j."""

  def twin(params, stats, x):
    outputs, maps = [], []
    for image in x:
      flat = image.reshape(-1, 16)  # [N, C]
      a, b, v = (pixelwise(params[name], flat) for name in ('features', 'gather', 'distribute'))
      g = []
      for k in range(b.shape[1]):  # every attention map gathers one descriptor
        over_pixels = b[:, k].exp() / b[:, k].exp().sum()
        g.append(sum(over_pixels[j] * a[j] for j in range(len(flat))))
      z = []
      for i in range(len(flat)):  # every pixel gets its mixture of them
        over_maps = v[i].exp() / v[i].exp().sum()
        z.append(sum(over_maps[k] * g[k] for k in range(len(g))))
      outputs.append(torch.stack(z).reshape(*image.shape[:2], -1))
      maps.append(torch.softmax(b, 0))
    y = pixelwise(params['extend'], torch.stack(outputs))
    return x + batch_norm(params['extend_bn'], stats['extend_bn'], y, train), {
      'weights': torch.stack(maps)
    }

  # A softmax over pixels does not see its map's bias, nor a BatchNorm in training what it adds.
  unseen = ('features/bias', 'gather/bias', 'extend/bias') if train else ('gather/bias',)
  compare(make('a2', 16, position='post'), twin, 3 * IMAGES, train, unseen)


@pytest.mark.parametrize('train', [False, True])
def test_global_second_order_pooling(train):
  def twin(params, stats, x):
    y = pixelwise(params['reduce'], F.relu(x))
    y = F.relu(batch_norm(params['reduce_bn'], stats['reduce_bn'], y, train))
    y = y.reshape(len(x), -1, 128)
    pixels = y.shape[1]
    centring = (torch.eye(pixels) - torch.ones(pixels, pixels) / pixels).double() / pixels
    covariance = y.mT @ centring @ y  # [B, 128, 128]
    y = batch_norm(
      params['row_bn'], stats['row_bn'], covariance[..., None], train, channel_axis=1
    )
    kernel = params['row']['kernel'].permute(0, 2, 1).reshape(512, 1, 128, 1)
    y = F.conv2d(y, kernel, params['row']['bias'], groups=128)[..., 0, 0]
    weights = torch.sigmoid(pixelwise(params['expand'], y))[:, None, None]
    return x * weights, {'squeeze': covariance, 'weights': weights}

  compare(make('gsop', 16), twin, IMAGES, train, ('reduce/bias',) if train else ())


def logits_by_loops(q, k, height, width):
  """Bello et al., Eq. 3: l_ij = q_i . (k_j + r^W_(jx-ix) + r^H_(jy-iy)) / sqrt(d)."""
  _, rows, columns, _, depth = q.shape
  places = list(itertools.product(range(rows), range(columns)))
  logits = [
    torch.stack([
      (q[:, iy, ix] * (k[:, jy, jx] + width[jx - ix + columns - 1] + height[jy - iy + rows - 1]))
      .sum(-1) / depth**0.5  # [B, heads]
      for jy, jx in places
    ], -1)
    for iy, ix in places
  ]
  return torch.stack(logits, -2)  # [B, heads, HW, HW]


def relative_to_absolute(x):
  """`[..., L, 2L - 1]` by offset -> `[..., L, L]` by key: the shifts of the paper's appendix."""
  *outer, length, _ = x.shape
  flat = F.pad(x, (0, 1)).reshape(*outer, -1)
  flat = F.pad(flat, (0, length - 1))
  return flat.reshape(*outer, length + 1, 2 * length - 1)[..., :length, length - 1 :]


def logits_by_shifts(q, k, height, width):
  _, rows, columns, _, depth = q.shape
  q = q / depth**0.5
  logits = torch.einsum('byxnd,bvund->bnyxvu', q, k)
  along_x = relative_to_absolute(torch.einsum('byxnd,md->bnyxm', q, width))
  along_y = relative_to_absolute(torch.einsum('byxnd,md->bnxym', q, height)).transpose(2, 3)
  logits = logits + along_x[:, :, :, :, None, :] + along_y[..., None]
  return logits.reshape(*logits.shape[:2], rows * columns, rows * columns)


@pytest.mark.parametrize(('size', 'stride'), [((4, 3), 1), ((4, 3), 2), ((3, 6), 2)])
def test_augmented_convolution(size, stride):
  features, keys, values = 160, 160, 16
  x = np.random.default_rng(0).normal(size=(2, *size, 12)).astype(np.float32)

  def twin(params, stats, x):
    local = conv(x, params['conv']['kernel'], stride=stride, padding=1)
    x = F.avg_pool2d(  # mean of the pixels that exist
      x.movedim(-1, 1), stride, stride, ceil_mode=True, count_include_pad=False
    ).movedim(1, -1)
    batch, height, width, _ = x.shape
    q, k, v = pixelwise(params['qkv'], x).split([keys, keys, values], -1)
    q, k, v = (part.reshape(batch, height, width, 8, -1) for part in (q, k, v))
    logits = logits_by_loops(q, k, params['relative_height'], params['relative_width'])
    shifted = logits_by_shifts(q, k, params['relative_height'], params['relative_width'])
    torch.testing.assert_close(logits, shifted)
    weights = torch.softmax(logits, -1)
    y = torch.einsum('bnij,bjnd->bind', weights, v.flatten(1, 2))
    y = pixelwise(params['output'], y.reshape(batch, height, width, values))
    shown = weights.reshape(batch, 8, height, width, height, width)
    return torch.cat([local, y], -1), {'weights': shown}

  module = make('aa', features, stride=stride, position='conv', in_channels=12)
  compare(module, twin, x)


def test_augmented_convolutions_channels():
  """Of all keys and values: 0.2 and 0.1 of the features in 8 heads, at least 20 keys per head."""
  assert [AugmentedConv.widths(c) for c in (64, 128, 256, 512, 1024, 2048)] == [
    (160, 8), (160, 8), (160, 24), (160, 48), (200, 96), (408, 200),
  ]


def test_positions_of_another_image_size_are_an_error():
  module = make('aa', 16, position='conv')
  params = random_variables(module, IMAGES)
  trace = lambda *size: jax.eval_shape(
    lambda: module.apply(params, jnp.zeros((1, *size, 16)), False)
  )
  assert trace(4, 3).shape == (1, 4, 3, 16)
  with pytest.raises(UserError, match='height of 4 pixels, not 5; use the image size of its train'):
    trace(5, 3)
  with pytest.raises(UserError, match='stage 2 are for a width of 3 pixels, not 6'):
    trace(4, 6)


def test_parameters():
  cbam = lambda channels: 2 * channels**2 // 16 + 98 + 2
  assert [parameters('cbam', c) for c in (256, 2048)] == [cbam(256), cbam(2048)]
  # What they add to ResNet-50's 25,557,032 in the published networks.
  assert sum(parameters('gsop', c) for c in (512, 1024, 2048)) == 28_054_440 - 25_557_032
  augmented = sum(
    count * (parameters('aa', c, size=size, position='conv') - 9 * c**2)
    for c, count, size in ((128, 4, 28), (256, 6, 14), (512, 3, 7))
  )
  assert round((25_557_032 + augmented) / 1e6, 2) == 25.81
  double = parameters('a2', 512, position='post')
  assert double == 3 * (512 * 256 + 256) + (256 * 512 + 512) + 2 * 512


@pytest.mark.parametrize('kind', ['cbam', 'a2', 'gsop', 'aa'])
def test_bfloat16_keeps_the_gate_in_float32(kind):
  position = {'position': 'conv'} if kind == 'aa' else {}
  x = jnp.asarray(IMAGES, jnp.bfloat16)
  half = make(kind, 16, (), jnp.bfloat16, **position)
  exact = make(kind, 16, (), **position)
  variables = random_variables(half, x)

  def run(x):
    return (
      half.apply(variables, x, False, mutable=['intermediates']),
      exact.apply(variables, x.astype(jnp.float32), False, mutable=['intermediates']),
    )

  (y, shown), (exact_y, exact_shown) = quick(run)(x)
  assert y.dtype == jnp.bfloat16
  np.testing.assert_allclose(y.astype(jnp.float32), exact_y, rtol=0.05, atol=0.05)
  for name, (value,) in shown['intermediates'].items():
    assert value.dtype == jnp.float32, name
    exact_value = exact_shown['intermediates'][name][0]
    np.testing.assert_allclose(value, exact_value, rtol=0.1, atol=0.02, err_msg=name)


@pytest.mark.parametrize(('kind', 'expected'), [
  ('cbam', {'spatial/kernel': (2 / 49) ** 0.5, 'spatial_bn/scale': 1, 'spatial_bn/bias': 0,
            'reduce/kernel': (2 / 32) ** 0.5}),
  ('a2', {'gather/kernel': (2 / 256) ** 0.5, 'gather/bias': 0, 'extend_bn/scale': 1}),
  ('gsop', {'reduce/kernel': (2 / 128) ** 0.5, 'row/bias': 0, 'row_bn/scale': 1}),
  # The paper's: a query's 20 products with a vector of deviation 20^-0.5 stay of order 1.
  ('aa', {'relative_height': 20**-0.5, 'relative_width': 20**-0.5}),
])
def test_initial_deviation(kind, expected):
  found = deviation(kind, **({'position': 'conv'} if kind == 'aa' else {}))
  for name, value in expected.items():
    assert found[name] == pytest.approx(value, rel=0.2), name
