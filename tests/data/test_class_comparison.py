"""Other classes than those of the weights are refused, with what differs."""

import pytest

from ecanet_jax.data.class_comparison import check_classes
from ecanet_jax.data.label_names import imagenet_wnids, published
from ecanet_jax.runtime.errors import UserError


def check(theirs, ours, accept=False):
  check_classes('runs/x', theirs, ours, accept=accept, otherwise='So.')


@pytest.mark.parametrize(('theirs', 'ours', 'said'), [
  ('ant bee cat', 'ant bee cow',
   "class 2 is 'cat' there and 'cow' in the data; gone: 'cat'; new: 'cow'."),
  ('ant bee cat', 'bee ant cat',
   "class 0 is 'ant' there and 'bee' in the data, 2 of 3 differ; the same names in another order."),
  ('ant bee cat', 'ant bee',
   "3 classes there and 2 in the data; gone: 'cat'."),
  ('ant bee cat', 'aal ant bee cat',
   "3 classes there and 4 in the data; class 0 is 'ant' there and 'aal' in the data, 3 of 3 differ;"
   " new: 'aal'."),
  ('a b c d e f g', 'h i j k l m n',
   "class 0 is 'a' there and 'h' in the data, 7 of 7 differ; gone: 'a', 'b', 'c', 'd', 'e' and 2 "
   "more; new: 'h', 'i', 'j', 'k', 'l' and 2 more."),
])
def test_refused(theirs, ours, said, caplog):
  theirs, ours = theirs.split(), tuple(ours.split())
  text = f'runs/x was trained with other classes than the data have: {said}'
  with pytest.raises(UserError) as error:
    check(theirs, ours)
  if len(theirs) == len(ours):
    accept = 'If they mean the same, add --config.data.accept_changes=True. '
    assert str(error.value) == f'{text} {accept}So.'
    check(theirs, ours, accept=True)
    assert caplog.messages == [f'{text} data.accept_changes=True accepts that.']
  else:
    assert str(error.value) == f'{text} So.'
    with pytest.raises(UserError):
      check(theirs, ours, accept=True)


def test_allowed(caplog):
  check(['ant', 'bee'], ('ant', 'bee'))
  check(None, ('ant', 'bee'))
  check(['ant', 'bee'], None)
  check(imagenet_wnids(), published('imagenet_1k'))
  check(list(published('imagenet_1k')), imagenet_wnids())
  assert not caplog.messages
  with pytest.raises(UserError, match="class 1 is 'n01443537' there and 'x' in the data; gone"):
    check(imagenet_wnids(), (imagenet_wnids()[0], 'x', *imagenet_wnids()[2:]))
