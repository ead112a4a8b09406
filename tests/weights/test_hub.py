"""The hub: a folder is fetched, from a server on this machine too, and pushed."""

import http.server
import json
import sys
import threading
import types

import numpy as np
import pytest

import ecanet_jax
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.weights import read_weights
from ecanet_jax.weights.hub import client
from tests.support.random_variables import random_variables
from tests.support.weights_folder import MODEL, write


class Hub(types.ModuleType):
  """What is used of huggingface_hub; remembers what it was asked for."""

  def __init__(self, folder=None, error=None):
    super().__init__('huggingface_hub')
    self.folder, self.error, self.asked = folder, error, []
    self.HfApi = lambda: self

  def snapshot_download(self, repository, **arguments):
    self.asked.append((repository, arguments))
    if self.error:
      raise self.error
    return str(self.folder)

  def create_repo(self, repository, exist_ok):
    self.asked.append((repository, exist_ok))

  def upload_folder(self, repo_id, folder_path):
    if self.error:
      raise self.error
    self.asked.append((repo_id, folder_path))
    return types.SimpleNamespace(commit_url=f'https://example/{repo_id}/commit/1')


def install(monkeypatch, module):
  monkeypatch.setitem(sys.modules, 'huggingface_hub', module)
  return module


def test_a_name_of_the_hub_is_read_as_a_folder(tmp_path, monkeypatch):
  write(tmp_path / 'x')
  asked = install(monkeypatch, Hub(tmp_path / 'x')).asked
  source = read_weights('hf-hub:someone/tiny')
  assert source.model['name'] == 'tiny_efficientnet'
  model, _ = ecanet_jax.create_model('tiny_efficientnet', pretrained='hf-hub:someone/tiny@v2')
  assert model == MODEL
  wanted = {'allow_patterns': ('config.json', 'model.safetensors')}
  assert asked == [
    ('someone/tiny', {'revision': None, **wanted}), ('someone/tiny', {'revision': 'v2', **wanted}),
  ]


def test_a_repository_with_weights_of_pytorch_alone(tmp_path, monkeypatch):
  torch = pytest.importorskip('torch')
  state = write(tmp_path / 'x')
  (tmp_path / 'x' / 'model.safetensors').unlink()
  torch.save({key: torch.from_numpy(array.copy()) for key, array in state.items()},
             tmp_path / 'x' / 'pytorch_model.bin')
  asked = install(monkeypatch, Hub(tmp_path / 'x')).asked
  source = read_weights('hf-hub:someone/tiny')
  np.testing.assert_array_equal(
    source.variables['params']['stem']['kernel'],
    random_variables(MODEL)['params']['stem']['kernel'],
  )
  assert [arguments['allow_patterns'] for _, arguments in asked] == [
    client.WANTED, ('config.json', *client.OTHERS)
  ]


def test_push(tmp_path, monkeypatch):
  write(tmp_path / 'x')
  asked = install(monkeypatch, Hub()).asked
  assert client.push_folder(tmp_path / 'x', 'someone/tiny') == 'https://example/someone/tiny/commit/1'
  assert asked == [('someone/tiny', True), ('someone/tiny', str(tmp_path / 'x'))]


@pytest.mark.parametrize('error', [OSError('401 not allowed'), ValueError('no such revision')])
def test_faults_of_the_hub_are_one_line(tmp_path, monkeypatch, error):
  install(monkeypatch, Hub(error=error))
  with pytest.raises(UserError, match=f'hf-hub:a/b cannot be downloaded: {error}'):
    client.fetch_folder('hf-hub:a/b')
  with pytest.raises(UserError, match=f'is written, but could not be pushed to a/b: {error}'):
    client.push_folder(tmp_path, 'a/b')


@pytest.mark.parametrize('name', ['a', 'a/', '/b', 'a/b/c', ''])
def test_names_of_another_form(name):
  with pytest.raises(UserError, match='is not a name of the hub; it must be hf-hub:OWNER/NAME'):
    client.fetch_folder(f'hf-hub:{name}')
  with pytest.raises(UserError, match='is not a name of the hub; it must be OWNER/NAME'):
    client.check_repository(name)


def test_without_the_library(monkeypatch):
  monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
  with pytest.raises(UserError, match=r'hf-hub:a/b needs huggingface_hub: pip install'):
    client.fetch_folder('hf-hub:a/b')


@pytest.mark.slow
def test_the_library_fetches_from_a_server(tmp_path, run, monkeypatch):
  pytest.importorskip('huggingface_hub', reason='the optional extra hub is not installed')
  folder = tmp_path / 'folder'
  write(folder)
  (folder / 'evil.py').write_text('raise SystemExit("code of the hub was run")')
  commit, asked = 'a' * 40, []

  class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, body, send):
      self.send_response(200)
      for key, value in (('ETag', f'"{hash(body) & 0xffffffff:x}"'), ('X-Repo-Commit', commit),
                         ('Content-Length', str(len(body)))):
        self.send_header(key, value)
      self.end_headers()
      if send:
        self.wfile.write(body)

    def handle_one(self, send):
      asked.append(self.path)
      if self.path.startswith('/api/models/'):
        files = sorted(folder.iterdir())
        answer = {'id': 'someone/tiny', 'modelId': 'someone/tiny', 'sha': commit,
                  'siblings': [{'rfilename': path.name} for path in files]}
        if '/tree/' in self.path:
          answer = [
            {'type': 'file', 'path': path.name, 'size': path.stat().st_size, 'oid': 'b' * 40}
            for path in files
          ]
        return self.answer(json.dumps(answer).encode(), send)
      return self.answer((folder / self.path.rpartition('/')[2]).read_bytes(), send)

    def do_GET(self):
      self.handle_one(True)

    def do_HEAD(self):
      self.handle_one(False)

    def log_message(self, *_):
      pass

  with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    code = (
      'import sys, numpy as np, ecanet_jax\n'
      "model, variables = ecanet_jax.load_pretrained('hf-hub:someone/tiny')\n"
      "np.save(sys.argv[1], variables['params']['stem']['kernel'])\n"
    )
    monkeypatch.setenv('HF_ENDPOINT', f'http://127.0.0.1:{server.server_port}')
    monkeypatch.setenv('HF_HOME', str(tmp_path / 'home'))
    monkeypatch.setenv('NO_PROXY', '127.0.0.1')
    try:
      run('-c', code, str(tmp_path / 'kernel.npy'))
    finally:
      server.shutdown()
      thread.join()
  expected = random_variables(MODEL)['params']['stem']['kernel']
  np.testing.assert_array_equal(np.load(tmp_path / 'kernel.npy'), expected)
  assert not any('evil' in path for path in asked)
