"""How the documentation is built. What can be read off the code is generated from it, and never typed by hand.

A line ``.. generated:: name`` in a page is replaced by what the function of that name below returns. Nothing here imports
Sphinx, so that a test can call the functions without it.
"""

from __future__ import annotations

import ast
import configparser
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import timedelta
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from flask import Flask
from flask_login import COOKIE_NAME as REMEMBER_COOKIE

import flask_chatbotkit_auth
from flask_chatbotkit_auth import ChatBotKitAuthError
from flask_chatbotkit_auth.cli import cli
from flask_chatbotkit_auth.config import DEFAULT_RATE_LIMITS, Config
from flask_chatbotkit_auth.devices import _NAME as DEVICE_COOKIE
from flask_chatbotkit_auth.stores.base import MAX_CODES
from flask_chatbotkit_auth.web.openapi.errors import ERRORS

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
rst_prolog = "".join(f".. role:: {name}(literal)\n" for name in ("error", "log", "said", "test"))

autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
autodoc_typehints = "signature"

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_js_files = ["docs.js"]
html_search_scorer = str(Path(__file__).with_name("scorer.js"))
html_title = f"{project} {release}"
html_show_sphinx = False
html_show_copyright = False
html_copy_source = False
html_theme_options = {"navigation_with_keys": True}


def setup(app: Sphinx) -> None:
    app.connect("source-read", _fill_in)


def _fill_in(_app: Sphinx, docname: str, source: list[str]) -> None:
    if docname == "security":
        # What is for auditors has a page of its own, proof.rst, which includes it from there.
        source[0] = source[0].partition("\n.. for-auditors\n")[0] + "\n"
    source[0] = re.sub(r"^\.\. generated:: (\w+)$", lambda match: GENERATED[match[1]](), source[0], flags=re.MULTILINE)


GROUPS: dict[str, str] = {
    "The ChatBotKit API": r"API_(?!.*AUTH)",
    "Accounts and registration": r"AUTH_(ADAPTER|AUTO_|UNKNOWN_USER|SPECIAL_DOMAINS|EMAIL_CHANGE)",
    "Codes and rate limits": r"AUTH_(CODE_|RESEND_|RATE_)",
    "Store": r"AUTH_STORE_",
    "Sessions and devices": r"AUTH_(SESSION|AUDIENCE|FRESH|USER_|DEVICE_|REMEMBER_)",
    "Pages, redirects and the JSON API": (r"AUTH_(URL_PREFIX|SIGN_|ORIGIN|TRUSTED|CONTENT|SITE|LOGO|PROFILE|OPENAPI)"),
    "Email": r"AUTH_(MAIL_(?!LINK)|NOTICES)",
    "Passkeys": r"AUTH_PASSKEY",
    "More ways to sign in, and records": r"",
}
"""The sections of the configuration reference: a key belongs to the first whose pattern it matches."""


def configuration() -> str:
    """Return the settings, read off :class:`Config`: a table of all, then each with what it does, an example, its uses."""
    groups: dict[str, list[Any]] = {name: [] for name in GROUPS}
    for each in fields(Config):
        name = each.metadata["key"].removeprefix("CHATBOTKIT_")
        groups[next(title for title, pattern in GROUPS.items() if re.match(pattern, name))].append(each)
    rows = [
        [f":confval:`{each.metadata['key']}`", _type(each), _default(getattr(Config(), each.name), each.name)]
        for group in groups.values()
        for each in group
    ]
    parts = ["All keys", "~~~~~~~~", "", _table(["Key", "Type", "Default"], rows, widths="52 18 30")]
    for title, group in groups.items():
        if group:
            parts += [title, "~" * len(title), "", *(_setting(each) for each in group)]
    return "\n".join(parts)


def _setting(each: Any) -> str:
    key, doc, default = each.metadata["key"], each.metadata["doc"], getattr(Config(), each.name)
    shown = re.sub(r"see :ref:.+", "see above", _default(default, each.name))  # a link is no part of an option
    lines = [f".. confval:: {key}", f"   :type: {_type(each)}", f"   :default: {shown}", ""]
    lines += [f"   {doc}", "", "   .. code-block:: python", "", f"      {key} = {_example(each)}", ""]
    pages = [f":doc:`{page}`" for page in _pages_about(key)]
    if pages:
        lines += [f"   Used in: {', '.join(pages)}.", ""]
    return "\n".join(lines)


