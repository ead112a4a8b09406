"""Files that somebody made to do harm: one line, no traceback, nothing run, nothing written."""

import contextlib
import io
import json
import os
import pathlib
import pickle
import random
import re
import shutil
import struct
import sys
import types
import zipfile

import numpy as np
import orbax.checkpoint as ocp
import pytest

from ecanet_jax.checkpoints import integrity
from ecanet_jax.checkpoints.files import ignore_closed_loops
from ecanet_jax.cli import main
from ecanet_jax.inference.detector import is_detector_training
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights.files import formats
from ecanet_jax.weights.hub import hub_folder
from ecanet_jax.weights.loaded_weights import read_weights
from tests.support import saved

DEEP = b'[' * 200_000


class Runs:
  """Unpickled, it makes a file."""

  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return open, (self.path, 'w')


def safetensors(header, data=b''):
  text = header if isinstance(header, bytes) else json.dumps(header).encode()
  return struct.pack('<Q', len(text)) + text + data


def array_header(shape, kind='<f4'):
  text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
  return b'\x93NUMPY\x01\x00' + struct.pack('<H', len(text) + 1) + text + b'\n'


def archive(entries, compression=zipfile.ZIP_DEFLATED):
  file = io.BytesIO()
  with zipfile.ZipFile(file, 'w', compression) as target:
    for name, content in entries.items():
      target.writestr(name, content)
  return file.getvalue()


def pickled(marker):
  file = io.BytesIO()
  np.save(file, np.array([Runs(marker)], object), allow_pickle=True)
  return archive({'a.npy': file.getvalue()})


F32 = {'dtype': 'F32', 'shape': [2], 'data_offsets': [0, 8]}
# name -> bytes; `marker` is a file that appears if something runs
FILES = {
  'length.safetensors': lambda marker: struct.pack('<Q', 2**62) + b'{}',
  'header.safetensors': lambda marker: struct.pack('<Q', 2**30) + b'{' * 100,
  'empty.safetensors': lambda marker: b'',
  'deep.safetensors': lambda marker: safetensors(DEEP),
  'overlap.safetensors': lambda marker: safetensors({'a': F32, 'b': F32}, bytes(8)),
  'outside.safetensors': lambda marker: safetensors(
    {'a': {**F32, 'data_offsets': [0, 2**40], 'shape': [2**38]}}, bytes(8)
  ),
  'negative.safetensors': lambda marker: safetensors({'a': {**F32, 'shape': [-2]}}, bytes(8)),
  'overflow.safetensors': lambda marker: safetensors(
    {'a': {**F32, 'shape': [2**33, 2**33, 2**33]}}, bytes(8)
  ),
  'list.safetensors': lambda marker: safetensors([1, 2]),
  'bomb.npz': lambda marker: archive({'a.npy': array_header((2**24,)) + bytes(2**26)}),
  'shape.npz': lambda marker: archive({'a.npy': array_header((2**44,)) + bytes(64)}),
  'negative.npz': lambda marker: archive({'a.npy': array_header((-4,)) + bytes(64)}),
  'nested.npz': lambda marker: archive({'a.npy': array_header('(' * 5000) + bytes(64)}),
  'pickle.npz': pickled,
  'garbage.npz': lambda marker: b'PK\x03\x04' + bytes(200),
  'traversal.npz': lambda marker: archive({'../../evil.npy': array_header((2,)) + bytes(8)}),
  'pickle.pth': lambda marker: pickle.dumps(Runs(marker)),
  'bomb.pth': lambda marker: archive({'archive/data.pkl': bytes(2**26)}),
  'deep.pth': lambda marker: b'\x80\x02' + b'(' * 100_000 + b'l' * 100_000 + b'.',
  'bomb.keras': lambda marker: archive({'model.weights.h5': bytes(2**26)}),
}


