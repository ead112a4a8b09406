"""The order of the training images: a pure function of (seed, epoch), without any state.

Step s takes the positions [s * B, (s + 1) * B) of the endless sequence of epochs. A batch may cross
the end of an epoch, and every image is seen equally often. All numbers come from integer arithmetic
or from generators whose streams numpy guarantees (SeedSequence, RandomState), so that an upgrade
does not change the order.
"""

import functools

import numpy as np

_MASK = (1 << 64) - 1


def epoch_key(seed: int, epoch: int) -> int:
  """Returns the 63-bit number from which all random numbers of an epoch derive."""
  state = np.random.SeedSequence([seed & _MASK, epoch]).generate_state(1, np.uint64)
  return int(state[0] >> np.uint64(1))


@functools.lru_cache(maxsize=4)
def permutation(num_examples: int, seed: int, epoch: int) -> np.ndarray:
  """Returns the order of one epoch, int64 [num_examples], read-only."""
  state = np.random.SeedSequence([seed & _MASK, epoch, 1]).generate_state(8)
  order = np.random.RandomState(state).permutation(num_examples).astype(np.int64)
  order.setflags(write=False)
  return order


def positions(num_examples: int, seed: int, start: int, count: int):
  """Returns the images at the positions [start, start + count) of the sequence of epochs.

  Args:
    num_examples: images per epoch.
    seed: the run's seed.
    start: first position, counted over all epochs.
    count: how many.

  Returns:
    (keys, indices), int64 [count] each: the key of the image's epoch, and the image's index.
  """
  keys, indices = [], []
  end = start + count
  while start < end:
    epoch, first = divmod(start, num_examples)
    taken = min(num_examples - first, end - start)
    indices.append(permutation(num_examples, seed, epoch)[first : first + taken])
    keys.append(np.full((taken,), epoch_key(seed, epoch), np.int64))
    start += taken
  return np.concatenate(keys), np.concatenate(indices)


def batch_positions(num_examples: int, seed: int, step: int, batch_size: int, rows: np.ndarray):
  """Returns (keys, indices) of some rows of the batch of one step; see `positions`."""
  keys, indices = positions(num_examples, seed, step * batch_size, batch_size)
  return keys[rows], indices[rows]


def uniform(keys: np.ndarray, indices: np.ndarray, draws: int) -> np.ndarray:
  """Returns float64 [n, draws] in [0, 1), a pure function of (key, index, draw).

  SplitMix64's finaliser over a counter; for augmentation without TensorFlow.
  """
  golden = np.uint64(0x9E3779B97F4A7C15)
  mixed = _mix(keys.astype(np.uint64) + golden)
  mixed = _mix(mixed ^ _mix(indices.astype(np.uint64) + golden))
  counter = mixed[:, None] + golden * np.arange(1, draws + 1, dtype=np.uint64)
  return (_mix(counter) >> np.uint64(11)) * 2.0**-53


def _mix(x: np.ndarray) -> np.ndarray:
  x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
  x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
  return x ^ (x >> np.uint64(31))
