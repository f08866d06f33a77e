"""What no record of our logger may hold, looked for in all of them, whatever a test is about."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

LOGGER = "flask_chatbotkit_auth"

_SECRETS = {
    "a whole address": re.compile(r"(?<![\w.+'-])[\w.+'-]{1,64}@[\w-]+(?:\.[\w-]+)+"),
    "an API secret": re.compile(r"\bsk-\w+"),
    "a session's token": re.compile(r"\bcb[ak]-[0-9a-f]{32}"),
    "a session's id or a code's digest": re.compile(r"\b[0-9a-f]{64}\b"),
    "a challenge's id": re.compile(r"\b[0-9a-f]{32}\b"),
}


class Leaks(logging.Handler):
    """Notes every record that holds a secret: in its text, in what the text is made of, in the exceptions behind it."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.codes: set[str] = set()
        """Every code that was made so far."""
        self._found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        # The arguments as well: a collector of errors may keep them as they are.
        texts = [record.getMessage(), repr(record.args), *_exceptions(record)]
        self._found += [f"{what} in a record: {text}" for text in texts for what in secrets_in(text, self.codes)]

    def take(self) -> list[str]:
        """Return what was found since the last call."""
        found, self._found = self._found, []
        return found


def secrets_in(text: str, codes: set[str]) -> list[str]:
    """Return which kinds of secrets a text holds.

    :param codes: the codes that were made; as words, since any six digits may be within something else.
    """
    found = [what for what, pattern in _SECRETS.items() if pattern.search(text)]
    return found + ["a code"] * bool(codes.intersection(re.findall(r"\w+", text)))


def _exceptions(record: logging.LogRecord) -> Iterator[str]:
    """Yield the text of the exception of a record, and of each that it was raised from."""
    error = record.exc_info[1] if record.exc_info else None
    while error is not None:
        yield f"{error} {error!r}"
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
