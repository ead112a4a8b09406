"""The runtimes: each computes all networks in a process of its own; see `benchmarks.worker`."""

import pathlib
import statistics
import time
from collections.abc import Callable
from typing import Any

from benchmarks.latency import networks
from ecanet_jax.models import network
from ecanet_jax.runtime.memory import keep_freed_memory


class Runtime:
  """Networks that are ready to compute one image.

  Attributes:
    device: its name.
  """

  device = 'CPU'

  def __init__(self, setting: dict[str, Any]):
    keep_freed_memory()
    self._threads, self._size = setting['threads'], setting['image_size']
    self._folder = pathlib.Path(setting['folder'])
    self._calls = {name: self._load(name) for name in setting['networks']}

  def _load(self, name: str) -> Callable[[], Any]:
    """A function that computes one image and waits for the result."""
    raise NotImplementedError

  def run(self, calls: int) -> None:
    """Computes each network so many times."""
    for call in self._calls.values():
      for _ in range(calls):
        call()

  def measure(self, name: str, calls: int) -> dict[str, float]:
    """The median milliseconds of a network's calls, after one that is not measured."""
    call = self._calls[name]
    call()
    seconds = []
    for _ in range(calls):
      start = time.perf_counter()
      call()
      seconds.append(time.perf_counter() - start)
    return {'ms': 1e3 * statistics.median(seconds)}


class Jax(Runtime):
  """Ours, with BatchNorm folded, as eval.py computes it."""

  def _load(self, name):
    import jax

    from ecanet_jax.models.fold import fold_batch_norm

    given = networks.classifier(name, self._size)
    model, variables = fold_batch_norm(given.model, jax.device_get(dict(given.variables)))
    variables, images = jax.device_put((variables, networks.images(self._size)))
    program = jax.jit(lambda variables, images: model.apply(variables, images, train=False))
    return lambda: program(variables, images).block_until_ready()


class LiteRT(Runtime):
  """The file of format tflite."""

  format = 'tflite'

  def _load(self, name):
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    file = self._folder / f'{name}.{self.format}'
    interpreter = Interpreter(str(file), num_threads=self._threads)
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    scale, zero = given['quantization']
    values = networks.images(self._size)
    if scale:
      values = np.clip(np.round(values / scale) + zero, -128, 127)
    interpreter.set_tensor(given['index'], values.astype(given['dtype']))
    return interpreter.invoke


class LiteRTInt8(LiteRT):
  """The file of format tflite_int8."""

  format = 'tflite_int8'


class OnnxRuntime(Runtime):
  """The file of format onnx in ONNX Runtime."""

  def _load(self, name):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = self._threads
    session = onnxruntime.InferenceSession(
      self._folder / f'{name}.onnx', options, providers=['CPUExecutionProvider']
    )
    given = {'images': networks.images(self._size)}
    return lambda: session.run(None, given)


class OpenVINO(Runtime):
  """The file of format onnx in OpenVINO."""

  def _load(self, name):
    import openvino

    model = openvino.compile_model(
      self._folder / f'{name}.onnx', 'CPU',
      {
        'INFERENCE_NUM_THREADS': self._threads, 'PERFORMANCE_HINT': 'LATENCY',
        'INFERENCE_PRECISION_HINT': 'f32',
      },
    )
    request = model.create_infer_request()
    images = networks.images(self._size)
    return lambda: request.infer([images], share_inputs=True)


class PyTorch(Runtime):
  """timm's network with the same padding, eager, channels_last."""

  def _load(self, name):
    import torch

    from ecanet_jax.weights.torchvision_shim import import_torchvision

    import_torchvision()
    import timm

    torch.set_num_threads(self._threads)
    model = timm.create_model(twin(name), **dict(network(name).timm_arguments)).eval()
    model = model.to(memory_format=torch.channels_last)
    images = torch.from_numpy(networks.images(self._size)).permute(0, 3, 1, 2)

    def call():
      with torch.inference_mode():
        model(images)

    return call


def twin(name: str) -> str:
  """timm's name of a network in the padding of the table; '' = timm has none."""
  own = network(name).timm
  prefix = f'{networks.PRESET}_'
  return own if not own or own.startswith(prefix) else prefix + own
