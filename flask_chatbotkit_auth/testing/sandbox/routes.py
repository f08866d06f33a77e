"""Which paths a session token opens, by globs in the syntax of minimatch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

PREFIX = "/api/v1/"


def opens(routes: Iterable[str], path: str) -> bool:
    """Return whether a pattern matches the path, and no pattern that begins with ``!`` excludes it.

    ``*`` stops at ``/``, and ``**`` does not. Without patterns, no path is open. With exclusions only, every other path is
    open. A pattern can begin with the prefix of the hosted API, or with the resource.
    """
    names = (path, path.removeprefix("/api"), path.removeprefix("/api/v1"), path.removeprefix(PREFIX))
    patterns = list(routes)
    excluded = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")] or (["**"] if excluded else [])

    def matches(pattern: str) -> bool:
        return any(_regex(pattern).fullmatch(name) for name in names)

    return any(map(matches, wanted)) and not any(map(matches, excluded))


@lru_cache(maxsize=256)
def _regex(pattern: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/?|\*|\?|\{[^{}]*\})", pattern)
    return re.compile("".join(_translated(part) for part in parts))


def _translated(part: str) -> str:
    if part.startswith("{") and part.endswith("}"):
        return "(?:" + "|".join(re.escape(choice) for choice in part[1:-1].split(",")) + ")"
    return {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(part) or re.escape(part)
