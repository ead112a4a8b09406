"""Statistics of attention weights and squeezed channels; numpy in float64."""

import dataclasses

import numpy as np

NEAR = 0.05  # of the ends 0 and 1
HALF = 0.01  # of the middle
LAGS = 32  # longest shift of `autocorrelation`, in channels
PERMUTATIONS = 200
WINDOW = 64  # channels of `strongest_window`
QUANTILE = 0.95


@dataclasses.dataclass
class Moments:
  """Sums over images by class, from which all means and variances follow.

  Attributes:
    count: images of each class, `[K]`.
    total: sums, `[K, C]`.
    squares: sums of squares, `[K, C]`.
  """

  count: np.ndarray
  total: np.ndarray
  squares: np.ndarray

  @classmethod
  def zero(cls, classes: int, channels: int) -> 'Moments':
    """Of no image."""
    return cls(
      np.zeros(classes), np.zeros((classes, channels)), np.zeros((classes, channels))
    )

  def add(self, values: np.ndarray, labels: np.ndarray) -> None:
    """Adds images.

    Args:
      values: `[N, C]`.
      labels: integers `[N]`, 0 to K - 1.
    """
    values = np.asarray(values, np.float64)
    np.add.at(self.count, labels, 1)
    np.add.at(self.total, labels, values)
    np.add.at(self.squares, labels, values**2)

  def mean(self) -> np.ndarray:
    """The mean of each class, `[K, C]`; NaN for a class without images."""
    with np.errstate(invalid='ignore'):
      return self.total / self.count[:, None]

  def deviation(self) -> np.ndarray:
    """The standard deviation of each class (division by n), `[K, C]`."""
    with np.errstate(invalid='ignore'):
      variance = self.squares / self.count[:, None] - self.mean()**2
    return np.sqrt(np.maximum(variance, 0))

  def mean_of_classes(self) -> np.ndarray:
    """The mean of the class means, `[C]`: each class counts the same (ECA-Net, Fig. 7)."""
    return self.mean()[self.count > 0].mean(0)


@dataclasses.dataclass(frozen=True)
class Shares:
  """How the variance of attention weights is divided.

  Attributes:
    eta_squared: sum of squares between the classes / that of all images, summed over channels.
      It is above 0 even for random classes: (K - 1) / (N - 1).
    omega_squared: the same without that bias (Hays 1963): (B - (K - 1) MSW) / (T + MSW) with
      MSW = (T - B) / (N - K). 0 on average for random classes; 1 if the weights of all images of a
      class are equal. NaN if no class has two images.
    static: variance of the channels' means / variance of all weights: the share that does not
      depend on the image. NaN if all weights are equal.
  """

  eta_squared: float
  omega_squared: float
  static: float


def shares(moments: Moments) -> Shares:
  """Divides the variance; NaN where it is 0."""
  present = moments.count > 0
  count, total = moments.count[present], moments.total[present]
  images, classes, channels = count.sum(), len(count), total.shape[1]
  mean = total.sum(0) / images
  squares = moments.squares.sum(0)
  around_channel = (squares - images * mean**2).sum()
  between = (count[:, None] * (total / count[:, None] - mean)**2).sum()
  around_all = squares.sum() - images * channels * mean.mean()**2
  with np.errstate(invalid='ignore', divide='ignore'):
    within = np.float64(around_channel - between) / (images - classes)
    return Shares(
      float(np.float64(between) / around_channel),
      float((between - (classes - 1) * within) / (around_channel + within)),
      float(images * channels * np.float64(mean.var()) / around_all),
    )


@dataclasses.dataclass
class Saturation:
  """Counts of attention weights near the ends and the middle of 0..1.

  Attributes:
    low: below `NEAR`.
    high: above 1 - `NEAR`.
    half: within `HALF` of 0.5.
    count: of all.
  """

  low: int = 0
  high: int = 0
  half: int = 0
  count: int = 0

  def add(self, values: np.ndarray) -> None:
    """Counts weights of any shape."""
    self.low += int((values < NEAR).sum())
    self.high += int((values > 1 - NEAR).sum())
    self.half += int((np.abs(values - 0.5) < HALF).sum())
    self.count += values.size

  def shares(self) -> dict[str, float]:
    """Each count / `count`."""
    return {name: getattr(self, name) / self.count for name in ('low', 'high', 'half')}


def autocorrelation(curve: np.ndarray, lags: int = LAGS) -> np.ndarray:
  """r(l) = sum over c of z_c z_(c + l) / C, z the standardised curve; l = 1 to `lags`.

  This is the usual estimate (Box and Jenkins). A long shift has fewer terms and so counts less: a
  curve of period 8 also repeats after 16 and 24, but its largest r is that of 8.

  Args:
    curve: `[..., C]`.
    lags: the longest shift; at most C - 1 are computed.

  Returns:
    `[..., min(lags, C - 1)]`; zeros for a constant curve.
  """
  curve = np.asarray(curve, np.float64)
  spread = curve.std(-1, keepdims=True)
  z = (curve - curve.mean(-1, keepdims=True)) / np.where(spread, spread, np.inf)
  longest = min(lags, z.shape[-1] - 1)
  return np.stack(
    [(z[..., :-lag] * z[..., lag:]).sum(-1) for lag in range(1, longest + 1)], axis=-1
  ) / z.shape[-1]


@dataclasses.dataclass(frozen=True)
class Periodicity:
  """Whether a curve over channels repeats (ECA-Net, Fig. 6: "certain local periodicity").

  Attributes:
    peak: the largest r(l).
    lag: its l, in channels.
    null: the `QUANTILE` of the largest r(l) over random orders of the channels.
  """

  peak: float
  lag: int
  null: float

  @property
  def found(self) -> bool:
    """Whether the peak exceeds chance."""
    return self.peak > self.null


def periodicity(curve: np.ndarray, seed: int = 0) -> Periodicity:
  """Compares a curve `[C]` with `PERMUTATIONS` random orders of its channels."""
  random = np.random.default_rng(seed)
  values = autocorrelation(curve)
  nulls = [autocorrelation(random.permutation(curve)).max() for _ in range(PERMUTATIONS)]
  return Periodicity(
    float(values.max()), int(values.argmax()) + 1, float(np.quantile(nulls, QUANTILE))
  )


@dataclasses.dataclass(frozen=True)
class Window(Periodicity):
  """The window of a curve that repeats most strongly.

  Attributes (beside Periodicity's):
    first: its first channel.
    width: its channels.
  """

  first: int
  width: int


def strongest_window(curve: np.ndarray, seed: int = 0) -> Window:
  """Finds the window whose peak of r(l) is largest.

  The null is of the largest peak over all windows, for random orders of all channels: the more
  windows there are, the higher a peak chance finds.

  Args:
    curve: `[C]`.
    seed: of the random orders.
  """
  width = min(WINDOW, len(curve))
  windows = lambda values: autocorrelation(
    np.lib.stride_tricks.sliding_window_view(values, width)[:: width // 4 or 1], width // 2
  )
  random, found = np.random.default_rng(seed), windows(curve)
  nulls = [windows(random.permutation(curve)).max() for _ in range(PERMUTATIONS)]
  place, lag = np.unravel_index(found.argmax(), found.shape)
  return Window(
    float(found[place, lag]), int(lag) + 1, float(np.quantile(nulls, QUANTILE)),
    int(place) * (width // 4 or 1), width,
  )
