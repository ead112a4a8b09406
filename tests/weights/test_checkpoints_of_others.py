"""PyTorch checkpoints as training code writes them: each gives the weights in it."""

import argparse
import collections
import json
import pathlib
import pickle
import sys
import types

import jax
import ml_dtypes
import numpy as np
import pytest

from ecanet_jax import create_model
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import from_torch, read_state_dict, read_weights, to_torch
from ecanet_jax.weights.files import formats
from tests.support.random_variables import random_variables

torch = pytest.importorskip('torch')

MODEL = create_model('tiny_efficientnet', num_classes=10)
SECTION = {'name': 'tiny_efficientnet'}
STATE, OTHER = (to_torch(MODEL, random_variables(MODEL, seed)) for seed in (0, 1))
EXTRA = {'queue': torch.zeros(4, 8), 'queue_ptr': torch.zeros(1, dtype=torch.int64)}


def tensors(state=STATE, prefix=''):
  return {prefix + key: torch.from_numpy(array.copy()) for key, array in state.items()}


def without_classifier(state):
  return {key: value for key, value in state.items() if 'classifier' not in key}


def assert_read(path, expected=STATE, kind='ema', **options):
  source = read_weights(path, model=SECTION, kind=kind, **options)
  jax.tree.map(np.testing.assert_array_equal, source.variables, from_torch(MODEL, expected))


def lightning(state):
  """A checkpoint of Lightning 1.x, whose hyper_parameters are of a class of its own."""
  class AttributeDict(dict):
    __module__ = 'lightning_fabric.utilities.data'
    __qualname__ = 'AttributeDict'

  for name in ('lightning_fabric', 'lightning_fabric.utilities', AttributeDict.__module__):
    sys.modules[name] = types.ModuleType(name)
  sys.modules[AttributeDict.__module__].AttributeDict = AttributeDict
  return {
    'epoch': 3, 'global_step': 12, 'pytorch-lightning_version': '2.4.0', 'state_dict': state,
    'hyper_parameters': AttributeDict(lr=0.1, root=pathlib.Path('/data')),
    'callbacks': {'ModelCheckpoint': {'best_model_score': torch.tensor(0.9), 'dirpath': '/x'}},
    'optimizer_states': [{'state': {0: {'momentum_buffer': torch.zeros(2)}}, 'param_groups': []}],
  }


NAMESPACE = argparse.Namespace(model='resnet18', lr=0.1, root=pathlib.Path('/data'))
OPTIMIZER = {'state': {0: {'momentum_buffer': torch.zeros(2)}}, 'param_groups': [{'lr': 0.1}]}
NUMBERS = {'best': np.float64(0.7), 'epoch': np.int64(3), 'confusion': np.eye(2)}

