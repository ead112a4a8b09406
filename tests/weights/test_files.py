"""Files: whole, safe, or a clear answer."""

import json
import logging
import os
import pickle

import numpy as np
import pytest

from ecanet_jax import create_model
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import read_state_dict, to_torch, write_state_dict
from ecanet_jax.weights.prefixes import take_off
from tests.support.random_variables import random_variables

STATE = {
  'b.weight': np.arange(6, dtype=np.float32).reshape(2, 3),
  'b.count': np.zeros((), np.int64),
}


def assert_same(a, b):
  assert set(a) == set(b)
  for key in a:
    assert a[key].dtype == b[key].dtype and a[key].shape == b[key].shape
    np.testing.assert_array_equal(a[key], b[key])


@pytest.mark.parametrize('name', ['w.safetensors', 'w.npz'])
def test_round_trip(tmp_path, name):
  path = str(tmp_path / name)
  write_state_dict(path, STATE)
  first = (tmp_path / name).read_bytes()
  assert_same(read_state_dict(path), STATE)
  assert sorted(os.listdir(tmp_path)) == [name, f'{name}.json']
  write_state_dict(path, STATE)
  assert (tmp_path / name).read_bytes() == first


def test_pytorch_reads_it(tmp_path):
  torch = pytest.importorskip('torch')
  from safetensors.torch import load_file

  write_state_dict(str(tmp_path / 'w.safetensors'), STATE)
  loaded = load_file(tmp_path / 'w.safetensors')
  assert loaded['b.count'].dtype == torch.int64 and loaded['b.count'].shape == ()
  assert_same({key: tensor.numpy() for key, tensor in loaded.items()}, STATE)


def test_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
  path = str(tmp_path / 'w.safetensors')
  write_state_dict(path, STATE)

  def fail(*_):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(os, 'replace', fail)  # not even the record comes back, which may be absent
  with pytest.raises(UserError, match=r'cannot write .*No space left'):
    write_state_dict(path, {})
  assert os.listdir(tmp_path) == ['w.safetensors']
  assert_same(read_state_dict(path), STATE)


def test_other_suffixes_are_not_written(tmp_path):
  with pytest.raises(UserError, match=r'must end in \.safetensors'):
    write_state_dict(str(tmp_path / 'w.pt'), STATE)


def test_a_pytorch_file(tmp_path):
  torch = pytest.importorskip('torch')
  for name in ('a.pth', 'b.pth'):
    write_state_dict(str(tmp_path / name), STATE)
  assert (tmp_path / 'a.pth').read_bytes() == (tmp_path / 'b.pth').read_bytes()
  assert_same(read_state_dict(str(tmp_path / 'a.pth')), STATE)
  assert torch.load(tmp_path / 'a.pth', weights_only=True)['b.count'].dtype == torch.int64
  assert sorted(os.listdir(tmp_path)) == ['a.pth', 'b.pth']  # the archive has its own checksums


@pytest.mark.parametrize('name', ['w.safetensors', 'w.npz'])
@pytest.mark.parametrize('keep', [0, 4, 60, -1])
def test_truncated(tmp_path, name, keep):
  path = tmp_path / name
  write_state_dict(str(path), STATE)
  path.write_bytes(path.read_bytes()[:keep])
  with pytest.raises(UserError, match=f'{name} is damaged: it cannot be read to its end'):
    read_state_dict(str(path))
  os.unlink(f'{path}.json')
  kind = name.partition('.')[2]
  with pytest.raises(UserError, match=f'{name} is not a complete {kind} file'):
    read_state_dict(str(path))


@pytest.mark.parametrize('name', ['w.safetensors', 'w.npz'])
def test_no_corruption_is_read(tmp_path, name):
  """200 random ones: flipped bits, cuts, zeroed ranges and replaced bytes, headers included."""
  model = create_model('tiny_efficientnet', num_classes=10)
  path = tmp_path / name
  write_state_dict(str(path), to_torch(model, random_variables(model)))
  whole, random, told = path.read_bytes(), np.random.default_rng(0), 0
  header = 8 + int.from_bytes(whole[:8], 'little') if name == 'w.safetensors' else 2000
  for number in range(200):
    content = bytearray(whole)
    start = int(random.integers(header if number % 2 else len(whole)))
    if number % 4 < 2:
      content[start] ^= 1 << int(random.integers(8))
    elif number % 8 < 4:
      content = content[:start]
    else:
      end = min(start + int(random.integers(1, 64)), len(content))
      content[start:end] = bytes(end - start) if number % 16 < 12 else random.bytes(end - start)
    if bytes(content) == whole:
      content[start] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match='is damaged') as error:
      read_state_dict(str(path))
    assert '\n' not in str(error.value)
    told += 'the sha256 of the array' in str(error.value)
  # An .npz has a checksum of its own for every array, and is not read past the first wrong one.
  assert told > 50 or name == 'w.npz'