def _type(each: Any) -> str:
    names = {"Mapping": "dict", "timedelta": "seconds or timedelta", "float": "seconds", "tuple": "list", "str": "text"}
    kind = re.split(r"[\[ ]", str(each.type))[0]
    return names.get(kind, kind)


def _example(each: Any) -> str:
    default = getattr(Config(), each.name)
    if isinstance(default, timedelta):
        default = int(default.total_seconds())
    return each.metadata.get("example") or repr(not default if isinstance(default, bool) else default)


def _pages_about(key: str) -> list[str]:
    """Return the pages, beside the reference itself, that name the key."""
    generated = {"changelog", "configuration", "contributing", "troubleshooting", "moving"}
    pages = (path for path in sorted((ROOT / "docs").glob("*.rst")) if path.stem not in generated)
    named = [path.stem for path in pages if re.search(rf"\b{key}\b", path.read_text(encoding="utf-8"))]
    return [name for name in named if name != "sessions-table"][:5]


DEFAULTS = {
    "api_secret": "*required*",
    "store_url": "SQLite file",
    "rate_limit_storage_uri": "the store",
    "special_domains": "debug only",
    "sign_in_redirect": "``/`` or the account page",
    "sign_out_redirect": "sign-in page",
    "audience": "``app.name``",
    "site_name": "name of the app",
    "passkey_rp_id": "host of the origin",
    "mail_sender": "``MAIL_DEFAULT_SENDER``",
    "mail_reply_to": "the sender",
    "rate_limits": "see :ref:`limits`",
    "content_security_policy": "see :ref:`csp`",
}
"""What stands in the column of defaults where the value itself would not fit or not help."""


def _default(value: object, name: str = "") -> str:
    if name in DEFAULTS:
        return DEFAULTS[name]
    if value is None:
        return "none"
    if isinstance(value, timedelta):
        seconds = int(value.total_seconds())
        return f"``{seconds}``" + (f" ({_in_words(value)})" if seconds > 60 else "")
    if value == ():
        return "``[]``"
    if isinstance(value, str):
        return f'``"{value}"``'
    return f"``{value:g}``" if isinstance(value, float) else f"``{value}``"


def limits() -> str:
    """Return the table of default rate limits."""
    return _table(
        ["Limit", "Default"], [[f"``{name}``", f"``{limit}``"] for name, limit in DEFAULT_RATE_LIMITS.items()]
    )


def policy() -> str:
    """Return the default Content-Security-Policy, a line for each directive."""
    directives = (Config().content_security_policy or "").split("; ")
    return "\n".join(["::", "", *(f"   {each};" for each in directives), ""])


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


MESSAGES = {
    "Settings (ConfigurationError)": ("ConfigurationError",),
    "The store (StoreError)": ("StoreError", "cure"),
    "Email (MailError)": ("MailError",),
    "The ChatBotKit API (APIError)": ("APIError", "APIConnectionError", "APITimeout"),
    "Wrong use (RuntimeError, TypeError, ValueError, LookupError)": (
        *("RuntimeError", "TypeError", "ValueError", "LookupError"),
    ),
    "Commands": ("ClickException", "NotLoaded"),
    "What doctor says": ("failure", "warning"),
    "Chat (InvalidMessages)": ("InvalidMessages",),
    "Why a sign-in was refused, in the log": (
        *("InvalidEmail", "NoChallenge", "NotReady", "InvalidPasskey", "refusal"),
    ),
    "In the log": ("log",),
}
"""The groups of messages: each with the exceptions, calls and tables that hold them."""
RETURNED = {"mail/smtp.py": "MailError", "upstream/transport.py": "APIError", "upstream/errors.py": "APIError"}
"""Files whose functions return the text of an exception, and which."""
WRONG = (object(), -1, "", "…", "\n", (), ("…",), ("_user_id",), {"…": "…"})
"""What no setting takes, between them: the errors of the settings are read off by giving these to each."""


