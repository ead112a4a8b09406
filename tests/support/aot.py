"""What tests of compiled programs share: where their compilers are, and the figures of a step."""

import importlib.util
import json
import os
import pathlib
import sys

import pytest

from tests.support import programs

# With JAX_PLATFORMS=cpu, as in all tests but those of the default path, JAX does not load libtpu:
# requirements-dev.txt has it. The CUDA plugin, which `make test-all` alone needs, has a folder.
GPU_FOLDER = pathlib.Path(sys.prefix) / 'aot-gpu'
needs_libtpu = pytest.mark.skipif(
  importlib.util.find_spec('libtpu') is None,
  reason='needs libtpu: requirements-dev.txt has it for Python 3.11 on Linux x86-64',
)
needs_cuda_plugin = pytest.mark.skipif(
  not (GPU_FOLDER / 'jax_cuda12_plugin').is_dir()
  and importlib.util.find_spec('jax_cuda12_plugin') is None,
  reason="needs JAX's CUDA plugin: make test-all installs it for Python 3.11 on Linux",
)
# What XLA itself puts into programs.
OWN_CALLS = {
  'AllocateBuffer', 'AsyncCollectiveDone', 'AsyncCollectiveStart', 'ConcatBitcast',
  'GatherScatterIndicesBitpacked', 'SliceBitcast',
}
OWN_GPU_CALLS = {
  '__cublas$gemm', '__cublas$lt$matmul', '__cudnn$convBackwardFilter', '__cudnn$convBackwardInput',
  '__cudnn$convBiasActivationForward', '__cudnn$convForward', '__cub$DeviceRadixSort',
}


def with_cuda_plugin() -> dict[str, str]:
  """Variables of the environment with which a program finds the CUDA plugin."""
  return {
    'PYTHONPATH': os.pathsep.join(filter(None, [os.environ.get('PYTHONPATH'), str(GPU_FOLDER)]))
  }


def figures(file: pathlib.Path, *arguments: str, seconds: int = programs.TIMEOUT) -> dict:
  """What `python -m ecanet_jax compile ARGUMENTS` writes to `--json=file`; it has no faults."""
  done = programs.finish(programs.start(
    '-m', 'ecanet_jax', 'compile', *arguments, f'--json={file}', variables=with_cuda_plugin(),
  ), seconds)
  assert done.returncode == 0, done.stderr
  return read(file)


def read(file: pathlib.Path) -> dict:
  """The figures in a file; they have no faults."""
  found = json.loads(file.read_text())
  assert found['faults'] == []
  return found
