"""Fixed answers and operations that a test adds to the sandbox."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from functools import partial
from typing import Any
from urllib.parse import unquote

from .calls import Reply
from .server import Request

Function = Callable[..., Any]


class Extras:
    """The answers and operations that were added. If several match, the newest one is used."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Function]] = []
        self._answers: list[tuple[str, Reply]] = []

    def add_route(self, method: str, path: str, function: Function) -> None:
        """Add an operation. ``{name}`` in the path matches one segment."""
        rest = path.removeprefix("/api/v1").lstrip("/")
        parts = re.split(r"\{\w*\}", rest)
        self._routes.insert(0, (method.upper(), re.compile("([^/]+)".join(map(re.escape, parts))), function))

    def add_answer(self, path_glob: str, document: Any, status: int) -> None:
        """Add an answer for the paths that a glob matches."""
        self._answers.insert(0, (path_glob, Reply(document, status=status)))

    def clear(self) -> None:
        """Remove all answers and operations."""
        self._routes.clear()
        self._answers.clear()

    def route(self, method: str, rest: str) -> Callable[[Request], Reply] | None:
        """Return the function for a request, or None. ``rest`` is the path after ``/api/v1/``."""
        for wanted, pattern, function in list(self._routes):
            match = pattern.fullmatch(rest)
            if match is not None and wanted == method:
                return partial(_reply, function, [unquote(part) for part in match.groups()])
        return None

    def answer(self, path: str) -> Reply | None:
        """Return the answer for a path, or None."""
        return next((reply for glob, reply in list(self._answers) if fnmatchcase(path, glob)), None)


def _reply(function: Function, parts: list[str], request: Request) -> Reply:
    result = function(request, *parts)
    if isinstance(result, tuple):
        document, status = result
        return Reply(document, status=status)
    return Reply({} if result is None else result)
