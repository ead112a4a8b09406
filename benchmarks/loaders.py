"""Images per second of our training input beside timm's loader and beside decoding alone.

`python -m benchmarks --input`. A temporary image folder holds generated JPEG photographs of
500 x 375 pixels. Three processes read them in turn with the same number of workers:

- ours: `Dataset.train`: decode, random resized crop, flip, uint8 batches;
- timm: `timm.data.create_loader`: the same augmentation in worker processes, float32 batches;
- decoding: `tf.io.decode_jpeg` of whole files in tf.data's threads, and nothing else.

The streams never end. A side reads ahead while it waits, so each turn first discards some untimed
images. `python -m benchmarks.loaders SIDE JSON` is the process of one side.
"""

import contextlib
import io
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from benchmarks import machine
from benchmarks.sides import missing_packages
from ecanet_jax.runtime.errors import UserError

HEIGHT, WIDTH = 375, 500  # pixels; the usual size of ImageNet's photographs
IMAGES = 320
QUALITY = 92  # files of about 100 kB
CLASSES = 4
TIMED, UNTIMED = 384, 192  # images per turn
GOALS = {'timm': 1.5, 'decoding': 0.85}  # ours / the other side


def run(sides: Sequence[str], setting: dict[str, Any], rounds: int, json_file: str = '') -> int:
  """Measures, prints a table with the ratios, and returns the exit status.

  Args:
    sides: with 'timm', its loader is measured, too; ours and decoding alone always are.
    setting: batch_size, image_size (pixels) and threads (workers of each side; 0 = every CPU).
    rounds: turns of each side.
    json_file: file to write the figures to; '' = none.

  Raises:
    UserError: a side fails.
  """
  sides = ['ours', *(['timm'] if 'timm' in sides else []), 'decoding']
  if 'timm' in sides and (line := missing_packages()):
    sides.remove('timm')
    print(line)
  setting = {**setting, 'threads': setting['threads'] or len(machine.cpus())}
  with tempfile.TemporaryDirectory(prefix='ecanet_jax_bench_') as folder:
    bytes_per_image = write_images(pathlib.Path(folder), IMAGES)
    speeds = measure(sides, {**setting, 'data_dir': folder}, rounds)
  result = {'setting': {**setting, 'bytes_per_image': bytes_per_image}, 'images_per_second': speeds}
  print(table(result))
  if json_file:
    pathlib.Path(json_file).write_text(json.dumps(result, indent=2) + '\n')
  return 0


def write_images(root: pathlib.Path, count: int) -> int:
  """Writes `count` JPEG files as ROOT/train and ROOT/val; returns their mean size in bytes."""
  random, total = np.random.default_rng(0), 0
  for number in range(count):
    for split in ('train', 'val')[: 2 if number < CLASSES else 1]:
      directory = root / split / f'class{number % CLASSES}'
      directory.mkdir(parents=True, exist_ok=True)
      data = photograph(random)
      (directory / f'{number}.jpg').write_bytes(data)
    total += len(data)
  return total // count


