"""Which blocks get attention, what k and which widths; what a user is told; what it costs."""

import re

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ecanet_jax import create_model
from ecanet_jax.nn.attention import ATTENTION, WHERE, Attention, check, place
from ecanet_jax.nn.attention.channel import squeezed_channels
from ecanet_jax.runtime.errors import UserError
from tests.support.attention_twins import STAGES, make, make_block, make_slot, shapes


@pytest.mark.parametrize(('options', 'facts', 'k'), [
  ({}, {}, 5),  # 256 channels: (8 + 1) / 2
  ({'gamma': 1.0}, {}, 9),
  ({'gamma': 1.0, 'b': 2.0}, {}, 11),  # exactly 10
  ({'gamma': 4.0, 'b': -8.0}, {}, 1),  # 0
  ({'gamma': 1.0, 'b': -12.0}, {}, 5),  # |-4|
  ({'k_policy': 'eq9_planes'}, {'planes': 64}, 3),
  ({'k_policy': 'eq9_planes'}, {'planes': 128}, 5),
  ({}, {'position': 'depthwise', 'mid_channels': 2048}, 7),
  ({}, {'position': 'pre', 'in_channels': 64}, 3),
  ({'k_policy': 'linear', 'gamma': 100.0}, {}, 3),  # (256 + 1) / 100
  ({'k_policy': 'linear', 'gamma': 30.0, 'b': -16.0}, {}, 9),  # exactly 8
  ({'k_policy': 'linear', 'gamma': 200.0, 'b': 0.0}, {}, 1),
  ({'k_policy': 'released'}, {'released_k': 7}, 7),
  ({'k': (9,), 'k_policy': 'released'}, {}, 9),
  ({'k': (3, 5, 7, 9)}, {'stage': 1}, 3),
  ({'k': (3, 5, 7, 9)}, {'stage': 4}, 9),
])
def test_kernel_size(options, facts, k):
  for kind in ('eca', 'eca_ns', 'eca_circular'):
    spec = Attention(kind=kind, **options)
    slot = make_slot(spec, 256, **facts)
    assert slot.k == k
    assert ATTENTION[kind].describe(spec, slot) == f'k={k}'


@pytest.mark.parametrize(('channels', 'rounded'), [  # timm's make_divisible(C / 16, 8)
  (64, 8), (80, 8), (96, 8), (128, 8), (160, 8), (191, 8), (192, 16), (240, 16), (256, 16),
  (320, 24), (384, 24), (448, 32), (480, 32), (512, 32), (576, 40), (640, 40), (672, 40),
  (960, 64), (1024, 64), (1280, 80), (1536, 96), (1600, 104), (2048, 128),
])
def test_squeezed_channels_with_a_divisor(channels, rounded):
  spec = Attention(kind='se', divisor=8)
  assert squeezed_channels(spec, make_slot(spec, channels)) == rounded
  timm = pytest.importorskip('timm.layers')
  assert timm.make_divisible(channels / 16, 8, round_limit=0.0) == rounded
  assert shapes(make('se', channels, {'divisor': 8}), np.zeros((1, 1, 1, channels), np.float32))[
    'params']['reduce']['kernel'].shape == (channels, rounded)


@pytest.mark.parametrize(('options', 'channels', 'base', 'reduced'), [
  ({}, 256, 64, 16),
  ({'reduction': 8.0}, 100, 64, 12),  # truncated
  ({}, 8, 64, 1),  # at least one
  ({'reduction': 4.0, 'reduction_of': 'block'}, 96, 16, 4),
  ({'reduction': 4.0, 'reduction_of': 'block', 'divisor': 8}, 96, 16, 8),
])
def test_squeezed_channels(options, channels, base, reduced):
  spec = Attention(kind='se', **options)
  slot = make_slot(spec, channels, base_channels=base)
  assert squeezed_channels(spec, slot) == reduced
  for kind in ('se', 'cbam'):
    assert ATTENTION[kind].describe(spec, slot) == f'r={reduced}'