@pytest.mark.parametrize('name', FILES)
def test_file(name, tmp_path, capsys):
  marker, path = tmp_path / 'ran', tmp_path / name
  path.write_bytes(FILES[name](str(marker)))
  before = set(tmp_path.iterdir())
  dialect = ['--dialect=keras'] if name.endswith('.keras') else []
  target = str(tmp_path / 'out')
  code = main(['convert', str(path), target, '--model=tiny_efficientnet', *dialect])
  said = capsys.readouterr().err
  assert code == 2 and said.startswith('error: ') and said.count('\n') == 1
  assert set(tmp_path.iterdir()) == before and not marker.exists()


@pytest.mark.parametrize('content', [DEEP, b'{' * 9, b'[]', b'{"sha256": 1, "arrays": []}'])
def test_record_of_checksums(content, tmp_path):
  path = str(tmp_path / 'a.npz')
  formats.write_state_dict(path, {'a': np.zeros(2, np.float32)})
  (tmp_path / 'a.npz.json').write_bytes(content)
  with pytest.raises(UserError) as error:
    formats.read_state_dict(path)
  assert '\n' not in str(error.value)


@pytest.fixture(scope='module')
def step(tmp_path_factory):
  """A sound workdir with one step."""
  directory = tmp_path_factory.mktemp('sound')
  saved.save(directory, saved.fresh_state(), 1)
  return directory


def crafted(step, target, name, content):
  """A copy with another file, and a manifest that fits it, as whoever made it would have."""
  shutil.copytree(step, target, dirs_exist_ok=True)
  where = target / 'checkpoints' / '1'
  (where / name).write_bytes(content)
  integrity.write(where)
  return target


def metas():
  config = saved.meta()['config']
  yield from (DEEP, b'', b'[]', b'null', b'{"config": 3}', b'{"config": {"model": [], "data": []}}')
  for name in (None, 3, [], {}, '../../etc/passwd', '__import__("os")'):
    yield json.dumps({'config': {**config, 'model': {**config['model'], 'name': name}}}).encode()
  for key, value in (('depth', 'x'), ('attention', {'kind': []}), ('num_classes', -1), ('x', 1)):
    yield json.dumps({'config': {**config, 'model': {**config['model'], key: value}}}).encode()


@pytest.mark.slow
@pytest.mark.parametrize('content', list(metas()), ids=range(16))
def test_meta(content, step, tmp_path):
  with pytest.raises(UserError) as error:
    source = read_weights(crafted(step, tmp_path, 'meta/metadata', content))
    source.create()
  assert '\n' not in str(error.value)
  assert not is_detector_training(tmp_path)


@pytest.mark.parametrize('ocdbt', [True, False])
def test_arrays_outside_of_a_step(step, tmp_path, ocdbt):
  where = step / 'checkpoints' / '1' / 'ema' / '_METADATA'
  content = json.loads(where.read_text())
  first = next(iter(content['tree_metadata']))
  entry = content['tree_metadata'][first]
  entry['key_metadata'][-1]['key'] = '../../../../outside'
  content['use_ocdbt'] = ocdbt
  with pytest.raises(UserError) as error:
    read_weights(crafted(step, tmp_path, 'ema/_METADATA', json.dumps(content).encode()))
  assert '\n' not in str(error.value)


def test_stacks_of_closed_loops_are_hidden(monkeypatch):
  """TensorStore's threads raise them after a read that failed; nothing else is hidden."""
  told = []
  monkeypatch.setattr(sys, 'unraisablehook', told.append)
  for _ in range(2):
    ignore_closed_loops()
  events = [
    types.SimpleNamespace(exc_value=error)
    for error in (RuntimeError('Event loop is closed'), RuntimeError('another'), None)
  ]
  for event in events:
    sys.unraisablehook(event)
  assert told == events[1:]


