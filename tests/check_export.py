"""Opens the quick start's export in PyTorch and counts its right answers on the test images.

  python -m tests.check_export runs/digits

Exits with 1 unless they are as many as the training counted.
"""

import pathlib
import sys

import numpy as np
import torch

from configs import digits
from ecanet_jax import data
from ecanet_jax.training.metrics import read_metrics
from tests import torchvision_shim  # noqa: F401  before timm

import timm  # isort: skip


def main(workdir: pathlib.Path) -> int:
  config = digits.get_config()
  model = timm.create_model(f'local-dir:{workdir / "export"}', pretrained=True).eval()
  right = 0
  batches, steps = data.eval_batches(config)
  for _ in range(steps):
    batch = next(batches)
    images = (batch['image'] / 255.0 - config.data.mean) / np.array(config.data.std)
    with torch.no_grad():
      logits = model(torch.tensor(images.transpose(0, 3, 1, 2), dtype=torch.float32)).numpy()
    right += int((batch['mask'] & (logits.argmax(-1) == batch['label'])).sum())
  counted = [line for line in read_metrics(workdir) if 'eval/top1_count' in line][-1]
  print(f'PyTorch: {right} of {counted["eval/seen"]} right; JAX: {counted["eval/top1_count"]}')
  return int(right != counted['eval/top1_count'])


if __name__ == '__main__':
  sys.exit(main(pathlib.Path(sys.argv[1])))