# What is saved -> the content. The averaged weights are STATE, the others OTHER, if there are two.
CONTENTS = {
  'the state dict': lambda: tensors(),
  'an OrderedDict': lambda: collections.OrderedDict(tensors()),
  'timm': lambda: {
    'state_dict': tensors(OTHER), 'state_dict_ema': tensors(), 'args': NAMESPACE, 'epoch': 0,
    'optimizer': {'state': {}, 'param_groups': [{'lr': 0.1}]}, 'metric': np.float64(70.0),
  },
  'torchvision': lambda: {
    'model': tensors(OTHER), 'args': NAMESPACE,
    'model_ema': {'n_averaged': torch.tensor(7), **tensors(prefix='module.')},
  },
  'AveragedModel': lambda: {'n_averaged': torch.tensor(7), **tensors(prefix='module.')},
  'DataParallel of torch.compile': lambda: tensors(prefix='module._orig_mod.'),
  'Lightning': lambda: lightning({**tensors(prefix='model.'), 'loss.weight': torch.ones(10)}),
  'Lightning with torch.compile': lambda: lightning(tensors(prefix='model._orig_mod.')),
  'ema_pytorch': lambda: {
    'initted': torch.tensor(True), **tensors(OTHER, 'online_model.'), **tensors(prefix='ema_model.')
  },
  'a backbone': lambda: tensors(prefix='backbone.'),
  'transformers TimmWrapper': lambda: tensors(prefix='timm_model.'),
  'Lightning Flash': lambda: tensors(prefix='adapter.backbone.'),
  'a module of no known name': lambda: tensors(prefix='my_network.'),
  'an encoder with a decoder': lambda: {
    **tensors(prefix='encoder.'), 'decoder.weight': torch.ones(3)
  },
  'MoCo': lambda: {'arch': 'x', 'state_dict': {
    **tensors(prefix='module.encoder_q.'), **tensors(OTHER, 'module.encoder_k.'),
    **{f'module.{key}': value for key, value in EXTRA.items()},
  }},
  'DINO': lambda: {
    'student': tensors(OTHER, 'module.backbone.'), 'teacher': tensors(prefix='backbone.'),
    'epoch': 3, 'dino_loss': {'center': torch.zeros(1, 4)}, 'args': NAMESPACE,
  },
  'student and teacher in one': lambda: {
    **tensors(OTHER, 'student.backbone.'), **tensors(prefix='teacher.backbone.')
  },
  'OpenMMLab': lambda: {'meta': {'epoch': 3}, 'state_dict': {
    **tensors(without_classifier(STATE), 'backbone.'),
    **tensors({key: STATE[key] for key in STATE if 'classifier' in key}, 'head.'),
  }},
  'OpenMMLab with averages': lambda: {
    'message_hub': {}, 'state_dict': tensors(), 'ema_state_dict': tensors(OTHER, 'module.')
  },
  'fastai': lambda: {'model': tensors(), 'opt': {'hypers': [{'lr': 0.1}]}},
  'the tutorial of PyTorch': lambda: {
    'epoch': 3, 'model_state_dict': tensors(), 'optimizer_state_dict': {'state': {}}, 'loss': 0.1
  },
  'ClassyVision': lambda: {
    'classy_state_dict': {'base_model': {'model': {'trunk': tensors(), 'heads': {}}}}
  },
  'one state dict of another name': lambda: {'my_net': tensors(), 'epoch': 3},
  'numbers of numpy': lambda: {'model': tensors(), **NUMBERS},
  'Parameters': lambda: {
    key: torch.nn.Parameter(value, requires_grad=value.is_floating_point())
    for key, value in tensors().items()
  },
  'without counters': lambda: {
    key: value for key, value in tensors().items() if 'num_batches' not in key
  },
  'not contiguous': lambda: {
    key: value.to(memory_format=torch.channels_last) if value.ndim == 4 else value
    for key, value in tensors().items()
  },
  'parts of one storage': lambda: dict(zip(tensors(), torch.utils._pytree.tree_map(
    lambda pair: torch.cat([pair.flatten(), pair.flatten()])[: pair.numel()].reshape(pair.shape),
    list(tensors().values()),
  ))),
  'arrays of numpy': lambda: dict(STATE),
  'FullyShardedDataParallel': lambda: tensors(prefix='_fsdp_wrapped_module.'),
  'activation checkpointing and torch.compile of parts': lambda: {
    key.replace('blocks.', 'blocks._checkpoint_wrapped_module.').replace('.0.', '.0._orig_mod.'):
      value for key, value in tensors().items()
  },
  'a list with the optimizer': lambda: [tensors(), OPTIMIZER],
  'a tuple with the epoch': lambda: (tensors(), 3),
  'nested wrappers of no known name': lambda: {'ckpt': {'best': {'state_dict': tensors()}}},
  'objects of numpy': lambda: {'model': tensors(), 'log': np.array([1, 'a'], dtype=object)},
  'double precision': lambda: {key: value.double() for key, value in tensors().items()},
}
RAW = ('timm', 'torchvision', 'ema_pytorch', 'DINO', 'student and teacher in one',
       'OpenMMLab with averages')


@pytest.mark.parametrize('what', CONTENTS)
def test_checkpoint(tmp_path, what):
  torch.save(CONTENTS[what](), tmp_path / 'w.ckpt')
  assert_read(tmp_path / 'w.ckpt')
  assert_read(tmp_path / 'w.ckpt', OTHER if what in RAW else STATE, kind='raw')


@pytest.mark.parametrize('what', ['the state dict', 'timm', 'Lightning', 'Parameters'])
def test_format_of_before_pytorch_1_6(tmp_path, what):
  torch.save(CONTENTS[what](), tmp_path / 'w.pth', _use_new_zipfile_serialization=False)
  assert_read(tmp_path / 'w.pth')


