"""Images per second of our training input beside timm's loader and beside decoding alone.

`python -m benchmarks --input`. Generated JPEG photographs of 500 x 375 pixels lie in a
temporary image folder. Three processes read them in turn with the same number of workers:

- ours: `Dataset.train`: decode, random resized crop, flip, uint8 batches;
- timm: `timm.data.create_loader`: the same augmentation in worker processes, float32 batches;
- decoding: `tf.io.decode_jpeg` of whole files in tf.data's threads, and nothing else.

A stream never ends; before a turn is timed, what was made while it waited is taken and thrown away.
"""

import argparse
import contextlib
import importlib.util
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
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ecanet_jax.runtime.errors import UserError

HEIGHT, WIDTH = 375, 500  # pixels; the usual size of ImageNet's photographs
IMAGES = 320
QUALITY = 92  # files of about 100 kB
CLASSES = 4
TIMED, UNTIMED = 384, 192  # images of a turn
GOALS = {'timm': 1.5, 'decoding': 0.85}  # ours / the other


def add_arguments(parser: argparse.ArgumentParser) -> None:
  """Adds the flags that `run` reads."""
  parser.add_argument('--rounds', type=int, default=5, help='turns of each side')
  parser.add_argument('--threads', type=int, default=0, help='workers of each side; 0 = all CPUs')
  parser.add_argument('--batch_size', type=int, default=32)
  parser.add_argument('--image_size', type=int, default=224, help='pixels, height = width')
  parser.add_argument('--json', default='', help='file to write the figures to')
  parser.add_argument('--no_timm', action='store_true', help='measure ours and decoding only')


def run(args: argparse.Namespace) -> int:
  """Measures, prints a table with the ratios, and returns the exit status.

  Raises:
    UserError: a number out of range, a folder that does not exist, a side that fails.
  """
  cpus = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count()
  for name in ('rounds', 'batch_size', 'image_size'):
    if getattr(args, name) < 1:
      raise UserError(f'--{name}={getattr(args, name)} must be at least 1.')
  if not 0 <= args.threads <= cpus:
    raise UserError(f'--threads={args.threads} must be 0 (all) or 1 to {cpus}, all CPUs there are.')
  if args.json and not pathlib.Path(args.json).absolute().parent.is_dir():
    raise UserError(f'--json={args.json}: its folder does not exist.')
  sides = ['ours', 'timm', 'decoding']
  if args.no_timm or not all(map(importlib.util.find_spec, ('torch', 'timm'))):
    sides.remove('timm')
    if not args.no_timm:
      print('torch and timm not installed: pip install "ecanet-jax[torch]" to compare.')
  setting = {
    'threads': args.threads or cpus, 'batch_size': args.batch_size, 'image_size': args.image_size
  }
  with tempfile.TemporaryDirectory(prefix='ecanet_jax_bench_') as folder:
    bytes_per_image = write_images(pathlib.Path(folder), IMAGES)
    speeds = measure(sides, {**setting, 'data_dir': folder}, args.rounds)
  result = {'setting': {**setting, 'bytes_per_image': bytes_per_image}, 'images_per_second': speeds}
  print(table(result))
  if args.json:
    pathlib.Path(args.json).write_text(json.dumps(result, indent=2) + '\n')
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
  """A JPEG file with the spectrum of a photograph: shapes of every size, edges, and grain."""
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
  """Returns the images per second of every side in every round; the sides work in turn."""
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
  """Starts a side's process; gives the function that sends a line and returns the answer."""
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
  from benchmarks.peer import _import_torchvision

  _import_torchvision()
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


def _work(side: str, setting: dict[str, Any]) -> None:
  """Answers every line of standard input with the images per second of one turn."""
  answers = os.fdopen(os.dup(1), 'w')
  os.dup2(2, 1)  # Whatever a library prints must not get into the answers.
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
  os._exit(0)  # TensorFlow's threads, which still read ahead, are not waited for


def main() -> int:
  """This command by itself, or one side: `SIDE JSON`."""
  if sys.argv[1:2] and sys.argv[1] in SIDES:
    _work(sys.argv[1], json.loads(sys.argv[2]))
  parser = argparse.ArgumentParser('python -m benchmarks.loaders')
  add_arguments(parser)
  try:
    return run(parser.parse_args())
  except UserError as error:
    print(f'error: {error}', file=sys.stderr)
    return 2


if __name__ == '__main__':
  sys.exit(main())
