"""JSON of others that is nested so deeply that a parser would end at Python's limit of recursion.

The parser raises an exception then, which is harmless. But Python may collect garbage in the middle of it, and finalizers
that run at that depth fail: a connection would not go back to its pool.
"""

from __future__ import annotations

import re

MAX_DEPTH = 400
"""How deep JSON may be nested. Python's limit is 1000, and the calls up to the parser count, too."""

# A bracket, or a text in quotes, up to its end or that of everything. It matches at every quote, so nothing makes it slow.
_PIECE = re.compile(rb'"(?:[^"\\]+|\\.?)*"?|[\[{\]}]', re.DOTALL)


def is_too_deep(text: bytes | bytearray) -> bool:
    """Return whether JSON is nested deeper than :data:`MAX_DEPTH`. Brackets in a text of it do not count."""
    if text.count(b"[") + text.count(b"{") <= MAX_DEPTH:
        return False
    depth = 0
    for piece in _PIECE.finditer(text):
        if piece[0] in (b"[", b"{"):
            depth += 1
            if depth > MAX_DEPTH:
                return True
        elif piece[0] in (b"]", b"}"):
            depth -= 1
    return False
