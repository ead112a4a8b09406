"""The maps of pictures and classes in one network, and what is measured with them."""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from ecanet_jax.analysis.cam.deletion import Curves, blurred, curves
from ecanet_jax.analysis.cam.maps import choose_layer, make_cam, random_variables
from ecanet_jax.analysis.classes import choose_classes
from ecanet_jax.inference.classifier import Classifier
from ecanet_jax.inference.images import normalise, resize_and_crop
from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.progress import bar

TOP = 'top'  # classes by rank: top1, top3
MOST = 20  # classes of a photograph


@dataclasses.dataclass(frozen=True)
class Explained:
  """The map of one class on one picture.

  Attributes:
    image: number of the picture.
    label: number of the class.
    name: of the class.
    logit: of the class.
    probability: of the class.
    values: the map, float32 `[h, w]`, not rectified.
    curves: deletion and insertion; None if they were not asked for.
    random_correlation: rank correlation with the map of random weights; NaN if it was not asked
      for.
  """

  image: int
  label: int
  name: str
  logit: float
  probability: float
  values: np.ndarray
  curves: Curves | None = None
  random_correlation: float = float('nan')


def explain(
  classifier: Classifier, photographs: Iterable[Image.Image],
  classes: str | Sequence[Sequence[int]] = 'top1', layer: str = '', *, deletion: bool = False,
  randomised: bool = False,
) -> list[Explained]:
  """Computes the map of each class on each photograph.

  Args:
    classifier: from `load`.
    photographs: RGB.
    classes: 'top1', 'top2', ... = the most probable ones of each photograph; or names or numbers,
      separated by commas; or the numbers for each photograph.
    layer: a block, or 'head'; '' = the last features.
    deletion: whether to compute deletion and insertion curves.
    randomised: whether to compare with the maps of random weights.

  Raises:
    UserError: there is no such class or layer, too many classes, or the network has no classifier.
  """
  model, data = classifier.model, classifier.preprocessing
  cam = make_cam(model, choose_layer(model, layer))
  names = class_names(classifier)
  choose = _chooser(classes, names)
  logits_of = jax.jit(functools.partial(model.apply, train=False))
  untrained = random_variables(model, data['image_size']) if randomised else None
  found = []
  for number, photograph in enumerate(bar(photographs, 'cam', 'picture')):
    crop = resize_and_crop(photograph, data)
    image = normalise(crop, data)
    logits = np.asarray(logits_of(classifier.variables, image[None]))[0]
    probabilities = _probabilities(logits, classifier.multi_label)
    for label in choose(number, logits):
      values = _map(cam, classifier.variables, image, label)
      entry = Explained(
        number, label, names[label], float(logits[label]), float(probabilities[label]), values
      )
      if deletion:
        def probability(images, label=label):
          rows = [np.asarray(logits_of(classifier.variables, row[None]))[0] for row in images]
          return np.array([_probabilities(row, classifier.multi_label)[label] for row in rows])

        without = normalise(blurred(crop), data)
        entry = dataclasses.replace(entry, curves=curves(values, image, without, probability))
      if untrained is not None:
        other = _map(cam, untrained, image, label)
        entry = dataclasses.replace(entry, random_correlation=rank_correlation(values, other))
      found.append(entry)
  return found


def class_names(classifier: Classifier) -> tuple[str, ...]:
  """A name for each class; 'class 7' where the names are not known."""
  return classifier.label_names or tuple(f'class {n}' for n in range(classifier.model.num_classes))


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
  """Spearman's correlation of two maps; NaN if one is constant."""
  if np.ptp(first) == 0 or np.ptp(second) == 0:
    return float('nan')
  ranks = [np.argsort(np.argsort(values, axis=None)) for values in (first, second)]
  return float(np.corrcoef(*ranks)[0, 1])


def _chooser(
  classes: str | Sequence[Sequence[int]], names: Sequence[str]
) -> Callable[[int, np.ndarray], Sequence[int]]:
  """A function of a photograph's number and its logits: the numbers of its classes."""
  if not isinstance(classes, str):
    return lambda number, logits: classes[number]
  rank = classes.removeprefix(TOP)
  if classes.startswith(TOP) and rank.isdigit():
    count = min(int(rank), len(names))
    if count == 0:
      raise UserError(f'--class={classes}: at least top1.')
    choose = lambda number, logits: np.argsort(-logits, kind='stable')[:count].tolist()
  elif classes.strip(' ,'):
    fixed = choose_classes(classes, names)
    count, choose = len(fixed), lambda number, logits: fixed
  else:
    raise UserError(f'--class={classes} names no class; write --class=top1, a name or a number.')
  if count > MOST:
    raise UserError(f'--class={classes}: {count} classes, but a picture shows at most {MOST}.')
  return choose


def _map(cam: Callable, variables, image: np.ndarray, label: int) -> np.ndarray:
  maps, _ = cam(variables, jnp.asarray(image[None]), jnp.asarray([label]))
  return np.asarray(maps[0])


def _probabilities(logits: np.ndarray, multi_label: bool) -> np.ndarray:
  logits = logits.astype(np.float64)
  if multi_label:
    return np.exp(-np.logaddexp(0, -logits))
  return np.exp(logits - np.logaddexp.reduce(logits))
