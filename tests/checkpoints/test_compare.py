"""A checkpoint of other arrays is refused in one line."""

import numpy as np
import pytest

from ecanet_jax.checkpoints.compare import check_same
from ecanet_jax.runtime.errors import UserError


def test_equal_arrays_pass():
  check_same('runs/1', 'variables', {'a': np.zeros(3)}, {'a': np.ones(3)})


def test_names_shapes_and_types_are_compared():
  saved = {'params': {'a': np.zeros(3, np.float32), 'b': np.zeros(2), 'old': np.zeros(1)}}
  wanted = {'params': {'a': np.zeros(4, np.float32), 'b': np.zeros(2), 'new': [np.zeros(1)]}}
  with pytest.raises(UserError) as error:
    check_same('runs/1', 'variables', saved, wanted)
  assert str(error.value) == (
    'runs/1 is a checkpoint of another network or optimizer (variables): 1 missing '
    '(params/new/0); 1 unexpected (params/old); 1 wrong in shape or type (params/a float32[3] '
    'instead of float32[4]). Train with its config, or give another --workdir.'
  )