def test_first_damaged_array_is_named(tmp_path):
  path = tmp_path / 'w.safetensors'
  state = {**STATE, 'c': np.ones(4, np.float32)}
  write_state_dict(str(path), state)
  changed = {**state, 'b.weight': state['b.weight'] + 1, 'c': state['c'] * 2}
  write_state_dict(str(tmp_path / 'other.safetensors'), changed)
  path.write_bytes((tmp_path / 'other.safetensors').read_bytes())
  with pytest.raises(UserError, match=r"damaged: the sha256 of the array 'b\.weight' is not the"):
    read_state_dict(str(path))
  del changed['b.weight']
  write_state_dict(str(tmp_path / 'other.safetensors'), changed)
  path.write_bytes((tmp_path / 'other.safetensors').read_bytes())
  with pytest.raises(UserError, match=r"damaged: the array 'b\.weight' is missing"):
    read_state_dict(str(path))


def test_record_that_is_absent_or_damaged(tmp_path, caplog, monkeypatch):
  path = str(tmp_path / 'w.safetensors')
  write_state_dict(path, STATE)
  with open(f'{path}.json', 'w') as file:
    file.write('{"sha256"')
  with pytest.raises(UserError, match=r'w\.safetensors\.json is not a record of checksums'):
    read_state_dict(path)
  with open(f'{path}.json', 'w') as file:
    json.dump({'sha256': 3}, file)
  with pytest.raises(UserError, match='its record of checksums lacks "sha256" or'):
    read_state_dict(path)
  os.unlink(f'{path}.json')
  monkeypatch.setattr(logging.getLogger('ecanet_jax'), 'propagate', True)
  with caplog.at_level('INFO', 'ecanet_jax'):
    assert_same(read_state_dict(path), STATE)
  assert 'w.safetensors has no checksums beside it' in caplog.text


def test_not_a_safetensors_file(tmp_path):
  path = tmp_path / 'w.safetensors'
  path.write_text('hello ' * 100)
  with pytest.raises(UserError, match='not a complete safetensors file'):
    read_state_dict(str(path))


def test_missing_file_and_unknown_suffix(tmp_path):
  with pytest.raises(UserError, match='no such file'):
    read_state_dict(str(tmp_path / 'w.safetensors'))
  (tmp_path / 'w.h5x').touch()
  with pytest.raises(UserError, match=r'of no known format; known endings: \.safetensors, \.npz'):
    read_state_dict(str(tmp_path / 'w.h5x'))
  (tmp_path / 'blob').write_bytes(b'\x89HDF\r\n')
  with pytest.raises(UserError, match=r'is an HDF5 file: give it the ending \.h5'):
    read_state_dict(str(tmp_path / 'blob'))


def test_content_says_the_format_where_the_ending_does_not(tmp_path, torch):
  def legacy(path):
    torch.save(tensors, path, _use_new_zipfile_serialization=False)

  tensors = {'a': torch.ones(3)}
  for number, write in enumerate((
    lambda path: write_state_dict(path, {'a': np.ones(3, np.float32)}),
    lambda path: torch.save(tensors, path), legacy,
  )):
    for ending in ('.safetensors', '.npz') if number == 0 else ('.pth',):
      write(str(tmp_path / f'w{ending}'))
      content = (tmp_path / f'w{ending}').read_bytes()
      for name in ('3f786850e387550fdab836ed7e6dc881de23001b', f'W{ending.upper()}', 'w.weights'):
        (tmp_path / name).write_bytes(content)
        assert read_state_dict(str(tmp_path / name))['a'].tolist() == [1, 1, 1]


@pytest.fixture
def torch():
  return pytest.importorskip('torch')


@pytest.fixture
def tensors(torch):
  return {key: torch.from_numpy(array.copy()) for key, array in STATE.items()}


def test_pth_alone(tmp_path, torch, tensors):
  torch.save(tensors, tmp_path / 'w.pth')
  assert_same(read_state_dict(str(tmp_path / 'w.pth')), STATE)


