"""timm's side of the benchmark: the same network in PyTorch, eager or compiled, channels_last."""

from typing import Any

import torch

from benchmarks import machine
from benchmarks.ours import CLASSES, LEARNING_RATE, MOMENTUM
from ecanet_jax.models import network
from ecanet_jax.runtime.memory import keep_freed_memory
from ecanet_jax.weights.torchvision_shim import import_torchvision


class Timm:
  """timm's network, eager; the same work as `ours.Ours`.

  Attributes:
    device: its name.
  """

  def __init__(self, setting: dict[str, Any]):
    # As on our side. Otherwise glibc returns every large tensor to the kernel and maps its pages
    # again, which takes a sixth of the inference.
    keep_freed_memory()
    import_torchvision()
    import timm

    record = network(setting['model'])
    if setting['threads']:
      torch.set_num_threads(setting['threads'])
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    self._cuda = device.type == 'cuda'
    self.device = torch.cuda.get_device_name() if self._cuda else 'CPU'
    model = timm.create_model(record.timm, num_classes=CLASSES, **dict(record.timm_arguments))
    model = model.to(device, memory_format=torch.channels_last)
    batch, size = setting['batch_size'], setting['image_size']
    torch.manual_seed(0)
    images = torch.randn(batch, 3, size, size, device=device)
    self._images = images.to(memory_format=torch.channels_last)
    self._labels = torch.randint(0, CLASSES, (batch,), device=device)
    self._train = setting['mode'] == 'train'
    model.train(self._train)
    self._parameters = list(model.parameters())
    self._optimizer = torch.optim.SGD(
      self._parameters, LEARNING_RATE, momentum=MOMENTUM, fused=True
    )
    self._autocast = torch.autocast(
      device.type, torch.bfloat16, enabled=setting['dtype'] == 'bfloat16'
    )
    self._model = self._prepared(model)

  def _prepared(self, model):
    return model

  def run(self, calls: int) -> None:
    """Makes `calls` calls and waits for the last result."""
    for _ in range(calls):
      if self._train:
        self._step()
      else:
        with torch.inference_mode(), self._autocast:
          self._model(self._images)
      if self._cuda:
        torch.cuda.synchronize()

  def _step(self) -> None:
    with self._autocast:
      loss = torch.nn.functional.cross_entropy(self._model(self._images).float(), self._labels)
    loss.backward()
    self._optimizer.step()
    self._optimizer.zero_grad(set_to_none=True)

  def memory(self) -> dict[str, Any]:
    """Bytes that autograd saves for the backward pass, and the peak of the device or process."""
    saved, skip = {}, {t.untyped_storage().data_ptr() for t in (*self._parameters, self._images)}

    def keep(tensor):
      storage = tensor.untyped_storage()
      if storage.data_ptr() not in skip:
        saved[storage.data_ptr()] = storage.nbytes()
      return tensor

    machine.reset_peak()
    if self._cuda:
      torch.cuda.reset_peak_memory_stats()
    self.run(2)
    peak = torch.cuda.max_memory_allocated() if self._cuda else machine.peak_memory()
    if self._train:
      with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        self._step()
    return {
      'what': 'tensors that autograd saves', 'temporaries': sum(saved.values()),
      'peak_of': 'device' if self._cuda else 'process', 'peak': peak,
    }


class CompiledTimm(Timm):
  """timm's network through `torch.compile`."""

  def _prepared(self, model):
    return torch.compile(model)
