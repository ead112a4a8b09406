"""What tests of the CPU kernels share."""

import pytest

from ecanet_jax.ops import cpu


@pytest.fixture
def load_kernels():
  """Loads the kernels of a type, or skips the test."""

  def load(dtype: str) -> None:
    if not cpu.load(dtype):
      pytest.skip('needs a C++ compiler: g++ or clang++')

  return load