@pytest.mark.parametrize(('kind', 'added'), [('ema', 1), ('raw', 0)])
def test_training_checkpoint(tmp_path, torch, tensors, kind, added, caplog):
  ema = {key: tensor + 1 for key, tensor in tensors.items()}
  torch.save({'state_dict': tensors, 'state_dict_ema': ema, 'epoch': 3}, tmp_path / 'w.pth.tar')
  read = read_state_dict(str(tmp_path / 'w.pth.tar'), kind)
  assert_same(read, {key: array + added for key, array in STATE.items()})
  assert f'read {"state_dict_ema" if added else "state_dict"!r}, one of' in caplog.text


@pytest.mark.parametrize(('kind', 'added'), [('ema', 1), ('raw', 0)])
def test_training_checkpoint_of_torchvision(tmp_path, torch, tensors, kind, added):
  ema = {f'module.{key}': tensor + 1 for key, tensor in tensors.items()}
  content = {'model': tensors, 'model_ema': ema, 'args': [1], 'optimizer': {'state': {}}}
  torch.save(content, tmp_path / 'w.pth')
  read = take_off(read_state_dict(str(tmp_path / 'w.pth'), kind), STATE, ())
  assert_same(read, {key: array + added for key, array in STATE.items()})


def test_bfloat16_is_read(tmp_path, torch):
  torch.save({'a': torch.ones(3, dtype=torch.bfloat16)}, tmp_path / 'w.pth')
  assert read_state_dict(str(tmp_path / 'w.pth'))['a'].dtype == np.float32


def test_truncated_pth(tmp_path, torch, tensors):
  path = tmp_path / 'w.pth'
  torch.save(tensors, path)
  path.write_bytes(path.read_bytes()[:-200])
  with pytest.raises(UserError, match='not a complete PyTorch file'):
    read_state_dict(str(path))


class Evil:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.mkdir, (self.path,)


def test_code_in_a_pth_does_not_run(tmp_path, torch):
  (tmp_path / 'w.pth').write_bytes(pickle.dumps({'a': Evil(str(tmp_path / 'made'))}, protocol=2))
  with pytest.raises(UserError, match=r'posix\.mkdir, which is not read because it can run code'):
    read_state_dict(str(tmp_path / 'w.pth'))
  assert not (tmp_path / 'made').exists()


def test_code_in_an_npz_does_not_run(tmp_path):
  evil = np.array([Evil(str(tmp_path / 'made'))], dtype=object)
  np.savez(tmp_path / 'w.npz', a=evil)
  with pytest.raises(UserError, match=r'npz file with only arrays .*objects of Python.*; save arr'):
    read_state_dict(str(tmp_path / 'w.npz'))
  (tmp_path / 'w.npz').write_bytes(pickle.dumps({'a': Evil(str(tmp_path / 'made'))}))
  with pytest.raises(UserError, match='not a complete npz file with only arrays'):
    read_state_dict(str(tmp_path / 'w.npz'))
  with open(tmp_path / 'w.npz', 'wb') as file:
    np.save(file, np.zeros(3))
  with pytest.raises(UserError, match='it is a single array'):
    read_state_dict(str(tmp_path / 'w.npz'))
  assert not (tmp_path / 'made').exists()


def test_other_content_in_a_pth(tmp_path, torch, tensors):
  torch.save([1, 2], tmp_path / 'w.pth')
  with pytest.raises(UserError, match='of type list, not a state dict'):
    read_state_dict(str(tmp_path / 'w.pth'))
  torch.save({**tensors, 'epoch': 3}, tmp_path / 'w.pth')
  with pytest.raises(UserError, match=r"'epoch' is of type int, not a tensor"):
    read_state_dict(str(tmp_path / 'w.pth'))


def test_unknown_kind(tmp_path, torch, tensors):
  torch.save(tensors, tmp_path / 'w.pth')
  with pytest.raises(UserError, match=r"unknown kind 'rw'. Did you mean 'raw'\?"):
    read_state_dict(str(tmp_path / 'w.pth'), 'rw')


def test_old_pytorch_is_refused(tmp_path, torch, tensors, monkeypatch):
  torch.save(tensors, tmp_path / 'w.pth')
  monkeypatch.setattr(torch, '__version__', '2.9.1+cpu')
  with pytest.raises(UserError, match=r'PyTorch 2\.9\.1\+cpu is too old .* 2\.10'):
    read_state_dict(str(tmp_path / 'w.pth'))


def test_no_pytorch(tmp_path, monkeypatch):
  (tmp_path / 'w.pth').touch()
  monkeypatch.setitem(__import__('sys').modules, 'torch', None)
  with pytest.raises(UserError, match='needs PyTorch to be read: pip install'):
    read_state_dict(str(tmp_path / 'w.pth'))
