"""Keys of a config that detectors do not have."""

from ecanet_jax.config.schema import KEYS
from ecanet_jax.config.trees import value_of
from ecanet_jax.runtime.errors import UserError

# They must keep their defaults; otherwise a user would think that they have an effect.
UNUSED = (
  'data.resident', 'data.size_schedule', 'data.crop', 'augment.policy', 'augment.color_jitter',
  'augment.lighting', 'augment.rotation', 'augment.erasing', 'mix.mixup_alpha', 'mix.cutmix_alpha',
  'loss.class_weights', 'loss.balanced', 'distill.weights', 'export',
)


def check_unused(config) -> None:
  """Raises UserError for a key that has no effect on detectors and is not its default."""
  defaults = {key.name: key.default for key in KEYS}
  for name in UNUSED:
    value = value_of(config, name)
    if value != defaults[name]:
      raise UserError(
        f'{name}={value!r} has no effect on a detector: set it to its default, '
        f'--config.{name}={defaults[name]!r}.'
      )
