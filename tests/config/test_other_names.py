"""What the keys of other training programs are called here."""

import pytest

from ecanet_jax.config import schema
from ecanet_jax.config.other_names import FLAGS, KEYS, NOT_NEEDED, advice

KNOWN = [key.name for key in schema.KEYS]


def test_tables_name_keys_that_exist():
  assert set(KEYS.values()) <= set(KNOWN)
  assert not set(KEYS) & set(KNOWN)
  assert not set(KEYS) & (set(FLAGS) | set(NOT_NEEDED))


@pytest.mark.parametrize(('key', 'text'), [
  ('learning_rate', " Did you mean 'schedule.lr'?"),
  ('optimizer.learning_rate', " Did you mean 'schedule.lr'?"),
  ('data.img-size', " Did you mean 'data.image_size'?"),
  ('model.drop_rate', " Did you mean 'model.dropout'?"),
  ('clip_grad', " Did you mean 'optimizer.clip_norm'?"),
  ('aa', " Did you mean 'augment.policy'?"),
  ('weight_decay', " Did you mean 'optimizer.weight_decay'?"),
  ('warmup', " Did you mean 'schedule.warmup_epochs'?"),
  ('model.attention.gama', " Did you mean 'model.attention.gamma'?"),
  ('label_smothing', " Did you mean 'loss.label_smoothing'?"),
  ('workdir', ' It is a flag of train: --workdir=VALUE.'),
  ('resume', ' The same command of train, with the same --workdir, resumes.'),
  ('zzz', ''),
])
def test_advice(key, text):
  assert advice(key, KNOWN) == text
