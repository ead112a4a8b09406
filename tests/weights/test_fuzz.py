"""Damaged files of every format: an error in one line, or the weights; never other weights.

Bits are flipped, parts are cut out, doubled and zeroed, and beginnings and ends are exchanged with
another file's. Zip archives and TensorFlow's checkpoints have checksums of every array. The other
formats have none: there, changed bytes of an array's own values cannot be seen without the
checksums that this package writes beside a file.
"""

import io

import numpy as np
import pytest

from ecanet_jax import create_model
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import from_torch, read_state_dict, to_torch
from ecanet_jax.weights.files import formats, tensorflow
from ecanet_jax.weights.files.tensorflow import read_keras, read_tf1
from tests.support.random_variables import random_variables

MODEL = create_model('tiny_efficientnet', num_classes=10)
STATE = to_torch(MODEL, random_variables(MODEL))
ANOTHER = {f'another.{key}': array[..., :2] for key, array in list(STATE.items())[5:] if array.ndim}
CHECKED = ('pt', 'npz', 'tf1')  # formats with a checksum of every array
QUICK, SLOW = 50, 500
NUMBERS = [QUICK, pytest.param(SLOW, marks=[pytest.mark.slow, pytest.mark.timeout(3600)])]
HEADER = 4096  # bytes at both ends that are changed more often


def torch_bytes(state, zipped=True):
  torch = pytest.importorskip('torch')
  file = io.BytesIO()
  content = {key: torch.from_numpy(array.copy()) for key, array in state.items()}
  torch.save(content, file, _use_new_zipfile_serialization=zipped)
  return file.getvalue()


def keras_bytes(state):
  h5py = pytest.importorskip('h5py')
  file = io.BytesIO()
  with h5py.File(file, 'w') as content:
    content.attrs['layer_names'] = sorted({key.rpartition('.')[0] for key in state})
    for layer in content.attrs['layer_names']:
      group = content.create_group(layer)
      names = [key for key in state if key.rpartition('.')[0] == layer]
      group.attrs['weight_names'] = [f'{layer}/{key.rpartition(".")[2]}:0' for key in names]
      for key in names:
        group[f'{layer}/{key.rpartition(".")[2]}:0'] = state[key]
  return file.getvalue()


def tf1_bytes(state, directory):
  pytest.importorskip('tensorflow')
  from tests.support.tf1_checkpoint import save

  save(str(directory / 'm'), {f'net/{key}': array for key, array in state.items()})
  return (directory / 'm.index').read_bytes(), (directory / 'm.data-00000-of-00001').read_bytes()


WRITERS = {
  'pt': torch_bytes, 'pth': lambda state: torch_bytes(state, zipped=False),
  'safetensors': formats.to_bytes, 'npz': formats._to_npz, 'h5': keras_bytes,
}


def mutations(whole, another, number):
  """Yields so many damaged copies of a file."""
  random = np.random.default_rng(0)
  for count in range(number):
    content, kind = bytearray(whole), count % 8
    # Headers are at the beginning or at the end; half of the changes are there.
    place = random.integers(3)
    low, high = [(0, len(whole)), (0, HEADER), (len(whole) - HEADER, len(whole))][place]
    low, high = max(low, 0), min(high, len(whole))
    start, length = int(random.integers(low, high)), int(random.integers(1, 64))
    if kind < 3:
      for _ in range(kind + 1):
        content[int(random.integers(low, high))] ^= 1 << int(random.integers(8))
    elif kind == 3:
      content = content[:start]
    elif kind == 4:
      del content[start : start + length]
    elif kind == 5:
      content[start:start] = content[start : start + length]
    elif kind == 6:
      content[start : start + length] = bytes(len(content[start : start + length]))
    else:
      cut = min(start, len(another))
      first, last = (another, whole) if count % 16 == 7 else (whole, another)
      content = bytearray(first[:cut] + last[cut:])
    if bytes(content) != whole:
      yield bytes(content)


def outcome(read, convert):
  """'refused', 'the weights', 'other keys' or 'other values' of a damaged file."""
  try:
    state = read()
  except UserError as error:
    text = str(error)
    assert '\n' not in text and '\x1b' not in text and len(text) < 1000, text
    return 'refused'
  if {key: np.shape(array) for key, array in state.items()} != SHAPES:
    with pytest.raises(UserError):
      convert(state)
    return 'other keys'
  same = all(np.asarray(state[key]).tobytes() == STATE[key].tobytes() for key in STATE)
  return 'the weights' if same else 'other values'


HEADERS = {
  'safetensors': lambda whole: 8 + int.from_bytes(whole[:8], 'little'),
  'pth': lambda whole: min(whole.find(array.tobytes()) for array in STATE.values() if array.ndim),
}
SHAPES = {key: array.shape for key, array in STATE.items()}


@pytest.mark.parametrize('number', NUMBERS)
@pytest.mark.parametrize('ending', WRITERS)
def test_damaged_files(tmp_path, ending, number, monkeypatch):
  if ending == 'h5':  # each is read in a process of its own first
    monkeypatch.setattr(tensorflow, 'PROBE_SECONDS', 5)
    number = number if number == SLOW else 5
  whole, another = WRITERS[ending](STATE), WRITERS[ending](ANOTHER)
  path, found = tmp_path / f'w.{ending}', []
  names = lambda state: {key.replace('/', '.'): array for key, array in state.items()}
  read = (lambda: names(read_keras(path))) if ending == 'h5' else (
    lambda: read_state_dict(str(path))
  )
  path.write_bytes(whole)
  assert outcome(read, None) == 'the weights'
  for content in mutations(whole, another, number):
    path.write_bytes(content)
    found.append(outcome(read, lambda state: from_torch(MODEL, state)))
    if found[-1] == 'other values':
      assert ending not in CHECKED
      # Only values have changed: with the header as it was, the file gives the same.
      header, state = HEADERS.get(ending, lambda whole: 0)(whole), read()
      path.write_bytes(whole[:header] + content[header:])
      assert all(array.tobytes() == state[key].tobytes() for key, array in read().items())
  counts = {kind: found.count(kind) for kind in sorted(set(found))}
  print(ending, counts)
  assert counts['refused'] > number / 4


@pytest.mark.parametrize('number', NUMBERS)
def test_damaged_checkpoints_of_tensorflow(tmp_path, number):
  for name in ('a', 'b'):
    (tmp_path / name).mkdir()
  whole, another = tf1_bytes(STATE, tmp_path / 'a'), tf1_bytes(ANOTHER, tmp_path / 'b')
  read, found = lambda: read_tf1(str(tmp_path / 'a' / 'm')), []
  assert outcome(read, None) == 'the weights'
  for part, name in enumerate(('m.index', 'm.data-00000-of-00001')):
    path = tmp_path / 'a' / name
    for content in mutations(whole[part], another[part], number // 2):
      path.write_bytes(content)
      found.append(outcome(read, lambda state: from_torch(MODEL, state)))
      assert found[-1] != 'other values'
    path.write_bytes(whole[part])
  print('tf1', {kind: found.count(kind) for kind in sorted(set(found))})
  assert found.count('refused') > number / 4
