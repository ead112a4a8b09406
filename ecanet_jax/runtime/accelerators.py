"""The accelerators of this machine, whether JAX uses them, and what they can do at most."""

import collections
import os
import pathlib

import jax

from ecanet_jax.runtime.errors import UserError, one_line
from ecanet_jax.runtime.log import log
from ecanet_jax.version import installed

# In /dev, what the driver of each platform makes.
DEVICE_FILES = {'tpu': ('accel*', 'vfio/[0-9]*'), 'cuda': ('nvidia[0-9]*',), 'rocm': ('kfd',)}
# Packages of JAX for each platform; the first extra is the one to install.
PLUGINS = {
  'cuda': {'cuda12': 'jax-cuda12-plugin', 'cuda13': 'jax-cuda13-plugin'},
  'tpu': {'tpu': 'libtpu'},
}
# libtpu looks for a TPU host when it is loaded, and complains. These say that there is none, and
# let several processes of one machine load it at the same time.
_NO_TPU = {
  'TPU_SKIP_MDS_QUERY': '1', 'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
  'TPU_WORKER_HOSTNAMES': 'localhost', 'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
  'TPU_MIN_LOG_LEVEL': '3', 'TPU_STDERR_LOG_LEVEL': '3',
}
# Dense bfloat16 FLOP/s of one device by `jax.Device.device_kind`.
# TPU: https://cloud.google.com/tpu/docs/v2 to /v6e; a device of v2 and v3 is half a chip. GPU:
# NVIDIA's data sheets of A100, H100, H200 and L4, without sparsity.
PEAK_FLOPS = {
  'TPU v2': 22.5e12, 'TPU v3': 61.5e12, 'TPU v4': 275e12, 'TPU v5 lite': 197e12, 'TPU v5': 459e12,
  'TPU v6 lite': 918e12,
  'NVIDIA A100-SXM4-40GB': 312e12, 'NVIDIA A100-SXM4-80GB': 312e12,
  'NVIDIA A100-PCIE-40GB': 312e12, 'NVIDIA A100 80GB PCIe': 312e12,
  'NVIDIA H100 80GB HBM3': 989e12, 'NVIDIA H100 PCIe': 756e12, 'NVIDIA H200': 989e12,
  'NVIDIA L4': 121e12,
}


def device_files(*platforms: str) -> list[pathlib.Path]:
  """The device files of the platforms ('tpu', 'cuda', 'rocm'; none = all) on this machine."""
  devices = pathlib.Path('/dev')
  patterns = [name for each in platforms or DEVICE_FILES for name in DEVICE_FILES[each]]
  return sorted(path for name in patterns for path in devices.glob(name))


def install_command(platform: str) -> str:
  """The pip command for JAX on 'cuda' or 'tpu', of the version that is installed."""
  return f'pip install -U "jax[{next(iter(PLUGINS[platform]))}]=={installed("jax")}"'


def say_that_there_is_no_tpu() -> None:
  """Sets those environment variables of libtpu that are not set; call it before JAX loads it."""
  for name, value in _NO_TPU.items():
    os.environ.setdefault(name, value)


def silence_libtpu() -> None:
  """Keeps a libtpu silent that is installed for `compile` on a machine without a TPU.

  Call it before JAX uses a device.
  """
  if installed('libtpu') and not device_files('tpu'):
    say_that_there_is_no_tpu()


def check_devices() -> None:
  """Checks that JAX has the devices that JAX_PLATFORMS asks for; call it before any is used.

  Raises:
    UserError: it asks for a GPU or TPU, and JAX has no plugin for it or finds none.
  """
  silence_libtpu()
  asked = [{'gpu': 'cuda'}.get(name, name) for name in _asked()]
  wanted = next((platform for platform in PLUGINS if platform in asked), '')
  reason = ''
  try:
    found = jax.devices()[0].platform != 'cpu'
  except Exception as error:  # of JAX's plugins, of any type
    if not wanted:
      raise
    found, reason = False, f' ({one_line(error, 100)})'
  if wanted and not found:
    text = f'JAX_PLATFORMS={jax.config.jax_platforms} and JAX cannot use {wanted}{reason}'
    raise UserError(f'{text}: {_advice(wanted)}')


def log_devices() -> None:
  """Logs kind and number of the devices, as the first line of a training or an evaluation.

  A GPU or TPU that is in this machine and that JAX does not use is a warning.
  """
  devices = jax.devices()
  log.info('devices: %s', describe(devices))
  if devices[0].platform == 'cpu' and not _asked():
    for platform in PLUGINS:
      if files := device_files(platform):
        log.warning('%s is there, and JAX computes on the CPU: %s', files[0], _advice(platform))


def describe(devices: list[jax.Device]) -> str:
  """Kinds and numbers of devices, such as '256 x TPU v5 lite on 64 hosts'."""
  kinds = collections.Counter(device.device_kind for device in devices)
  hosts = len({device.process_index for device in devices})
  listed = ', '.join(f'{count} x {kind}' for kind, count in kinds.items())
  return listed + (f' on {hosts} hosts' if hosts > 1 else '')


def _asked() -> list[str]:
  """The platforms in JAX_PLATFORMS."""
  return [name for name in (jax.config.jax_platforms or '').split(',') if name]


def _advice(platform: str) -> str:
  """What to type where JAX does not use a platform."""
  if not any(installed(package) for package in PLUGINS[platform].values()):
    return install_command(platform)
  return 'python -m ecanet_jax doctor'