def test_nothing_is_imported_from_a_step(step, tmp_path):
  """Orbax keeps names of classes in its metadata; they are not looked up in a file beside it."""
  where = tmp_path / 'checkpoints' / '1'
  content = json.loads((step / 'checkpoints/1/_CHECKPOINT_METADATA').read_text())
  content['item_handlers'] = dict.fromkeys(content['item_handlers'], 'evil.Handler')
  crafted(step, tmp_path, '_CHECKPOINT_METADATA', json.dumps(content).encode())
  for folder_ in (tmp_path, where):
    (folder_ / 'evil.py').write_text(f'open({str(tmp_path / "ran")!r}, "w")')
    (folder_ / 'config.py').write_text(f'open({str(tmp_path / "ran")!r}, "w")')
  here = os.getcwd()
  os.chdir(tmp_path)
  try:
    with contextlib.suppress(UserError):
      read_weights(tmp_path)
  finally:
    os.chdir(here)
  assert not (tmp_path / 'ran').exists()


KEYS = ('architecture', 'num_classes', 'pretrained_cfg', 'ecanet_jax', 'model_args', 'label_names')
WORDS = ('', 'name', 'model', 'mean', 'input_size', 'checksums', 'resnet18', 'num_classes', '\n')


def any_json(chance, depth=3):
  """A random JSON value; its keys and texts are often words that mean something."""
  inner = lambda: any_json(chance, depth - 1)
  plain = (None, True, -1, 0, 2**70, 1e308, float('nan'), chance.choice(WORDS))
  kind = chance.randrange(4 if depth else 2)
  if kind == 2:
    return [inner() for _ in range(chance.randrange(3))]
  if kind == 3:
    return {chance.choice(WORDS): inner() for _ in range(chance.randrange(4))}
  return chance.choice(plain)


def test_config_of_a_folder(tmp_path):
  """Whatever a folder's config.json says is one line, as the weights are of no network."""
  content = formats.to_bytes({'a': np.zeros(2, np.float32)})
  formats.write_bytes(str(tmp_path / hub_folder.WEIGHTS), content)
  chance = random.Random(0)
  for turn in range(200):
    changes = {key: any_json(chance) for key in chance.sample(KEYS, 1 + turn % 2)}
    config = {'architecture': 'resnet18', 'num_classes': 10, **changes}
    (tmp_path / hub_folder.CONFIG).write_text(json.dumps(config))
    with pytest.raises(UserError) as error:
      read_weights(tmp_path)
    assert '\n' not in str(error.value), changes


def test_any_bytes(tmp_path):
  chance = random.Random(0)
  whole = {'.npz': FILES['traversal.npz'](''), '.safetensors': safetensors({'a': F32}, bytes(8))}
  for turn in range(200):
    kind = ('.npz', '.safetensors')[turn % 2]
    content = bytearray(whole[kind])
    for _ in range(chance.randrange(1, 9)):
      content[chance.randrange(len(content))] = chance.randrange(256)
    path = tmp_path / f'a{kind}'
    path.write_bytes(content[: chance.randrange(len(content))] if turn % 3 else content)
    with contextlib.suppress(UserError):
      formats.read_state_dict(str(path))


def test_no_pickle_in_the_package():
  for path in pathlib.Path('ecanet_jax').rglob('*.py'):
    text = path.read_text()
    found = re.findall(r'^\s*(?:import|from)\s+(?:\w*pickle|dill|marshal|shelve)\b', text, re.M)
    found += re.findall(r'(?<!def )(?<![\w.])(?:eval|exec)\(', text)
    assert not found, (path, found)


def test_orbax_still_finishes_two_files_late(step):
  """The manifest leaves out what Orbax writes after it; anything else would be unprotected."""
  where = step / 'checkpoints' / '1'
  named = json.loads((where / 'manifest.json').read_text())['files']
  there = {path.relative_to(where).as_posix() for path in where.rglob('*') if path.is_file()}
  assert there - set(named) == {'manifest.json', *integrity.LATER}
  assert ocp.__version__.startswith('0.12')
