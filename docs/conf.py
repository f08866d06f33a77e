"""How the documentation is built. What can be read off the code is generated from it, and never typed by hand.

A line ``.. generated:: name`` in a page is replaced by what the function of that name below returns. Nothing here imports
Sphinx, so that a test can call the functions without it.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

import limits

from flask_chatbotkit_auth import EmailCodeProvider
from flask_chatbotkit_auth.config import Config
from flask_chatbotkit_auth.stores.base import MAX_CODES

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent

project = "flask-chatbotkit-auth"
author = "The flask-chatbotkit-auth maintainers"
project_copyright = author
release = version = installed_version(project)

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build", "sessions-table.rst"]
language = "en"
smartquotes = False
maximum_signature_line_length = 88
# What stands in ``these`` is code, never a reference; ``:test:`` names a test, which tests/test_docs.py looks for.
rst_prolog = ".. role:: test(literal)\n"

autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_typehints = "signature"

html_theme = "furo"
html_title = f"{project} {release}"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def setup(app: Sphinx) -> None:
    app.connect("source-read", _fill_in)


def _fill_in(_app: Sphinx, _docname: str, source: list[str]) -> None:
    source[0] = re.sub(r"^\.\. generated:: (\w+)$", lambda match: GENERATED[match[1]](), source[0], flags=re.MULTILINE)


def configuration() -> str:
    """Return the table of settings, read off :class:`Config`."""
    rows = []
    for each in fields(Config):
        default = getattr(Config(), each.name)
        shown = "*required*" if each.name == "api_secret" else _default(default)
        rows.append([f"``{each.metadata['key']}``\n\n{each.metadata['doc']}", shown])
    return _table(["Key", "Default"], rows, widths="66 34")


def _default(value: object) -> str:
    if value is None:
        return "–"
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        return f"``{seconds}``" + (f" ({_in_words(value)})" if seconds > 60 else "")
    if isinstance(value, Mapping):
        return " ".join(f"``{name}``: ``{limit}``" for name, limit in value.items())
    if isinstance(value, str):
        return f'``"{value}"``'
    return f"``{value:g}``" if isinstance(value, float) else f"``{value}``"


def _in_words(duration: timedelta) -> str:
    seconds = int(duration.total_seconds())
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length and seconds % length == 0:
            count = seconds // length
            return f"{count} {unit}" + ("s" if count > 1 else "")
    raise ValueError(duration)


def guesses() -> str:
    """Return what somebody who guesses codes gets under the default limits, computed from the defaults."""
    config, provider = Config(), EmailCodeProvider()
    limit = limits.parse(config.rate_limits["verify:email"] or "")
    hour = limit.amount * 3600 // limit.get_expiry()
    possible = len(provider.alphabet) ** provider.length
    rows = []
    for name, count in (
        ("one challenge", config.code_attempts),
        ("one hour", hour),
        ("one hour that straddles two windows", 2 * hour),
        ("one day", 24 * hour),
        ("30 days without a pause", 30 * 24 * hour),
    ):
        one, all_codes = (1 - (1 - codes / possible) ** count for codes in (1, MAX_CODES))
        rows.append([name, f"{count:,}", _one_in(one), _one_in(all_codes)])
    return _table(
        ["In", "wrong codes compared, at most", "chance, one code alive", f"chance, {MAX_CODES} codes alive"], rows
    )


def _one_in(probability: float) -> str:
    return f"1 in {round(1 / probability):,}"


def floors() -> str:
    """Return the picture of the rooms, read off the contract that CI holds."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    layers = parser["importlinter:contract:floors"]["layers"].split("\n")
    lines = ["   ".join(room.strip() for room in layer.split("|")) for layer in layers if layer.strip()]
    width = max(len(line) for line in lines)
    rule = "+" + "-" * (width + 4) + "+"
    drawn = [rule]
    for line in lines:
        drawn += [f"|  {line:<{width}}  |", rule]
    return "\n".join([".. code-block:: text", "", *(f"   {line}" for line in drawn), ""])


def changelog() -> str:
    """Return CHANGELOG.md as reStructuredText: headings, paragraphs, lists, code, links and bold, which is all it uses."""
    return "\n".join(_restructured((ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines())) + "\n"


def _restructured(lines: list[str]) -> Iterator[str]:
    underlines = {1: "=", 2: "-", 3: "~"}
    for line in lines:
        heading = re.match(r"(#+) (.+)", line)
        if heading:
            title = heading[2].strip("[]").replace("] - ", " – ")
            yield from ("", title, underlines[len(heading[1])] * len(title), "")
            continue
        line = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", line)
        yield re.sub(r"\[([^\]]+)\]\((\S+?)\)", r"`\1 <\2>`__", line)


def _table(head: list[str], rows: list[list[str]], widths: str = "auto") -> str:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in [head, *rows]:
        for position, cell in enumerate(row):
            indented = cell.replace("\n", "\n       ")
            lines.append(f"   {'* -' if position == 0 else '  -'} {indented}")
    return "\n".join(lines) + "\n"


GENERATED: dict[str, Callable[[], str]] = {
    "changelog": changelog,
    "configuration": configuration,
    "floors": floors,
    "guesses": guesses,
}
