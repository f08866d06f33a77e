"""What the commands share: find the application, report an error in one sentence, print a table or JSON, show progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

import click
from flask.cli import NoAppException, ScriptInfo

from ..exceptions import ChatBotKitAuthError
from ..state import current_auth

T = TypeVar("T")

_EVERY = 50

json_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for machines."
)


def with_app(command: Callable[..., None]) -> Callable[..., None]:
    """Run a command in the context of its application. An expected error is printed as one sentence, with exit status 1."""

    @click.pass_context
    @wraps(command)
    def run(context: click.Context, *args: Any, **options: Any) -> None:
        try:
            with context.ensure_object(ScriptInfo).load_app().app_context():
                require_auth()
                context.invoke(command, *args, **options)
        except NoAppException as error:
            raise click.ClickException(str(error)) from None
        except ChatBotKitAuthError as error:
            raise click.ClickException(str(error)) from None

    return run


def require_auth() -> None:
    """Raise unless the current application has a ``ChatBotKitAuth``.

    :raises click.ClickException: it has none.
    """
    try:
        current_auth.config  # noqa: B018  # the proxy looks for the extension
    except RuntimeError as error:
        raise click.ClickException(str(error)) from None


def print_json(document: object) -> None:
    """Print ``document`` as JSON, indented."""
    click.echo(json.dumps(document, indent=2))


def print_table(rows: Sequence[Mapping[str, object]], nothing: str) -> None:
    """Print rows of the same columns, or the sentence ``nothing`` where there are none."""
    if not rows:
        click.echo(nothing)
        return
    lines = [list(rows[0]), *([plain(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    for line in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def plain(value: object) -> str:
    """Return a value as one printable line. Names from the API may hold escape sequences for the terminal."""
    text = "–" if value is None or value == "" else str(value)
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in text)


def count_of(number: int, thing: str) -> str:
    """Return ``"1 session"`` or ``"2 sessions"``."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


def counted(items: Iterable[T], what: str) -> Iterator[T]:
    """Yield ``items``, and print their number so far on stderr if that is a terminal."""
    watched = _watched()
    for number, item in enumerate(items, 1):
        if watched and number % _EVERY == 0:
            click.echo(f"\r{number} {what} …", err=True, nl=False)
        yield item
    if watched:
        click.echo("\r\x1b[K", err=True, nl=False)


def _watched() -> bool:
    return sys.stderr.isatty()
