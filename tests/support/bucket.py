"""A bucket on the loopback: an object store's protocol without Google.

`python -m tests.support.bucket PORT` serves gs://bucket from memory. It ends after SECONDS, or when
its standard input closes. TensorFlow's own file system has a fixed address, so etils.epath goes
through gcsfs here.
"""

import contextlib
import http
import http.client
import http.server
import json
import os
import pathlib
import socketserver
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator

NAME = 'bucket'
SECONDS = 6 * 3600  # a server that nobody ends; all tests together take hours
READS = ('GET', 'HEAD')


def variables(port: int) -> dict[str, str]:
  """The environment of a process that takes gs:// to the server."""
  address = f'http://localhost:{port}'
  return {
    'STORAGE_EMULATOR_HOST': address,  # gcsfs
    'TENSORSTORE_GCS_HTTP_URL': address,
    'EPATH_USE_TF': '0',
    'GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT': 'false',  # asks Google for the kind of the bucket
  }


class Bucket:
  """A running server.

  Attributes:
    root: 'gs://bucket'.
    variables: the environment of the processes that use it.
  """

  def __init__(self, port: int, refusal: pathlib.Path):
    self.root, self.variables = f'gs://{NAME}', variables(port)
    self._port, self._refusal = port, refusal

  def names(self, prefix: str = '') -> list[str]:
    """The names of the objects."""
    found = self._ask('GET', f'/storage/v1/b/{NAME}/o?prefix={_quoted(prefix)}')
    return [item['name'] for item in json.loads(found).get('items', [])]

  def read(self, name: str) -> bytes:
    """The bytes of an object."""
    return self._ask('GET', f'/download/storage/v1/b/{NAME}/o/{_quoted(name)}?alt=media')

  def write(self, name: str, content: bytes) -> None:
    """Writes an object."""
    path = f'/upload/storage/v1/b/{NAME}/o?uploadType=media&name={_quoted(name)}'
    self._ask('POST', path, content)

  def copy(self, prefix: str, folder: pathlib.Path) -> None:
    """Copies the objects below a prefix to a folder."""
    for name in self.names(f'{prefix}/'):
      target = folder / name.removeprefix(f'{prefix}/')
      target.parent.mkdir(parents=True, exist_ok=True)
      target.write_bytes(self.read(name))

  def _ask(self, method: str, path: str, content: bytes | None = None) -> bytes:
    connection = http.client.HTTPConnection('localhost', self._port, timeout=30)
    try:
      connection.request(method, path, content)
      answer = connection.getresponse()
      assert answer.status == http.HTTPStatus.OK, (answer.status, path)
      return answer.read()
    finally:
      connection.close()

  @contextlib.contextmanager
  def refusing_writes(self) -> Iterator[None]:
    """Every write is answered with 403 meanwhile."""
    self._refusal.touch()
    try:
      yield
    finally:
      self._refusal.unlink()


def _quoted(name: str) -> str:
  return urllib.parse.quote(name, safe='')


@contextlib.contextmanager
def running(folder: pathlib.Path, port: int) -> Iterator[Bucket]:
  """Starts a server and ends it.

  Args:
    folder: for the file that makes it refuse writes.
    port: a free one.
  """
  refusal = folder / 'refuse'
  server = subprocess.Popen(
    [sys.executable, '-m', 'tests.support.bucket', str(port), str(refusal)],
    stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    cwd=pathlib.Path(__file__).parents[2],
  )
  try:
    _await(port, server)
    yield Bucket(port, refusal)
  finally:
    server.kill()
    server.communicate()


def _await(port: int, server: subprocess.Popen) -> None:
  end = time.monotonic() + 60
  while True:
    connection = http.client.HTTPConnection('localhost', port, timeout=5)
    try:
      connection.request('GET', '/')
      assert connection.getresponse().status == 200
      return
    except OSError:
      assert server.poll() is None and time.monotonic() < end, 'the server does not answer'
      time.sleep(0.1)
    finally:
      connection.close()


def conditional(handle: Callable) -> Callable:
  """A handler of the emulator with the preconditions and the header that TensorStore needs.

  The requests come one at a time, so a write with a precondition is atomic.
  """

  def apply(request, response, storage, *arguments, **options):
    bucket = request.params['bucket_name']
    name = request.params.get('object_id') or request.query.get('name', [''])[0]
    found = storage.objects.get(bucket, {}).get(name)
    there = found['generation'] if found else '0'
    if request.query.get('ifGenerationMatch', [there])[0] != there:
      request.data  # noqa: B018, reads the body: a client does not hear of the refusal before
      response.status = http.HTTPStatus.PRECONDITION_FAILED
    elif found and request.query.get('ifGenerationNotMatch', [''])[0] == there:
      response.status = http.HTTPStatus.NOT_MODIFIED
    else:
      if found:
        response['x-goog-generation'] = there
      handle(request, response, storage, *arguments, **options)

  return apply


def serve(port: int, refusal: str) -> None:
  """Serves until standard input closes."""
  from gcp_storage_emulator import server
  from gcp_storage_emulator.handlers import objects

  changed = {handle: conditional(handle) for handle in (
    objects.get, objects.download, objects.insert, objects.delete
  )}
  server.HANDLERS = tuple(
    (pattern, {method: changed.get(handle, handle) for method, handle in methods.items()})
    for pattern, methods in server.HANDLERS
  )

  lock, route = threading.Lock(), server.Router.handle

  def one_at_a_time(router, method):
    with lock:
      route(router, method)

  class Handler(server.RequestHandler):
    timeout = 60  # seconds that a silent client keeps its thread

    def parse_request(self) -> bool:
      parsed = super().parse_request()
      if parsed and self.command not in READS and os.path.exists(refusal):
        self.rfile.read(int(self.headers.get('Content-Length') or 0))
        self.send_error(http.HTTPStatus.FORBIDDEN)
        return False
      return parsed

  server.RequestHandler, server.Router.handle = Handler, one_at_a_time
  server.server.HTTPServer = http.server.ThreadingHTTPServer  # a silent client stops nobody
  socketserver.TCPServer.request_queue_size = 128  # 5 connections wait otherwise, others a second
  threading.Timer(SECONDS, os._exit, (1,)).start()
  server.create_server('localhost', port, in_memory=True, default_bucket=NAME).start()
  sys.stdin.read()
  os._exit(0)


if __name__ == '__main__':
  serve(int(sys.argv[1]), sys.argv[2])