def messages() -> str:
    """Return every message for developers and operators, read off the code, with ``…`` for what it fills in."""
    found: dict[str, set[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        place = path.relative_to(PACKAGE).as_posix()
        if not place.startswith(("testing/", "web/openapi/")):
            for kind, text in _messages(ast.parse(path.read_text(encoding="utf-8")), place):
                if len(text.replace("…", "").split()) > 3:
                    found.setdefault(kind, set()).add(text)
    parts = []
    for title, kinds in MESSAGES.items():
        texts = sorted({text for kind in kinds for text in found.get(kind, ())}, key=str.lower)
        parts += [title, "~" * len(title), "", *(f"- {_literal(text)}" for text in texts)]
        parts += [*_wrong_values(), ""] if "ConfigurationError" in kinds else [""]
    return "\n".join(parts)


def _wrong_values() -> Iterator[str]:
    """Yield what each setting answers to a wrong value, with the keys that answer it."""
    keys: dict[str, list[str]] = {}
    for each in fields(Config):
        for value in WRONG:
            try:
                each.metadata["parse"](value)
            except ValueError as error:
                named = keys.setdefault(str(error).replace("'…'", "…").replace("_user_id", "…"), [])
                if each.metadata["key"] not in named:
                    named.append(each.metadata["key"])
    for cure, named in sorted(keys.items()):
        yield f"- {_literal(f'… is …: {cure}.')} This is about {', '.join(f':confval:`{key}`' for key in named)}."


def _messages(tree: ast.Module, place: str) -> Iterator[tuple[str, str]]:
    constants = {
        target.id: _text(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    returned = RETURNED.get(place, "")
    for text in constants.values():
        yield returned, text
    for node in ast.walk(tree):
        if isinstance(node, ast.Return) and node.value:
            yield returned, _text(node.value)
        elif isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if ast.unparse(node.func).startswith("_log."):
                name = "log"
            if name == "ValueError" and place.startswith("config/"):
                continue
            if name == "__init__" and place == "exceptions.py":
                name = "APIError" if "ChatBotKit API" in ast.unparse(node) else "refusal"
            for each in node.args[:1]:
                yield name, constants.get(each.id, "") if isinstance(each, ast.Name) else _text(each)
        elif isinstance(node, ast.Tuple) and node.elts:
            first, last = node.elts[0], node.elts[-1]
            if place.startswith("cli/doctor/") and isinstance(first, ast.Constant | ast.IfExp):
                yield getattr(first, "value", "warning"), _text(last)
            elif place in ("stores/sql_errors.py", "stores/redis_connect.py") and isinstance(
                first, ast.Tuple | ast.Set
            ):
                yield "cure", _text(last)


def _text(node: ast.expr) -> str:
    """Return the text that an expression makes, with ``…`` for what is not known before it runs."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(re.sub(r"%(\(\w+\))?[sr]", "…", node.value).split())
    if isinstance(node, ast.JoinedStr):
        return " ".join(
            "".join(
                str(getattr(each, "value", "")) if isinstance(each, ast.Constant) else "…" for each in node.values
            ).split()
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _text(node.left) + _text(node.right)
    if isinstance(node, ast.BoolOp):
        return _text(node.values[-1])
    return ""


def _literal(text: str) -> str:
    return "``" + text.replace("``", "'").replace("`", "'") + "``"


def errors() -> str:
    """Return the table of error codes, read off the one that the OpenAPI document is made of, and the exceptions."""
    rows = []
    for code, error in ERRORS.items():
        kinds = [each for each in _kinds(ChatBotKitAuthError) if each.error_code == code]
        named = code.title().replace("_", "")  # where a base has the code, the class of that name is what is raised
        kinds = [each for each in kinds if each.__name__ == named] or [
            each for each in kinds if "error_code" in vars(each)
        ]
        raised = ", ".join(f":exc:`~flask_chatbotkit_auth.exceptions.{each.__name__}`" for each in kinds)
        more = f" Carries ``{error.detail}``." if error.detail else ""
        rows.append(
            [
                f".. _error-{code.replace('_', '-')}:\n\n:error:`{code}`",
                str(error.status),
                f"{error.cure}{more}",
                raised or "–",
            ]
        )
    return _table(["Code", "Status", "What a client does", "Exception"], rows, widths="26 10 40 24")


def _kinds(kind: type[ChatBotKitAuthError]) -> Iterator[type[ChatBotKitAuthError]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)


def hooks() -> str:
    """Return the table of hooks: the methods of the extension that register one, each with its first sentences."""
    tree = ast.parse((PACKAGE / "extension.py").read_text(encoding="utf-8"))
    rows = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and [each.arg for each in node.args.args] == ["self", "callback"]:
            first = (ast.get_docstring(node) or "").partition("\n\n")[0]
            link = f":meth:`@auth.{node.name} <flask_chatbotkit_auth.ChatBotKitAuth.{node.name}>`"
            rows.append([link, " ".join(first.split())])
    return _table(["Hook", "What it does"], rows, widths="38 62")


def cookies() -> str:
    """Return the table of cookies, with their names as the code has them."""
    session = Flask.default_config["SESSION_COOKIE_NAME"]
    days = Config().device_lifetime.days
    rows = [
        [
            f"``{session}``",
            "``SESSION_COOKIE_NAME``",
            "Flask's session: the sign-in under way, the CSRF secret, the token of the session",
            "until the browser closes, or as ``PERMANENT_SESSION_LIFETIME`` says",
        ],
        [
            f"``{REMEMBER_COOKIE}``",
            "``REMEMBER_COOKIE_NAME``",
            "The same token. It keeps people signed in after the browser closes (remember me)",
            "the session's own lifetime",
        ],
        [
            f"``{DEVICE_COOKIE}``",
            "–",
            "Marks a browser that somebody signed in from before. It signs nobody in",
            f"{days} days (``CHATBOTKIT_AUTH_DEVICE_LIFETIME``)",
        ],
    ]
    return _table(["Cookie", "Renamed by", "Holds", "Lasts"], rows, widths="24 22 34 20")


def requirements() -> str:
    """Return the table of dependencies with their lower bounds and the reason for each, read off pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    block = text[text.index("dependencies = [") :]
    rows = []
    for requirement, why in re.findall(r'^    "(.+?)",(?:  # (.+))?$', block[: block.index("\n]")], re.MULTILINE):
        name, bound = re.fullmatch(r"([\w-]+)(.*)", requirement).groups()  # type: ignore[union-attr]
        rows.append([name, f"``{bound}``", f"fixes {why}" if why.startswith("CVE") else why or "–"])
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    for extra in ("postgresql", "mysql", "redis", "babel", "passkeys"):
        for requirement in extras[extra]:
            name, bound = re.fullmatch(r"([\w-]+(?:\[\w+\])?)(.*)", requirement).groups()  # type: ignore[union-attr]
            rows.append([name, f"``{bound}``", f"only with the extra ``[{extra}]``"])
    return _table(["Package", "Lowest version", "Why"], rows, widths="28 24 48")


def signals() -> str:
    """Return the table of signals, read off their own sentences."""
    source = (PACKAGE / "signals.py").read_text(encoding="utf-8")
    found = re.findall(r'^(\w+): NamedSignal = _signals\.[^\n]+\n"""(.+?)"""$', source, re.MULTILINE | re.DOTALL)
    return _table(["Signal", "Says"], [[f"``{name}``", " ".join(text.split())] for name, text in found])


def signal_objects() -> str:
    """Return an entry of the API for each signal."""
    source = (PACKAGE / "signals.py").read_text(encoding="utf-8")
    names = re.findall(r"^(\w+): NamedSignal = ", source, re.MULTILINE)
    return "\n".join(f".. autodata:: flask_chatbotkit_auth.signals.{name}\n   :no-value:\n" for name in names)


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
    "cookies": cookies,
    "errors": errors,
    "guesses": guesses,
    "hooks": hooks,
    "layers": layers,
    "limits": limits,
    "messages": messages,
    "policy": policy,
    "properties": properties,
    "reporting": reporting,
    "requirements": requirements,
    "signal_objects": signal_objects,
    "signals": signals,
    "tree": tree,
}