def test_what_was_taken_off_is_one_line(tmp_path, caplog):
  torch.save(CONTENTS['Lightning']()['state_dict'], tmp_path / 'w.ckpt')
  assert_read(tmp_path / 'w.ckpt')
  assert caplog.messages == [
    "Removed the prefix 'model.' from 84 of 85 keys of the state dict; not of the network: "
    'loss.weight.'
  ]


NARROW = [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2]


@pytest.mark.parametrize('dtype', NARROW, ids=str)
@pytest.mark.parametrize('name', ['w.pth', 'w.safetensors'])
def test_narrow_floats(tmp_path, name, dtype):
  from safetensors.torch import save_file

  content = {key: v.to(dtype) if v.is_floating_point() else v for key, v in tensors().items()}
  (torch.save if name == 'w.pth' else save_file)(content, tmp_path / name)
  assert_read(tmp_path / name, {key: value.float().numpy() for key, value in content.items()})
  formats.write_state_dict(str(tmp_path / 'b.safetensors'), to_torch(
    MODEL, read_weights(tmp_path / name, model=SECTION).variables
  ))
  kinds = {array.dtype for array in read_state_dict(str(tmp_path / 'b.safetensors')).values()}
  assert kinds == {np.dtype(np.float32), np.dtype(np.int64)}


def test_every_value_of_the_narrow_floats(tmp_path):
  import safetensors.torch

  values = torch.arange(2**16, dtype=torch.int32).to(torch.int16).view(torch.bfloat16)
  safetensors.torch.save_file({'a': values}, tmp_path / 'w.safetensors')
  found = read_state_dict(str(tmp_path / 'w.safetensors'))['a']
  np.testing.assert_array_equal(found, values.float().numpy())
  assert found.dtype == np.float32 and ml_dtypes.bfloat16(found[3]) == found[3]


@pytest.mark.parametrize('name', ['model.safetensors', 'pytorch_model.bin'])
def test_weights_in_several_files(tmp_path, name):
  from safetensors.torch import save_file

  stem, ending = name.split('.')
  parts, where = [dict(list(tensors().items())[part::2]) for part in (0, 1)], {}
  for number, part in enumerate(parts, start=1):
    file = f'{stem}-0000{number}-of-00002.{ending}'
    (torch.save if ending == 'bin' else save_file)(part, tmp_path / file)
    where |= dict.fromkeys(part, file)
  index = tmp_path / f'{name}.index.json'
  index.write_text(json.dumps({'metadata': {'total_size': 1}, 'weight_map': where}))
  assert_read(index)
  assert_read(tmp_path)
  first = min(where)
  index.write_text(json.dumps({'weight_map': {key: where[key] for key in where if key != first}}))
  with pytest.raises(UserError, match=f'has, unlike the index, the array {first!r}'):
    read_weights(index, model=SECTION)
  for evil in ('../w.bin', '/etc/passwd', '..', ''):
    index.write_text(json.dumps({'weight_map': {'a': evil}}))
    with pytest.raises(UserError, match='which is not a file of weights beside it'):
      read_weights(index, model=SECTION)
  index.write_text(json.dumps({'weight_map': {'a': 'c.bin'}}))
  with pytest.raises(UserError, match=r"names 'c\.bin', which is missing; download that file, too"):
    read_weights(index, model=SECTION)
  index.write_text('[1]')
  with pytest.raises(UserError, match='is not an index of weights'):
    read_weights(index, model=SECTION)


class Unknown(torch.nn.Module):
  """A network whose code the reader does not have."""


def torch_script(path):
  torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), path)


def two_networks(path):
  torch.save({'a': tensors(), 'b': tensors(OTHER)}, path)


def two_prefixes(path):
  torch.save({**tensors(prefix='left.'), **tensors(OTHER, 'right.')}, path)


def parameters_alone(path):
  torch.save({k: v for k, v in tensors().items() if k.endswith(('weight', 'bias'))}, path)


def pruned(path):
  rename = {'conv_stem.weight': 'conv_stem.weight_orig'}
  mask = {'conv_stem.weight_mask': torch.ones_like(tensors()['conv_stem.weight'])}
  torch.save({rename.get(k, k): v for k, v in tensors().items()} | mask, path)


def archive_of_numpy(path):
  np.savez(path.with_suffix('.npz'), a=np.zeros(2))
  path.with_suffix('.npz').rename(path)


