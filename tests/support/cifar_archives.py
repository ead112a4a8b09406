"""Generated files in the layout of CIFAR-10's and CIFAR-100's binary archives, unpacked."""

import pathlib

import numpy as np

NAMES = (
  'airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck',
)


def write_cifar10(directory: pathlib.Path, per_file: int, seed: int = 0) -> dict[str, np.ndarray]:
  """Writes the five training files and the test file of CIFAR-10.

  A record is one byte of the class, then 1,024 bytes each of red, green and blue. Each class has a
  colour of its own.

  Returns:
    {'image': uint8 [n, 32, 32, 3], 'label': [n]} of the test file.
  """
  folder = directory / 'cifar-10-batches-bin'
  folder.mkdir(parents=True)
  random = np.random.RandomState(seed)
  colours = random.randint(0, 256, (10, 1, 1, 3))
  (folder / 'batches.meta.txt').write_text('\n'.join(NAMES) + '\n\n')
  for name in (*(f'data_batch_{i}' for i in range(1, 6)), 'test_batch'):
    label = (np.arange(per_file) % 10).astype(np.uint8)
    noise = random.randint(-40, 41, (per_file, 32, 32, 3))
    image = np.clip(colours[label] + noise, 0, 255).astype(np.uint8)
    planes = image.transpose(0, 3, 1, 2).reshape(per_file, -1)
    np.concatenate([label[:, None], planes], 1).tofile(folder / f'{name}.bin')
  return {'image': image, 'label': label}
