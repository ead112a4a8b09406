"""Paths of users: local ones, those in a bucket, and what is neither."""

import os
import pathlib

import pytest

from ecanet_jax.runtime import paths
from ecanet_jax.runtime.errors import UserError


def test_local_paths(tmp_path, monkeypatch):
  monkeypatch.setenv('HOME', str(tmp_path))
  assert paths.to_path('runs/a') == pathlib.Path('runs/a')
  assert paths.to_path('~/runs') == paths.to_path(tmp_path / 'runs') == tmp_path / 'runs'
  assert paths.absolute(paths.to_path('runs')) == pathlib.Path.cwd() / 'runs'
  assert not paths.is_remote('hf-hub:timm/resnet18') and not paths.is_remote(tmp_path)
  (tmp_path / 'link').symlink_to(tmp_path)
  assert paths.same_place(tmp_path / 'link', f'{tmp_path}/')
  assert not paths.same_place('gs://bucket/a', 'gs://bucket/b')


@pytest.mark.parametrize(('names', 'short'), [
  ((), []), (('runs/eca',), ['eca']), (('runs/eca', 'runs/se/'), ['eca', 'se']),
  (('runs/se/0', 'runs/eca/0', 'runs/eca/1'), ['se/0', 'eca/0', 'eca/1']),
  (('runs/eca', 'runs/eca'), ['eca', 'eca']), (('/c/a', '/b/a'), ['c/a', 'b/a']),
])
def test_short_names(names, short):
  assert paths.short_names(names) == short


def test_a_path_in_a_bucket_keeps_its_slashes():
  path = paths.to_path('gs://bucket/runs/')
  assert paths.is_remote(path) and str(paths.absolute(path)) == 'gs://bucket/runs'
  assert os.fspath(path / 'a' / 'b.txt') == 'gs://bucket/runs/a/b.txt'
  assert str(path.parent / 'c') == 'gs://bucket/c' and path.name == 'runs'
  assert str((path / 'a.json').with_suffix('.png')) == 'gs://bucket/runs/a.png'
  assert paths.to_path(path) == path and paths.same_place(path, 'gs://bucket/runs')
  assert paths.advice(path).endswith(': gcloud storage ls gs://bucket')


@pytest.mark.parametrize(('name', 'text'), [
  ('gss://bucket/x', "gss://bucket/x: unknown scheme 'gss'. Did you mean 'gs'? A path is local, or "
   'gs://BUCKET/PATH.'),
  ('ftp://host/x', "ftp://host/x: unknown scheme 'ftp'. A path is local, or gs://BUCKET/PATH."),
  ('gs:///x', 'gs:///x names no bucket; write gs://BUCKET/PATH.'),
  (pathlib.Path('gs://bucket/x'), 'gs:/bucket/x has one slash, as pathlib.Path leaves it; give the '
   'text gs://bucket/x'),
])
def test_what_is_no_path(name, text):
  with pytest.raises(UserError) as error:
    paths.to_path(name)
  assert str(error.value) == text


def test_errors_of_a_bucket_are_one_line():
  class UnimplementedError(Exception):
    """As TensorFlow's."""

  def answer(error, path='gs://bucket/x'):
    with paths.answers(path):
      raise error

  with pytest.raises(paths.StoreError) as found:
    answer(ValueError('not\nnow'))
  assert (found.value.strerror, found.value.filename) == ('not now', 'gs://bucket/x')
  for error in (ImportError('no gcsfs'), UnimplementedError('no gs')):
    with pytest.raises(UserError, match=r'gs://bucket/x cannot be .*: pip install gcsfs, and set'):
      answer(error)
  with pytest.raises(ValueError, match='as it is'):
    answer(ValueError('as it is'), 'runs/x')
  with pytest.raises(FileNotFoundError):
    answer(FileNotFoundError())


def test_a_local_file_is_written_whole(tmp_path, monkeypatch):
  path = tmp_path / 'file'
  paths.write_whole(path, 'old')

  def full(*arguments):
    raise OSError(28, 'No space left on device')

  monkeypatch.setattr(os, 'replace', full)
  with pytest.raises(OSError, match='No space left'):
    paths.write_whole(path, b'new')
  assert path.read_text() == 'old' and paths.files_below(tmp_path) == [path]


def test_objects(here):
  folder = paths.to_path(f'{here.root}/paths')
  assert paths.files_below(folder) == []
  paths.make_directory(folder)
  paths.write_whole(folder / 'a' / 'b', 'text')
  paths.write_whole(folder / 'c', b'12')
  here.write('paths/a/later', b'1')  # by another program
  found = {str(path): paths.size(path) for path in paths.files_below(folder)}
  root = 'gs://bucket/paths'
  assert found == {f'{root}/a/b': 4, f'{root}/a/later': 1, f'{root}/c': 2}
  assert paths.to_read(folder / 'c').read() == b'12'
  paths.remove_tree(folder / 'a')
  paths.remove_tree(folder / 'nothing')
  paths.check_writable(folder)
  assert here.names('paths') == ['paths/c']


def test_objects_that_are_refused(here):
  folder = paths.to_path(f'{here.root}/paths_refused')
  with here.refusing_writes(), pytest.raises(paths.StoreError) as error:
    paths.check_writable(folder)
  assert error.value.strerror.startswith('Forbidden: ') and '\n' not in error.value.strerror
  with pytest.raises(paths.StoreError, match='there is no such bucket'):
    paths.write_whole(paths.to_path('gs://elsewhere/x'), b'')
  assert here.names('paths_refused/') == []
