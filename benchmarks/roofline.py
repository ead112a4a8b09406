"""A measured speed compared with the memory bandwidth, by a model of the bytes per image.

The model counts how often XLA moves each convolution's output through main memory if every fusion
reads its inputs and writes its output once. Weights are not counted: a batch shares them. Values
that stay in a cache are counted, so small batches can exceed 100 %.
"""

import concurrent.futures
import functools
import time
from typing import Any

import numpy as np

from benchmarks import machine
from ecanet_jax.models import create_model
from ecanet_jax.models.count import count

# Passes over a convolution's output y, a reweighted x, and a residual sum.
# inference: y written; read and written by BatchNorm and activation; read by its consumer.
#   x: read by the pooling, read and written by the reweighting. The residual is read.
# train, forward: as inference, and y read for BatchNorm's statistics; backward: gradient written,
#   both read for BatchNorm's sums, both read and the gradient of y written, that read for the input
#   and for the kernel gradient, and the activation read for the kernel gradient.
#   x: read once more forward, both read backward for the weights' gradient. The residual: twice.
PASSES = {
  'inference': {'output': 4, 'scale': 3, 'add': 1, 'image': 1},
  'train': {'output': 5 + 9, 'scale': 1 + 2, 'add': 2, 'image': 2},
}
BYTES = {'float32': 4, 'bfloat16': 2}
COPIES = 5
_CPU_BYTES, _DEVICE_BYTES = 128 * 2**20, 2**30


def bytes_per_image(name: str, image_size: int, dtype: str, mode: str) -> float:
  """Bytes that one image moves through main memory, by the model above."""
  values = _values(name, image_size)
  return BYTES[dtype] * sum(times * values[key] for key, times in PASSES[mode].items())


@functools.cache
def _values(name: str, image_size: int) -> dict[str, float]:
  """Number of values in the image, convolutions' outputs, reweighted tensors and residual sums."""
  parts = count(create_model(name, num_classes=1000), image_size).quantities.values()
  values = {key: sum(part.get(key, 0) for part in parts) for key in ('output', 'scale', 'add')}
  return {**values, 'image': 3 * image_size**2}


class Bandwidth:
  """Memory bandwidth, from the best of several large copies; bytes read and written both count.

  Attributes:
    device: its name.
  """

  def __init__(self, setting: dict[str, Any]):
    import jax

    device = jax.devices()[0]
    self._on_cpu = device.platform == 'cpu'
    self.device = 'CPU' if self._on_cpu else device.device_kind

  def run(self, calls: int) -> None:
    """Nothing to warm up."""

  def measure(self) -> dict[str, float]:
    """{'bytes_per_second'} of all CPUs of this process together, or of the device."""
    return {'bytes_per_second': _cpu_copy() if self._on_cpu else _device_copy()}


def _cpu_copy() -> float:
  threads = len(machine.cpus())
  sources = [np.ones(_CPU_BYTES, np.uint8) for _ in range(threads)]
  targets = [np.ones(_CPU_BYTES, np.uint8) for _ in range(threads)]
  with concurrent.futures.ThreadPoolExecutor(threads) as pool:
    # numpy copies without holding Python's lock.
    return 2 * threads * _CPU_BYTES / _best(lambda: list(pool.map(np.copyto, targets, sources)))


def _device_copy() -> float:
  import jax
  import jax.numpy as jnp

  x = jnp.zeros(_DEVICE_BYTES // 4, jnp.float32)
  add = jax.jit(lambda x: x + 1)
  return 2 * _DEVICE_BYTES / _best(lambda: add(x).block_until_ready())


def _best(copy) -> float:
  seconds = []
  for _ in range(COPIES + 1):
    start = time.perf_counter()
    copy()
    seconds.append(time.perf_counter() - start)
  return min(seconds[1:])