@pytest.mark.parametrize(('kind', 'options', 'text'), [
  ('se_var1', {}, ''), ('se_var2', {}, ''), ('se_var3', {}, ''), ('a2', {}, ''), ('gsop', {}, ''),
  ('se_gc1', {}, 'G=16'), ('se_gc2', {}, 'G=32'), ('se_gc3', {}, 'G=64'),
  ('se_gc3', {'groups': 4}, 'G=4'), ('aa', {'position': 'conv'}, 'dk=160 dv=48'),
])
def test_description(kind, options, text):
  spec = Attention(kind=kind, **options)
  assert ATTENTION[kind].describe(spec, make_slot(spec, 512)) == text


def test_where():
  """Three stages of 1, 2 and 3 blocks; the first block of each changes its shape."""
  blocks = [
    make_block(8, stage=s, index=i, last=i == s - 1, has_skip=i > 0)
    for s in (1, 2, 3) for i in range(s)
  ]
  chosen = {
    name: [f'{block.stage}{block.index}' for block in blocks if choose(block)]
    for name, choose in WHERE.items()
  }
  everything = ['10', '20', '21', '30', '31', '32']
  assert chosen == {
    'all': everything, 'stages': everything, 'skip': ['21', '31', '32'],
    'noskip': ['10', '20', '30'], 'last': ['10', '21', '32'], 'alternate': ['21', '31'],
  }
  spec = Attention(kind='se', where='last', stages=(2, 3), position='post', elsewhere='standard')
  assert [place(spec, block, 'end', 3).position for block in blocks] == [
    'end', 'end', 'post', 'end', 'end', 'post',
  ]
  assert {place(Attention(where='all'), block, 'end', 3).position for block in blocks} == {''}


def refusal(options, channels=64, positions=('end', 'post'), **facts):
  """The message for such an attention in a family with one such block."""
  spec = Attention(**options)
  slots = lambda: [place(spec, make_block(channels, **facts), 'end', STAGES)]
  with pytest.raises(UserError) as caught:
    check(spec, slots, positions, STAGES, 'Family')
  assert '\n' not in str(caught.value)
  return str(caught.value)


@pytest.mark.parametrize(('options', 'text'), [
  ({'kind': 'eca', 'k': (4,)}, 'attention.k=(4,): 4 is not an odd positive number, such as 3 or 5'),
  ({'kind': 'eca_ns', 'k': (-1,)}, '-1 is not an odd positive number'),
  ({'kind': 'eca', 'k': (3, 4, 5, 7)}, 'attention.k=(3, 4, 5, 7): 4 is not an odd'),
  ({'kind': 'eca', 'k': (3, 5)}, 'has 2 kernel sizes; give none (k_policy), one for all, or one '
   'for each of the 4 stages'),
  ({'kind': 'eca', 'k': (3,) * 5}, 'has 5 kernel sizes'),
  ({'kind': 'eca', 'k': (129,)}, 'k=129 is wider than the 64 channels and their neighbours in '
   'stage 2; at most 127.'),
  ({'kind': 'eca_circular', 'k': (65,)}, 'k=65 goes round the ring of 64 channels more than once '
   'in stage 2; at most 63.'),
  ({'kind': 'eca', 'k_policy': 'released'}, "the ECA authors released weights of ResNet-18 (k=3,5"),
  ({'kind': 'eca', 'k_policy': 'eq9_output_'}, "unknown attention.k_policy 'eq9_output_'. Did you "
   "mean 'eq9_output'? Known: eq9_output, eq9_planes, linear, released."),
  ({'kind': 'se_gc1', 'groups': 5}, '5 groups do not divide the 64 channels of stage 2; '
   'attention.groups can be 1, 2, 4, 8, 16, 32, 64.'),
  ({'kind': 'se', 'gate': 'sigmiod'}, "unknown attention.gate 'sigmiod'. Did you mean 'sigmoid'?"),
  ({'kind': 'se', 'squeeze': 'maxi'}, "unknown attention.squeeze 'maxi'. Did you mean 'max'?"),
  ({'kind': 'se', 'where': 'skips'}, "unknown attention.where 'skips'. Did you mean 'skip'?"),
  ({'kind': 'se', 'activation': 'swihs'}, "attention.activation 'swihs'. Did you mean 'swish'?"),
  ({'kind': 'se', 'reduction_of': 'blok'}, "attention.reduction_of 'blok'. Did you mean 'block'?"),
  ({'kind': 'se', 'position': 'pos'}, "attention.position of Family 'pos'. Did you mean 'post'?"),
  ({'kind': 'se', 'elsewhere': 'edn'}, "attention.elsewhere of Family 'edn'. Did you mean 'end'?"),
  ({'kind': 'se', 'reduction': 0.0}, 'attention.reduction=0.0 must be above 0.'),
  ({'kind': 'eca', 'gamma': -1.0}, 'attention.gamma=-1.0 must be above 0.'),
  ({'kind': 'se', 'divisor': 0}, 'attention.divisor=0 must be at least 1.'),
  ({'kind': 'se_gc1', 'groups': -1}, 'attention.groups=-1 must be at least 0.'),
  ({'kind': 'se', 'stages': (5,)}, 'attention.stages=(5,): name one or more of the stages 1 to 4.'),
  ({'kind': 'se', 'where': 'stages'}, 'attention.stages=(): name one or more of the stages 1 to 4'),
  ({'kind': 'se', 'where': 'noskip'}, "attention.where='noskip' with stages=() selects no block of "
   "Family; where='all' selects all of them."),
  ({'kind': 'aa'}, "attention 'aa' cannot be at 'conv' in Family; it replaces a dense k x k "
   'convolution, and these blocks have none.'),
])
def test_mistakes_are_named(options, text):
  assert text in refusal(options)


