"""The backends: implementations of a network's hot functions."""

import dataclasses
import shutil
from collections.abc import Callable, Sequence

import jax

from ecanet_jax.ops.attention import attend, batch_norm_attend, channel_conv
from ecanet_jax.ops.batch_norm import batch_norm, scale_shift
from ecanet_jax.ops.convolution import conv, depthwise_conv
from ecanet_jax.ops.pooling import max_pool
from ecanet_jax.ops.roi_align import roi_align


@dataclasses.dataclass(frozen=True)
class Backend:
  """The functions that a layer calls.

  Attributes:
    name: a key of `BACKENDS`.
    conv: see `ops.convolution`.
    depthwise_conv: see `ops.convolution`.
    batch_norm: for training; see `ops.batch_norm`.
    scale_shift: BatchNorm in evaluation; see `ops.batch_norm`.
    attend: see `ops.attention`.
    batch_norm_attend: for training; see `ops.attention`.
    max_pool: see `ops.pooling`.
    roi_align: see `ops.roi_align`.
    channel_conv: see `ops.attention`.
  """

  name: str
  conv: Callable
  depthwise_conv: Callable
  batch_norm: Callable
  scale_shift: Callable
  attend: Callable
  batch_norm_attend: Callable
  max_pool: Callable
  roi_align: Callable
  channel_conv: Callable = channel_conv


# Runs on every platform and under every transformation of JAX.
XLA = Backend(
  'xla', conv=conv, depthwise_conv=depthwise_conv, batch_norm=batch_norm, scale_shift=scale_shift,
  attend=attend, batch_norm_attend=batch_norm_attend, max_pool=max_pool,
  roi_align=roi_align,
)


def _cpu() -> Backend:
  from ecanet_jax.ops import cpu

  return cpu.BACKEND


def _tpu() -> Backend:
  from ecanet_jax.ops import tpu

  return tpu.BACKEND


def _portable() -> Backend:
  from ecanet_jax.ops import portable

  return portable.BACKEND


BACKENDS: dict[str, Callable[[], Backend]] = {
  'xla': lambda: XLA, 'cpu': _cpu, 'tpu': _tpu, 'portable': _portable
}


def get_backend(name: str) -> Backend:
  """The backend with this name, a key of `BACKENDS`."""
  return BACKENDS[name]()


def cpu_status() -> tuple[bool, str]:
  """Whether the CPU backend can run here, with its compiler or what is missing."""
  from ecanet_jax.ops.cpu import kernels

  try:
    command = kernels.compiler()
  except RuntimeError as error:
    return False, str(error)
  if not shutil.which(command[0]):
    return False, f'there is no compiler {command[0]!r} ($CXX)'
  done = kernels.ready('float32')
  state = 'compiled' if done else 'compiled at the first start, in half a minute'
  return True, f'{command[0]}, {state}'


def select_backend(name: str, devices: Sequence[jax.Device]) -> str:
  """The name of the backend for a program on these devices.

  Args:
    name: of `BACKENDS`, or 'auto': 'tpu' on TPUs, 'cpu' on a single CPU device with a C++ compiler,
      else 'xla'.
    devices: all devices that run the program.

  Raises:
    ValueError: 'cpu' where its kernels cannot run.
  """
  if name not in ('auto', 'cpu'):
    return name
  platform = devices[0].platform
  if name == 'auto' and platform == 'tpu':
    return 'tpu'
  if platform == 'cpu' and len(devices) == 1:
    from ecanet_jax.ops.cpu import kernels

    fault = '' if kernels.load('float32') else 'its kernels cannot be compiled here'
  else:
    fault = f'the program runs on {len(devices)} {platform} device(s)'
  if fault and name == 'cpu':
    raise ValueError(
      f"ops.backend='cpu' is for one CPU device with a C++ compiler, and {fault}: "
      'set --config.ops.backend=xla.'
    )
  return 'xla' if fault else 'cpu'
