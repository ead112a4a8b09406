"""Channel attention against twins written from the equations of ECA-Net and its Table 1."""

import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax.nn.attention import eca_kernel_size
from tests.support.attention_twins import compare, make, quick, random_variables, same, shapes
from tests.support.channel_twins import EXCITE, channel_twin, deviation, eca, parameters, se

CHANNELS = 32
IMAGES = np.random.default_rng(0).normal(size=(3, 5, 4, CHANNELS)).astype(np.float32)


@pytest.mark.parametrize(('kind', 'k'), [
  ('eca', 1), ('eca', 3), ('eca', 5), ('eca', 7),
  ('eca_circular', 1), ('eca_circular', 3), ('eca_circular', 7), ('eca_ns', 3), ('eca_ns', 5),
])
def test_local_interaction_is_equations_4_to_6(kind, k):
  compare(make(kind, CHANNELS, {'k': (k,)}), channel_twin(EXCITE[kind]), IMAGES)


@pytest.mark.parametrize('kind', ['eca', 'eca_ns'])
def test_a_kernel_wider_than_the_channels_reaches_all_of_them(kind):
  compare(make(kind, 4, {'k': (7,)}), channel_twin(EXCITE[kind]), IMAGES[..., :4])


@pytest.mark.parametrize(('options', 'network', 'used'), [
  ({}, 'relu', 'relu'),
  ({'bias': True}, 'swish', 'swish'),
  ({'bias': True, 'activation': 'relu6'}, 'swish', 'relu6'),
  ({'activation': 'hard_swish'}, 'relu', 'hard_swish'),
])
def test_se_is_equation_2(options, network, used):
  module = make('se', CHANNELS, {'reduction': 4.0, **options}, activation=network)
  compare(module, channel_twin(lambda params, y: se(params, y, used)), IMAGES)
  assert ('bias' in shapes(module, IMAGES)['params']['reduce']) == options.get('bias', False)


@pytest.mark.parametrize(('kind', 'groups'), [
  ('se_var1', 0), ('se_var2', 0), ('se_var3', 0),
  ('se_gc1', 0), ('se_gc2', 0), ('se_gc3', 0), ('se_gc1', 1), ('se_gc3', 8),
])
def test_variants_are_table_1(kind, groups):
  compare(make(kind, CHANNELS, {'groups': groups}), channel_twin(EXCITE[kind]), IMAGES)


@pytest.mark.parametrize('kind', ['eca', 'se'])
@pytest.mark.parametrize('squeeze', ['max', 'both', 'none'])
def test_squeeze(kind, squeeze):
  module = make(kind, CHANNELS, {'squeeze': squeeze, 'k': (3,), 'bias': True})
  compare(module, channel_twin(EXCITE[kind], squeeze), IMAGES)


def test_equal_largest_pixels_share_the_gradient():
  x = IMAGES.clip(0, 1)  # after ReLU6 and the like whole channels are 0, or several pixels are 1
  module = make('eca', CHANNELS, {'squeeze': 'max', 'k': (3,)})
  compare(module, channel_twin(eca, 'max'), x)


@pytest.mark.parametrize('gate', ['hard_sigmoid', 'tanh', 'relu'])
def test_gate(gate):
  module = make('eca', CHANNELS, {'gate': gate, 'k': (5,)})
  compare(module, channel_twin(eca, gate=gate), 3 * IMAGES)


def test_a_hard_sigmoid_saturates():
  module = make('se_var1', CHANNELS, {'gate': 'hard_sigmoid', 'squeeze': 'none'})
  compare(module, channel_twin(EXCITE['se_var1'], 'none', 'hard_sigmoid'), 3 * IMAGES)


