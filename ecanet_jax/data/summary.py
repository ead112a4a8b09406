"""What a checkpoint says of the data of its training: classes and number of images."""

import dataclasses
from typing import Any

from ecanet_jax.data.types import DatasetInfo
from ecanet_jax.runtime.errors import UserError


@dataclasses.dataclass(frozen=True)
class DataSummary:
  """The section `data` of a checkpoint's meta.

  Attributes:
    num_classes: outputs of the classifier.
    label_names: one name for each class, in the order of the outputs; None = the data had no names.
    train_images: number of training images; None for weights that were not trained here.
    eval_images: likewise of the evaluation images.
    multi_label: an image has any number of labels.
  """

  num_classes: int
  label_names: tuple[str, ...] | None = None
  train_images: int | None = None
  eval_images: int | None = None
  multi_label: bool = False

  @classmethod
  def of(cls, info: DatasetInfo) -> 'DataSummary':
    """The summary of an opened data set."""
    return cls(
      info.num_classes, info.label_names, info.train.num_examples, info.eval.num_examples,
      info.multi_label,
    )

  def to_json(self) -> dict[str, Any]:
    """As a JSON object; `from_json` reads it."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, section: Any) -> 'DataSummary | None':
    """Reads a section; None for None, as a checkpoint without the section has.

    Raises:
      UserError: the section is of another form.
    """
    if section is None:
      return None
    fields = [field.name for field in dataclasses.fields(cls)]
    try:
      names, classes = section['label_names'], section['num_classes']
      found = cls(**{key: section[key] for key in fields if key in section})
      if names is None:
        return found
      if len(names) == classes and all(isinstance(name, str) for name in names):
        return dataclasses.replace(found, label_names=tuple(names))
    except (KeyError, TypeError):
      pass
    raise UserError("the checkpoint's section 'data' is damaged: it lacks one name for each class.")
