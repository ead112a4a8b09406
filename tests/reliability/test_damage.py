"""Damaged checkpoints: named and set aside, never loaded; no value is silently another."""

import random
import shutil

import pytest

from ecanet_jax.checkpoints.files import load_weights
from ecanet_jax.runtime.errors import UserError
from tests.support import saved

FAULTS = ('flip', 'truncate', 'zero', 'delete')


@pytest.fixture(scope='module')
def workdir(tmp_path_factory):
  """Steps 8 and 16, and the state that they were made from."""
  directory, state = tmp_path_factory.mktemp('saved'), saved.fresh_state()
  saved.save(directory, state, 8, 16)
  return directory, state


def damage(path, fault, chance):
  content = bytearray(path.read_bytes())
  if fault == 'delete':
    path.unlink()
  elif fault == 'truncate':
    path.write_bytes(content[: chance.randrange(max(len(content), 1))])
  elif fault == 'zero':
    first = chance.randrange(max(len(content), 1))
    content[first:] = bytes(len(content) - first)
    path.write_bytes(content)
  elif content:
    bit = chance.randrange(8 * len(content))
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def try_faults(workdir, target, caplog, number, seed):
  """Damages one file of the newest step `number` times, each in a fresh copy.

  Returns how often the newest step came back whole, and how often the step before with a warning.
  """
  directory, state = workdir
  newest, before = saved.at(state, 16), saved.at(state, 8)
  files = sorted(p.relative_to(directory) for p in directory.rglob('16/**/*') if p.is_file())
  chance, ends = random.Random(seed), {'same': 0, 'before': 0}
  for turn in range(number):
    copy = target / str(turn)
    shutil.copytree(directory, copy)
    name = files[(seed * number + turn) % len(files)]
    damage(copy / name, FAULTS[turn % len(FAULTS)], chance)
    caplog.clear()
    found = saved.restore(copy, state)
    if saved.same(found, newest):
      ends['same'] += 1
      continue
    text = [record.getMessage() for record in caplog.records if 'is damaged' in record.getMessage()]
    assert saved.same(found, before), f'{name}: neither step'
    # 'checkpoints/16/' is not part of the name that the warning has.
    assert len(text) == 1 and '/'.join(name.parts[2:]) in text[0], (name, text)
    assert (copy / 'damaged' / '16').is_dir() and not (copy / 'checkpoints' / '16').exists()
    ends['before'] += 1
    shutil.rmtree(copy)
  print(f'{number} faults over {len(files)} files: {ends}')
  return ends


def test_faults(workdir, tmp_path, heard):
  ends = try_faults(workdir, tmp_path, heard, 4, seed=99)
  assert ends['before'] >= 3


@pytest.mark.slow
@pytest.mark.parametrize('seed', range(4))
def test_many_faults(workdir, tmp_path, heard, seed):
  ends = try_faults(workdir, tmp_path, heard, 50, seed)
  assert sum(ends.values()) == 50 and ends['before'] >= 40


def test_every_step_damaged(workdir, tmp_path, heard):
  directory, state = workdir
  shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
  for step in (8, 16):
    (tmp_path / 'checkpoints' / str(step) / 'meta' / 'metadata').write_bytes(b'{}')
  with pytest.raises(UserError, match='none of its checkpoints is sound') as error:
    saved.restore(tmp_path, state)
  text = str(error.value)
  assert 'step 8: meta/metadata has 2 bytes instead of' in text and '\n' not in text
  assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == ['16', '8']


def test_without_a_manifest(workdir, tmp_path, heard):
  """As saved before there were manifests: read, with one line; one that lost it is damaged."""
  directory, state = workdir
  shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
  manifests = [tmp_path / 'checkpoints' / step / 'manifest.json' for step in ('8', '16')]
  manifests[1].unlink()
  assert saved.same(saved.restore(tmp_path, state), saved.at(state, 8))
  assert '16 is damaged and not loaded: manifest.json is missing' in heard.text
  manifests[0].unlink()
  heard.clear()
  assert saved.same(saved.restore(tmp_path, state), saved.at(state, 8))
  assert heard.text.count('has no manifest.json: its files are not verified') == 1


def test_weights_of_a_damaged_step(workdir, tmp_path, heard):
  directory, _ = workdir
  shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
  name = next((tmp_path / 'checkpoints' / '16' / 'ema' / 'd').iterdir())
  damage(name, 'flip', random.Random(0))
  with pytest.raises(UserError, match=f'16 is damaged: ema/d/{name.name} has another SHA-256'):
    load_weights(tmp_path, step=16)
  load_weights(tmp_path)
  assert f'16 is damaged and not loaded: ema/d/{name.name}' in heard.text


@pytest.mark.parametrize('name', ['/etc/passwd', '../8/meta/metadata', 'meta/../../8/x'])
def test_a_manifest_reads_nothing_outside(tmp_path, name):
  import json

  from ecanet_jax.checkpoints import integrity

  (tmp_path / 'meta').write_text('{}')
  integrity.write(tmp_path)
  content = json.loads((tmp_path / 'manifest.json').read_text())
  content['files'][name] = [1, '0' * 64]
  content['sha256'] = integrity.json_sha256(content['files'])
  (tmp_path / 'manifest.json').write_text(json.dumps(content))
  assert integrity.fault(tmp_path) == (
    f'manifest.json names {name!r}, which is not in this directory'
  )