def test_a_kind_and_a_place_that_do_not_fit():
  dense = ('conv', 'end')
  assert refusal({'kind': 'aa', 'position': 'end'}, positions=dense).endswith('it can be at conv.')
  assert "'se' cannot be at 'conv' in Family; it can be at end." in refusal(
    {'kind': 'se', 'position': 'conv'}, positions=dense
  )
  # Nothing is put where the family's blocks have no place, even if it is the kind's own.
  assert "'a2' cannot be at 'post' in Family; it can be at end." in refusal(
    {'kind': 'a2'}, positions=dense
  )


@pytest.mark.parametrize(('attention', 'text'), [
  ({'kind': 'ecaa'}, r"unknown attention.kind 'ecaa'. Did you mean 'eca'\? Known: a2, aa, cbam"),
  ({'kind': 'aa'}, r"'aa' cannot be at 'conv' in EfficientNet; it replaces a dense k x k convol"),
  ({'kind': 'se', 'where': 'skip', 'stages': (1,)}, 'selects no block of EfficientNet; where='),
])
def test_mistakes_in_a_network(attention, text):
  with pytest.raises(UserError, match=text) as caught:
    create_model('efficientnet_b0', attention=attention)
  assert '\n' not in str(caught.value)


KINDS = tuple(kind for kind in ATTENTION if kind != 'none')


def lowered(kind, mutable=False):
  """The program of a module, without what names its lines."""
  position = {'a2': 'post', 'aa': 'conv'}.get(kind, 'end')
  module = make(kind, 16, {'k': (3,)}, position=position)
  x = jax.ShapeDtypeStruct((2, 4, 3, 16), jnp.float32)
  variables = shapes(module, np.zeros(x.shape, np.float32))
  assert set(variables) <= {'params', 'batch_stats'}
  apply = lambda variables, x: module.apply(variables, x, False, mutable=mutable)
  return jax.jit(apply).lower(variables, x)


@pytest.mark.parametrize('kind', KINDS)
def test_showing_costs_nothing_unless_asked_for(kind, monkeypatch):
  quiet, showing = lowered(kind).as_text(), lowered(kind, ['intermediates']).as_text()
  monkeypatch.setattr(nn.Module, 'sow', lambda *args, **kwargs: True)
  assert lowered(kind).as_text() == quiet
  results = lambda text: len(re.findall('jax.result_info', text))
  assert results(quiet) == 1 < results(showing)


def test_the_compiled_program_has_as_many_operations_without_sow(monkeypatch):
  operations = lambda: lowered('eca').compile().as_text().count(' = ')
  before = operations()
  monkeypatch.setattr(nn.Module, 'sow', lambda *args, **kwargs: True)
  assert operations() == before