def pickle_of_numpy(path):
  path.write_bytes(pickle.dumps(dict(STATE)))


@pytest.mark.parametrize(('write', 'reason'), [
  (pickle_of_numpy, 'is a pickle of Python, not a file of torch.save'),
  (lambda path: torch.save(tensors(), path, pickle_protocol=4), r'saved with pickle_protocol=4'),
  (lambda path: torch.save(
    tensors(), path, pickle_protocol=5, _use_new_zipfile_serialization=False
  ), r'saved with pickle_protocol=5, which PyTorch reads only by running code; save it with'),
  (lambda path: torch.save(Unknown(), path), r'holds an object of the class .*Unknown'),
  (lambda path: torch.save({'model': Unknown()}, path), "'model' is of type .*Unknown"),
  (torch_script, 'is a TorchScript program, not a state dict'),
  (two_networks, "holds several state dicts: 'a', 'b'"),
  (two_prefixes, "holds 2 networks that fit, under 'left.', 'right.'; save one of them"),
  (lambda path: torch.save({'a': torch.zeros(2, device='meta')}, path), 'has no values'),
  (lambda path: torch.save({'a': torch.zeros(2, dtype=torch.complex64)}, path), 'complex'),
  (lambda path: torch.save({'a': torch.eye(2).to_sparse()}, path), 'another kind'),
  (lambda path: torch.save({'optimizer': OPTIMIZER}, path), "'optimizer' is of type dict"),
  (lambda path: torch.save(list(tensors().values()), path), 'an object of type list'),
  (parameters_alone, 'It has no BatchNorm statistics; save'),
  (pruned, r'computes a weight from conv_stem\.weight_orig; before saving call torch\.nn\.utils'),
  (lambda path: torch.save({}, path), 'an empty mapping, not a state dict'),
  (lambda path: path.write_text('version https://git-lfs.github.com/spec/v1\noid'), 'Git LFS'),
  (lambda path: path.write_text('<!DOCTYPE html><html>'), 'is a web page, not the weights'),
  (lambda path: path.write_bytes(b'\x1f\x8b\x08\x00'), 'is a gzip archive'),
  (lambda path: path.write_bytes(formats.to_bytes(STATE)), 'give it the ending .safetensors'),
  (archive_of_numpy, 'zip archive without weights of PyTorch'),
])
@pytest.mark.filterwarnings('ignore::DeprecationWarning')
def test_what_is_refused_is_refused_for_its_reason(tmp_path, write, reason):
  write(tmp_path / 'w.pth')
  with pytest.raises(UserError, match=reason) as error:
    read_weights(tmp_path / 'w.pth', model=SECTION)
  text = str(error.value)
  assert 'copy' not in text and '\n' not in text and '\x1b' not in text


def test_a_flipped_bit_is_seen_by_the_checksum_of_the_archive(tmp_path, caplog):
  torch.save(tensors(), tmp_path / 'w.pth')
  content = bytearray((tmp_path / 'w.pth').read_bytes())
  content[content.find(STATE['conv_stem.weight'].tobytes()) + 5] ^= 4
  (tmp_path / 'w.pth').write_bytes(content)
  with pytest.raises(UserError, match=r'is damaged: its entry w/data/0 differs from its checksum'):
    read_weights(tmp_path / 'w.pth', model=SECTION)
  torch.serialization.set_crc32_options(False)
  try:
    torch.save(tensors(), tmp_path / 'w.pth')
  finally:
    torch.serialization.set_crc32_options(True)
  assert_read(tmp_path / 'w.pth')


def test_weights_that_are_not_finite_are_named(tmp_path):
  for value, word in ((np.nan, 'NaN'), (np.inf, 'infinity')):
    state = {**STATE, 'bn1.weight': np.full_like(STATE['bn1.weight'], value)}
    torch.save(tensors(state), tmp_path / 'w.pth')
    with pytest.raises(UserError, match=rf'1 of 84 arrays hold .*, first bn1\.weight \({word}\)'):
      read_weights(tmp_path / 'w.pth', model=SECTION)
  state = {**STATE, 'bn1.running_var': -STATE['bn1.running_var']}
  torch.save(tensors(state), tmp_path / 'w.pth')
  with pytest.raises(UserError, match=r'1 arrays hold negative variances, first bn1\.running_var'):
    read_weights(tmp_path / 'w.pth', model=SECTION)