@pytest.mark.parametrize(('channels', 'k'), [
  (16, 3), (24, 3), (32, 3), (40, 3), (64, 3), (96, 3), (112, 3), (127, 3), (128, 5), (144, 5),
  (160, 5), (240, 5), (256, 5), (320, 5), (480, 5), (512, 5), (672, 5), (1024, 5), (1152, 5),
  (1280, 5), (2047, 5), (2048, 7),
])
def test_kernel_size_is_equation_9(channels, k):
  assert eca_kernel_size(channels) == k


def test_kernel_size_in_networks_of_the_paper():
  """Fig. 3's rule gives ECA-ResNet-50 86 weights and ECA-MobileNetV2 59."""
  blocks = {256: 3, 512: 4, 1024: 6, 2048: 3}
  assert sum(n * eca_kernel_size(c) for c, n in blocks.items()) == 86
  blocks = {16: 1, 24: 2, 32: 3, 64: 4, 96: 3, 160: 3, 320: 1}
  assert sum(n * eca_kernel_size(c) for c, n in blocks.items()) == 59


# Table 1, with r = 16 and k = 3: parameters as a function of C.
TABLE_1 = {
  'se': (8_192, 524_288),  # 2 C^2 / r
  'se_var1': (0, 0),
  'se_var2': (256, 2_048),  # C
  'se_var3': (65_536, 4_194_304),  # C^2
  'se_gc1': (4_096, 262_144),  # C^2 / 16
  'se_gc2': (4_096, 32_768),  # 16 C
  'se_gc3': (2_048, 16_384),  # 8 C
  'eca_ns': (768, 6_144),  # k C
  'eca': (3, 3),  # k
  'eca_circular': (3, 3),
}


@pytest.mark.parametrize(('kind', 'counts'), TABLE_1.items())
def test_parameters_are_table_1s(kind, counts):
  for channels, count in zip((256, 2048), counts):
    assert parameters(kind, channels, {'k': (3,)}) == count


@pytest.mark.parametrize('kind', ['eca', 'eca_ns', 'se', 'se_var2', 'se_var3', 'se_gc2'])
def test_bfloat16_keeps_the_gate_in_float32(kind):
  module = make(kind, CHANNELS, {'k': (3,)}, jnp.bfloat16)
  exact = make(kind, CHANNELS, {'k': (3,)})
  x = jnp.asarray(IMAGES, jnp.bfloat16)
  variables = random_variables(module, x)

  def run(x):
    return (
      module.apply(variables, x, True, mutable=['intermediates']),
      exact.apply(variables, x.astype(jnp.float32), True, mutable=['intermediates']),
    )

  (y, shown), (exact_y, exact_shown) = quick(run)(x)
  assert y.dtype == jnp.bfloat16
  for name in ('squeeze', 'weights'):  # nothing is rounded on the way to the gate
    ours, theirs = (s['intermediates'][name][0] for s in (shown, exact_shown))
    assert ours.dtype == jnp.float32
    same(ours, theirs, 1e-6)
  np.testing.assert_allclose(y.astype(jnp.float32), exact_y, rtol=2**-7)


@pytest.mark.parametrize(('kind', 'options', 'expected'), [
  ('eca', {'k': (201,)}, {'kernel': (3 * 201) ** -0.5}),  # PyTorch's Conv1d, as released
  ('eca_ns', {'k': (5,)}, {'kernel': 15**-0.5}),
  ('se', {}, {  # He et al. 2015 over the outputs, as for every convolution
    'reduce/kernel': (2 / 32) ** 0.5, 'reduce/bias': 0,
    'expand/kernel': (2 / 512) ** 0.5, 'expand/bias': 0,
  }),
  ('se_var2', {}, {'kernel': 1}),
  ('se_var3', {}, {'mix/kernel': (2 / 512) ** 0.5}),
  ('se_gc2', {}, {'kernel': (2 / 512) ** 0.5}),
])
def test_initial_deviation(kind, options, expected):
  found = deviation(kind, options)
  assert found.keys() == expected.keys()
  for name, value in expected.items():
    assert found[name] == pytest.approx(value, rel=0.15), name
