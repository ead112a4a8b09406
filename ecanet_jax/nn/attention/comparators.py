"""The attention modules that ECA-Net's Table 2 compares with: CBAM, A2-Net, GSoP-Net1, AA-Net."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from ecanet_jax.nn.attention.channel import SE, AttentionModule, ChannelAttention
from ecanet_jax.nn.initializers import fan_in_normal, fan_out_normal
from ecanet_jax.nn.layers import Product
from ecanet_jax.ops.pooling import largest
from ecanet_jax.runtime.errors import UserError


class CBAM(ChannelAttention):
  """CBAM: channel attention from mean and maximum, then spatial attention.

  Woo et al., CBAM, ECCV 2018, Eq. 2 and 3: M_c = sigmoid(MLP(mean) + MLP(max)) with SE's two
  layers; M_s = sigmoid(BN(conv7x7([max over C, mean over C]))) of the reweighted x.
  """

  own_squeeze = 'both'

  @nn.compact
  def __call__(self, x, train: bool):
    x = super().__call__(x, train)
    over_channels = x.astype(jnp.float32)
    mean = over_channels.mean(-1, keepdims=True)
    maps = jnp.concatenate([largest(over_channels, (-1,)), mean], -1)  # [B, H, W, 2]
    logits = self.layers.conv(maps, 'spatial', 1, 7, padding='symmetric', dtype=jnp.float32)
    weights = jax.nn.sigmoid(self.layers.norm(logits, 'spatial_bn', train).astype(jnp.float32))
    self.sow('intermediates', 'spatial_weights', weights)
    return x * weights.astype(self.layers.dtype)

  excite = SE.excite
  describe = classmethod(SE.describe.__func__)


class DoubleAttention(AttentionModule):
  """Double attention: gathers second-order features and distributes them to the pixels.

  Chen et al., A2-Nets, NeurIPS 2018, Eq. 5-6, with m = n = C / 2:
  x + BN(conv(softmax_N(B) gathers A into [m, n]; softmax_n(V) distributes it)).
  """

  standard = 'post'

  @nn.compact
  def __call__(self, x, train: bool):
    batch, height, width, channels = x.shape
    project = lambda name: self.layers.conv(x, name, channels // 2, use_bias=True).reshape(
      batch, height * width, channels // 2
    )
    features = project('features')  # [B, N, m]
    gather = jax.nn.softmax(project('gather').astype(jnp.float32), 1)  # over pixels
    distribute = jax.nn.softmax(project('distribute').astype(jnp.float32), 2)  # over maps
    self.sow('intermediates', 'weights', gather)
    gathered = Product('bpm,bpn->bmn')(features.astype(jnp.float32), gather)
    y = Product('bmn,bpn->bpm')(gathered, distribute)
    y = y.reshape(batch, height, width, channels // 2)
    return x + self.layers.conv_bn(y, 'extend', train, channels, act=False, use_bias=True)


class RowConv(nn.Module):
  """Maps each row of `[B, R, R]` to 4 values by its own weights, `kernel` `[R, R, 4]`."""

  @nn.compact
  def __call__(self, y):
    rows = y.shape[1]
    kernel = self.param('kernel', fan_out_normal, (rows, rows, 4))
    bias = self.param('bias', nn.initializers.zeros, (4 * rows,))
    return jnp.einsum('brc,rco->bro', y, kernel).reshape(-1, 4 * rows) + bias[None]


class GSoP(AttentionModule):
  """Global second-order pooling: channel weights from the covariance of 128 reduced channels.

  Gao et al., Global Second-order Pooling, CVPR 2019, Fig. 2(a) (GSoP-Net1).
  """

  reduced = 128

  @nn.compact
  def __call__(self, x, train: bool):
    layers = self.layers
    y = nn.relu(x)
    y = layers.conv_bn(y, 'reduce', train, self.reduced, act=False, use_bias=True)
    y = nn.relu(y).astype(jnp.float32)
    y = y.reshape(y.shape[0], -1, self.reduced)  # [B, N, 128]
    y -= y.mean(1, keepdims=True)
    covariance = Product('bpc,bpd->bcd')(y, y) / y.shape[1]
    self.sow('intermediates', 'squeeze', covariance)
    # BatchNorm per row: [B, row, column] -> channels last and back.
    y = layers.norm(covariance.transpose(0, 2, 1)[:, None], 'row_bn', train)
    y = RowConv(name='row')(y[:, 0].transpose(0, 2, 1).astype(jnp.float32))
    y = layers.conv(
      y[:, None, None], 'expand', x.shape[-1], use_bias=True, dtype=jnp.float32
    )
    weights = jax.nn.sigmoid(y)
    self.sow('intermediates', 'weights', weights)
    return x * weights.astype(layers.dtype)


def _vectors(key, shape):
  """The paper's initialiser of relative positions `[N, d]`: normal, variance 1 / d."""
  return fan_in_normal(key, shape[::-1]).T


