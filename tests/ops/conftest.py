"""What tests of the CPU kernels share."""

import pytest

from ecanet_jax.ops import native


@pytest.fixture
def load_kernels():
  """Loads the kernels of a type, or skips the test."""

  def load(dtype: str) -> None:
    if not native.load(dtype):
      pytest.skip('needs a C++ compiler: g++ or clang++')

  return load
