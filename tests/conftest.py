"""Eight simulated devices, quick compilation, no silent broadcasting, one cache, log and seed."""

import os

os.environ['XLA_FLAGS'] = (
  '--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0'
)
os.environ['JAX_PLATFORMS'] = 'cpu'
os.environ['TF_CPP_MIN_LOG_LEVEL'] = '3'

import logging
import sys

import absl.logging
import jax
import pytest

from ecanet_jax.ops.cpu import kernels
from ecanet_jax.weights.torchvision_shim import import_torchvision
from tests.support import bucket as store
from tests.support import programs

import_torchvision()  # before a test imports timm
jax.config.update('jax_numpy_rank_promotion', 'raise')


@pytest.fixture(autouse=True)
def usual_log():
  """Loggers as after an import, whatever the start of a program in another test made of them."""
  log = logging.getLogger('ecanet_jax')
  log.handlers, log.propagate = [], True
  log.setLevel(logging.NOTSET)
  absl.logging.set_verbosity(absl.logging.WARNING)
  absl.logging.get_absl_logger().filters.clear()


@pytest.fixture(autouse=True)
def seed_of_torch():
  """The same random weights of PyTorch's networks in every run, alone or after other tests."""
  if 'torch' in sys.modules:
    sys.modules['torch'].manual_seed(0)


@pytest.fixture(scope='session')
def compilation_cache(tmp_path_factory):
  """A directory in which the programs that tests start share what they compile."""
  programs.CACHE = str(tmp_path_factory.mktemp('compilation_cache'))


@pytest.fixture(scope='session')
def run(compilation_cache):
  """`tests.support.programs.run`, with a shared compilation cache."""
  return programs.run


@pytest.fixture(scope='session')
def start(compilation_cache):
  """`tests.support.programs.start`, with a shared compilation cache."""
  return programs.start


@pytest.fixture(scope='session')
def bucket(tmp_path_factory):
  """A bucket on the loopback, for programs that are started with its `variables`."""
  pytest.importorskip('gcp_storage_emulator')
  pytest.importorskip('gcsfs')
  with store.running(tmp_path_factory.mktemp('bucket'), programs.free_port()) as running:
    yield running


@pytest.fixture
def here(bucket, monkeypatch):
  """The bucket, for this process."""
  from etils.epath import backend, gpath

  for name, value in bucket.variables.items():
    monkeypatch.setenv(name, value)
  gpath._is_tf_installed.cache_clear()
  backend._FileSystemSpecBackend._get_filesystem.cache_clear()
  yield bucket
  gpath._is_tf_installed.cache_clear()


@pytest.fixture
def heard(caplog, monkeypatch):
  """What our own log says, which the programs keep from the root's handlers."""
  monkeypatch.setattr(logging.getLogger('ecanet_jax'), 'propagate', True)
  caplog.set_level(logging.INFO, 'ecanet_jax')
  return caplog


@pytest.fixture
def load_kernels():
  """Loads the CPU kernels of a type, or skips the test."""

  def load(dtype: str) -> None:
    if not kernels.load(dtype):
      pytest.skip('needs a C++ compiler: g++ or clang++')

  return load
