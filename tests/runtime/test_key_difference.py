"""The difference of two sets of named arrays is counted and named from both sides."""

import pytest

from ecanet_jax.runtime.errors import UserError
from ecanet_jax.runtime.key_difference import check_keys, key_difference


def test_equal_sets_have_no_difference():
  assert key_difference({'a': (1, 2)}, {'a': (1, 2)}) == ''
  check_keys({'a': (1, 2)}, {'a': (1, 2)}, 'the file does not fit', hint=pytest.fail)


def test_every_kind_is_counted_and_the_first_names_are_listed():
  expected = {'a': (1,), 'b': (2,), 'c': (3,), 'd': (4,), 'e': (5,)}
  assert key_difference(expected, {'e': (6,), 'x': (7,)}) == (
    '4 missing (a, b, c, and 1 more); 1 unexpected (x); '
    '1 wrong in shape (e (6,) instead of (5,))'
  )
  assert key_difference({'a': 'int8[2]'}, {'a': 'int4[2]'}, 'type') == (
    '1 wrong in type (a int4[2] instead of int8[2])'
  )


def test_the_message_ends_with_the_hint():
  with pytest.raises(UserError) as error:
    check_keys({'a': (1,)}, {}, 'the file does not fit', hint=lambda: 'It is empty.')
  assert str(error.value) == (
    'the file does not fit the network, which has 1 arrays: 1 missing (a). It is empty.'
  )
