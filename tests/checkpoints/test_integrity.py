"""The hashes of files and values."""

import hashlib

from ecanet_jax.checkpoints.integrity import file_sha256, json_sha256


def test_a_file(tmp_path):
  path = tmp_path / 'file'
  path.write_bytes(b'content')
  assert file_sha256(path) == file_sha256(str(path)) == hashlib.sha256(b'content').hexdigest()


def test_a_value_is_hashed_by_its_canonical_json():
  assert json_sha256({'b': [1, 2.5], 'a': None}) == json_sha256({'a': None, 'b': [1, 2.5]})
  expected = hashlib.sha256(b'{"a":null,"b":[1,2.5]}').hexdigest()
  assert json_sha256({'b': [1, 2.5], 'a': None}) == expected
