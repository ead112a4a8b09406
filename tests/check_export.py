"""Opens the quick start's export in PyTorch and compares its answers with ours, image by image.

  python -m tests.check_export runs/digits

Exits with 1 unless the logits are within 1e-4 of the largest, every image has the same answer, and
as many are right as the training counted.
"""

import pathlib
import sys

import numpy as np
import torch

from configs import digits
from ecanet_jax import data
from ecanet_jax.checkpoints.files import load_weights
from ecanet_jax.cli.arguments import Parser
from ecanet_jax.cli.exit_status import exit_status
from ecanet_jax.models.registry import create_from_config
from ecanet_jax.runtime.accelerators import silence_libtpu
from ecanet_jax.training.logging.writers import read_metrics
from ecanet_jax.weights.torchvision_shim import import_torchvision
from ecanet_jax.weights.verify import compare, our_logits

import_torchvision()

import timm  # noqa: E402  after torchvision


def main() -> int:
  parser = Parser('python -m tests.check_export', 'compares an export in PyTorch with JAX')
  parser.add_argument('workdir', type=pathlib.Path, help='of the training of configs/digits.py')
  workdir = parser.parse_args().workdir
  silence_libtpu()
  config = digits.get_config()
  recipe, variables = load_weights(workdir)
  model = create_from_config(recipe['model'])
  exported = timm.create_model(f'local-dir:{workdir / "export"}', pretrained=True).eval()
  ours, theirs, labels = [], [], []
  batches, steps = data.open(config).eval()
  for _ in range(steps):
    batch = next(batches)
    images = (batch['image'] / 255.0 - config.data.mean) / np.array(config.data.std)
    images = images.astype(np.float32)
    with torch.no_grad():
      logits = exported(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).numpy()
    real = batch['mask'].astype(bool)
    ours.append(our_logits(model, variables, images)[real])
    theirs.append(logits[real])
    labels.append(batch['label'][real])
  ours, theirs, labels = map(np.concatenate, (ours, theirs, labels))
  result = compare(ours, theirs, 'PyTorch', config.data.image_size, in_pytorch=True)
  right = int((theirs.argmax(-1) == labels).sum())
  counted = [line for line in read_metrics(workdir) if 'eval/top1_count' in line][-1]
  same = int((ours.argmax(-1) == theirs.argmax(-1)).sum())
  print(
    f'PyTorch: {right} of {len(labels)} right; JAX: {counted["eval/top1_count"]} of '
    f'{counted["eval/seen"]}; the same answer for {same} of {len(labels)} images, logits within '
    f'{result.max_rel:.1e}'
  )
  return int(not (
    right == counted['eval/top1_count'] and len(labels) == counted['eval/seen']
    and same == len(labels) and result.max_rel < 1e-4
  ))


if __name__ == '__main__':
  sys.exit(exit_status(main))
