"""How the documentation is built. What can be read off the code is generated from it, and never typed by hand.

A line ``.. generated:: name`` in a page is replaced by what the function of that name below returns. Nothing here imports
Sphinx, so that a test can call the functions without it.
"""

from __future__ import annotations

import ast
import configparser
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from datetime import timedelta
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING

import click

import flask_chatbotkit_auth
from flask_chatbotkit_auth.cli import cli
from flask_chatbotkit_auth.config import Config
from flask_chatbotkit_auth.stores.base import MAX_CODES

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.guesses import bounds  # noqa: E402  # found beside this folder, installed nowhere

PACKAGE = Path(flask_chatbotkit_auth.__file__).parent

project = "flask-chatbotkit-auth"
author = "The flask-chatbotkit-auth maintainers"
project_copyright = author
release = version = installed_version(project)

extensions = ["sphinx.ext.autodoc"]
exclude_patterns = ["_build", "sessions-table.rst"]
language = "en"
smartquotes = False
maximum_signature_line_length = 88
# What these roles name, an error code, a line of the log or a test, tests/docs/test_docs.py looks for.
rst_prolog = "".join(f".. role:: {name}(literal)\n" for name in ("error", "log", "test"))

autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_typehints = "signature"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
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
    head = ["In", "wrong codes compared, at most", "chance, one code alive", f"chance, {MAX_CODES} alive"]
    return _table(head, bounds())


def layers() -> str:
    """Return the layers, the highest first, read off the contract that CI holds."""
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    lines = [line.strip() for line in parser["importlinter:contract:layers"]["layers"].split("\n") if line.strip()]
    return "\n".join([".. code-block:: text", "", *(f"   {line}" for line in lines), ""])


def tree() -> str:
    """Return the folders and files of the package, each with the first sentence of its docstring."""
    rows = []
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda each: (len(each.parts) > len(PACKAGE.parts) + 1, each.parts)):
        name = path.relative_to(PACKAGE).as_posix()
        if path.name == "__init__.py":
            name = f"{path.parent.relative_to(PACKAGE).as_posix()}/" if path.parent != PACKAGE else ""
        if name:
            rows.append([f"``{name}``", _story(path)])
    return _table(["File", "What is in it"], rows, widths="32 68")


def _story(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return docstring.partition("\n\n")[0]


def properties() -> str:
    """Return the table of custom properties, read off the top of auth.css."""
    sheet = (PACKAGE / "static" / "auth.css").read_text(encoding="utf-8")
    first = sheet[sheet.index(":where(:root) {") : sheet.index("@supports")]
    found = re.findall(r"^  (--auth-[\w-]+): (.+?);(?: +/\* (.+?) \*/)?$", first, re.MULTILINE)
    rows = [[f"``{name}``", _shortened(value), note] for name, value, note in found]
    return _table(["Property", "Default, in light colours", "For"], rows)


def _shortened(value: str) -> str:
    return f"``{value}``" if len(value) < 30 else f"``{value[: value.index(',')]}``, …"


def blocks() -> str:
    """Return the table of the layout's blocks, read off the comment at its top."""
    layout = (PACKAGE / "templates" / "chatbotkit_auth" / "layout.html").read_text(encoding="utf-8")
    found = re.findall(r"^      (\w+)  +(.+)$", layout[: layout.index("-#}")], re.MULTILINE)
    return _table(
        ["Block", "Holds"], [[f"``{name}``", re.sub(r"data-[^;]+\"", r"``\g<0>``", text)] for name, text in found]
    )


def commands() -> str:
    """Return the table of commands, read off the command line itself."""
    return _table(["``flask chatbotkit-auth …``", "Does"], list(_commands(cli, "")))


def _commands(group: click.Group, prefix: str) -> Iterator[list[str]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from _commands(command, f"{prefix}{name} ")
            continue
        arguments = [
            each.metavar or str(each.name).upper() for each in command.params if isinstance(each, click.Argument)
        ]
        options = [f"``{each.opts[0]}``" for each in command.params if each.param_type_name == "option"]
        sentence = (command.help or "").partition("\n\n")[0]
        yield [f"``{' '.join([prefix + name, *arguments])}``", f"{sentence} {', '.join(options)}".strip()]


def signals() -> str:
    """Return the table of signals, read off their own sentences."""
    source = (PACKAGE / "signals.py").read_text(encoding="utf-8")
    found = re.findall(r'^(\w+): NamedSignal = _signals\.[^\n]+\n"""(.+?)"""$', source, re.MULTILINE | re.DOTALL)
    return _table(["Signal", "Says"], [[f"``{name}``", " ".join(text.split())] for name, text in found])


def changelog() -> str:
    """Return CHANGELOG.md as reStructuredText."""
    return _restructured("CHANGELOG.md")


def contributing() -> str:
    """Return CONTRIBUTING.md as reStructuredText."""
    return _restructured("CONTRIBUTING.md")


def reporting() -> str:
    """Return SECURITY.md as reStructuredText, without its title."""
    return _restructured("SECURITY.md").partition("===\n")[2]


def _restructured(name: str) -> str:
    """Return a Markdown file of ours as reStructuredText; it uses headings, paragraphs, lists, code, links and bold."""
    lines: list[str] = []
    fenced = False
    for line in (ROOT / name).read_text(encoding="utf-8").splitlines():
        heading = re.match(r"(#+) (.+)", line)
        if line.startswith("```"):
            fenced = not fenced
            lines += ["", f".. code-block:: {line[3:]}", ""] if fenced else [""]
        elif fenced:
            lines.append(f"   {line}")
        elif heading:
            title = heading[2].strip("[]").replace("] - ", " – ")
            lines += ["", title, "=-~"[len(heading[1]) - 1] * len(title), ""]
        else:
            line = re.sub(r"`([^`]+)`", r"``\1``", line)
            lines.append(re.sub(r"\[([^\]]+)\]\((\S+?)\)", r"`\1 <\2>`__", line))
    return "\n".join(lines) + "\n"


def _table(head: list[str], rows: list[list[str]], widths: str = "auto") -> str:
    lines = [".. list-table::", "   :header-rows: 1", f"   :widths: {widths}", ""]
    for row in [head, *rows]:
        for position, cell in enumerate(row):
            indented = cell.replace("\n", "\n       ")
            lines.append(f"   {'* -' if position == 0 else '  -'} {indented}")
    return "\n".join(lines) + "\n"


GENERATED: dict[str, Callable[[], str]] = {
    "blocks": blocks,
    "changelog": changelog,
    "commands": commands,
    "configuration": configuration,
    "contributing": contributing,
    "guesses": guesses,
    "layers": layers,
    "properties": properties,
    "reporting": reporting,
    "signals": signals,
    "tree": tree,
}
