"""A hook of MkDocs: a link that leaves docs/ becomes the path in the repository.

GitHub shows logs and results, the site does not have them.
"""

import re

OUTSIDE = re.compile(r'(?<!!)\[[^\]]*\]\(\.\./([^)\s]+)\)')


def outside_as_paths(text: str) -> str:
  """Replaces `[words](../path)` by the path."""
  return OUTSIDE.sub(r'`\1`', text)


def on_page_markdown(markdown: str, **_) -> str:
  """Returns the text of a page for the site; MkDocs calls it."""
  return outside_as_paths(markdown)