class AugmentedConv(AttentionModule):
  """3x3 convolution with some output channels replaced by 2-D self-attention.

  Bello et al., Attention Augmented Convolutional Networks, ICCV 2019, section 3, with the paper's
  kappa = 0.2 (keys), upsilon = 0.1 (values), 8 heads and at least 20 key channels per head. The
  relative positions fit one image size. With a stride, attention sees the mean of stride x stride
  pixels; the paper leaves this open.
  """

  standard = 'conv'
  heads, kappa, upsilon, least = 8, 0.2, 0.1, 20

  @classmethod
  def widths(cls, features: int) -> tuple[int, int]:
    """Total channels of keys and of values."""
    keys = max(cls.least * cls.heads, int(cls.kappa * features) // cls.heads * cls.heads)
    return keys, max(cls.heads, int(cls.upsilon * features) // cls.heads * cls.heads)

  @classmethod
  def describe(cls, spec, slot):
    return 'dk={} dv={}'.format(*cls.widths(slot.channels))

  @nn.compact
  def __call__(self, x, train: bool):
    features, stride = self.slot.channels, self.slot.block.stride
    keys, values = self.widths(features)
    local = self.layers.conv(x, 'conv', features - values, 3, stride)
    if stride > 1:
      x = self.layers.pool(x, 'mean', stride, stride, 'same')
    batch, height, width = x.shape[:3]
    y = self.layers.conv(x, 'qkv', 2 * keys + values).astype(jnp.float32)
    heads = lambda part: part.reshape(batch, height, width, self.heads, -1)
    q, k, v = map(heads, jnp.split(y, (keys, 2 * keys), -1))
    q *= q.shape[-1] ** -0.5
    logits = Product('byxnd,bvund->bnyxvu')(q, k)
    # r[j - i + size - 1] is the position of key j seen from query i.
    rows, columns = self._relative('height', height, q), self._relative('width', width, q)
    logits += Product('byxnd,yvd->bnyxv')(q, rows)[..., None]
    logits += Product('byxnd,xud->bnyxu')(q, columns)[..., None, :]
    shape = logits.shape
    weights = jax.nn.softmax(logits.reshape(*shape[:4], -1), -1).reshape(shape)
    self.sow('intermediates', 'weights', weights)
    y = Product('bnyxvu,bvund->byxnd')(weights, v).reshape(batch, height, width, values)
    y = self.layers.conv(y, 'output', values)
    return jnp.concatenate([local, y], -1)

  def _relative(self, axis: str, size: int, q):
    """Vectors of the relative positions along an axis, `[query, key, d]`."""
    name, depth = f'relative_{axis}', q.shape[-1]
    known = self.get_variable('params', name)
    if known is not None and known.shape[0] != 2 * size - 1:
      raise UserError(
        f'attention aa: the relative positions of stage {self.slot.block.stage} are for a '
        f'{axis} of {(known.shape[0] + 1) // 2} pixels, not {size}; use the image size of its '
        'training.'
      )
    table = self.param(name, _vectors, (2 * size - 1, depth))
    index = np.arange(size)
    return table[index[None] - index[:, None] + size - 1]