def photograph(random: np.random.Generator) -> bytes:
  """A JPEG file with the spectrum of a photograph: shapes of all sizes, edges, and grain."""
  from PIL import Image

  image = np.full((HEIGHT, WIDTH, 3), 128, np.float32)
  for cells, strength in ((3, 60), (8, 40), (24, 25), (80, 15)):
    coarse = random.uniform(0, 255, (cells * 3 // 4 + 1, cells, 3)).astype(np.uint8)
    smooth = Image.fromarray(coarse).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    image += (np.asarray(smooth, np.float32) / 127.5 - 1) * strength
  image += random.normal(0, 10, (HEIGHT, WIDTH, 1)).astype(np.float32)
  image[:, : random.integers(WIDTH // 4, WIDTH // 2)] *= 0.6
  file = io.BytesIO()
  Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(file, 'JPEG', quality=QUALITY)
  return file.getvalue()


def measure(sides: list[str], setting: dict[str, Any], rounds: int) -> dict[str, list[float]]:
  """Returns the images per second of every side in every round; the sides take turns."""
  with contextlib.ExitStack() as stack:
    workers = {side: stack.enter_context(_worker(side, setting)) for side in sides}
    for worker in workers.values():
      worker()  # ready
    speeds = {side: [] for side in sides}
    for _, (side, worker) in itertools.product(range(rounds), workers.items()):
      speeds[side].append(worker('go\n'))
  return speeds


def table(result: dict[str, Any]) -> str:
  """The figures as text: median (lowest-highest) of the rounds, ratios of neighbouring turns."""
  setting, speeds = result['setting'], result['images_per_second']
  lines = [
    f'input: JPEG of {WIDTH} x {HEIGHT}, {setting["bytes_per_image"] // 1000} kB, to '
    f'{setting["image_size"]} x {setting["image_size"]}, {setting["threads"]} workers, batch '
    f'{setting["batch_size"]}, {len(speeds["ours"])} rounds'
  ]
  for side, values in speeds.items():
    line = f'{side:<9} {_spread(values, 1)} images/s'
    if side in GOALS:
      ratios = [ours / other for ours, other in zip(speeds['ours'], values)]
      line += f', ours / {side} {_spread(ratios, 2)}, goal {GOALS[side]}'
    lines.append(line)
  return '\n'.join(lines)


def _spread(values: list[float], digits: int) -> str:
  low, middle, high = min(values), statistics.median(values), max(values)
  return f'{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})'


@contextlib.contextmanager
def _worker(side: str, setting: dict[str, Any]) -> Iterator[Callable[[str], float]]:
  """Starts a side's process; yields a function that sends a line and returns the answer."""
  package = str(pathlib.Path(__file__).parents[1])
  path = os.pathsep.join(filter(None, [package, os.environ.get('PYTHONPATH', '')]))
  with tempfile.TemporaryFile('w+') as log:
    process = subprocess.Popen(
      [sys.executable, '-m', 'benchmarks.loaders', side, json.dumps(setting)],
      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
      env={**os.environ, 'PYTHONPATH': path, 'JAX_PLATFORMS': 'cpu'},
    )

    def ask(line: str = '') -> float:
      with contextlib.suppress(BrokenPipeError):
        process.stdin.write(line)
        process.stdin.flush()
      answer = process.stdout.readline()
      if not answer:
        log.seek(0)
        tail = log.read().strip().splitlines()[-15:]
        raise UserError('\n'.join([f'the side {side} ended:', *tail]))
      return float(answer)

    try:
      yield ask
    finally:
      with contextlib.suppress(BrokenPipeError):
        process.stdin.close()
      try:
        process.wait(20)
      except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
      process.stdout.close()


def ours(setting: dict[str, Any]) -> Iterator:
  """Our training input, as the trainer reads it."""
  from ecanet_jax import data
  from ecanet_jax.config import schema
  from ecanet_jax.runtime import memory

  memory.keep_freed_memory()  # as train.py does
  config = schema.get_config()
  config.batch_size = setting['batch_size']
  config.data.source, config.data.data_dir = 'folder', setting['data_dir']
  config.data.eval_split, config.data.image_size = 'val', setting['image_size']
  config.data.decode_threads = setting['threads']
  return data.open(config).train(0)


def timm(setting: dict[str, Any]) -> Iterator:
  """timm's training loader with the same augmentation; its stream ends after 300,000 images."""
  from ecanet_jax.weights.torchvision_shim import import_torchvision

  import_torchvision()
  from timm.data import create_dataset, create_loader

  dataset = create_dataset('', root=os.path.join(setting['data_dir'], 'train'))
  dataset.reader.samples *= 300_000 // len(dataset.reader.samples)
  size = setting['image_size']
  loader = create_loader(
    dataset, (3, size, size), setting['batch_size'], is_training=True, use_prefetcher=False,
    scale=(0.08, 1.0), ratio=(3 / 4, 4 / 3), hflip=0.5, color_jitter=None, interpolation='bicubic',
    num_workers=setting['threads'], persistent_workers=True,
  )
  return iter(loader)


def decoding(setting: dict[str, Any]) -> Iterator:
  """The first pixel of every file, decoded whole in as many threads."""
  from ecanet_jax.data.tfdata import decode, pipeline
  from ecanet_jax.data.tfdata.tf_import import tensorflow
  from ecanet_jax.runtime import memory

  memory.keep_freed_memory()
  tf = tensorflow()
  files = sorted(map(str, pathlib.Path(setting['data_dir'], 'train').rglob('*.jpg')))
  dataset = tf.data.Dataset.from_tensor_slices(files).repeat().map(
    lambda path: decode.decode(tf.io.read_file(path))[0, 0],
    num_parallel_calls=setting['threads'], deterministic=True,
  )
  dataset = dataset.batch(setting['batch_size']).prefetch(2)
  return dataset.with_options(pipeline._options(setting['threads'])).as_numpy_iterator()


SIDES = {'ours': ours, 'timm': timm, 'decoding': decoding}


def answer_turns(side: str, setting: dict[str, Any]) -> None:
  """Answers every line of standard input with the images per second of one turn."""
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # keeps the output of libraries out of the answers
  stream, size = SIDES[side](setting), setting['batch_size']

  def take(images: int) -> float:
    count = -(-images // size)
    start = time.perf_counter()
    for _ in itertools.islice(stream, count):
      pass
    return count * size / (time.perf_counter() - start)

  take(UNTIMED)
  print(0, file=answers, flush=True)
  for _ in sys.stdin:
    take(UNTIMED)
    print(take(TIMED), file=answers, flush=True)
  if hasattr(stream, '_shutdown_workers'):
    stream._shutdown_workers()  # timm's processes
  os._exit(0)  # does not wait for TensorFlow's threads, which still read ahead


if __name__ == '__main__':
  answer_turns(sys.argv[1], json.loads(sys.argv[2]))
