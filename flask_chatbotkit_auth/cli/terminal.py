"""What the commands share: find the application, report an error in one sentence, print a table or JSON, show progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import wraps
from typing import Any, TypeVar

import click
from flask import Flask
from flask.cli import NoAppException, ScriptInfo

from ..exceptions import APIError, ChatBotKitAuthError
from ..state import current_auth

T = TypeVar("T")

_EVERY = 50

json_option: Callable[[Callable[..., None]], Callable[..., None]] = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON, for machines."
)

limit_type: click.IntRange = click.IntRange(1, 1_000_000)
"""The type of ``--limit``. A larger number would not fit into every database's integer."""


class NotLoaded(click.ClickException):
    """The application's own code raises an exception while it is loaded."""


def load_app(context: click.Context) -> Flask:
    """Return the application that Flask's command line names.

    :raises ConfigurationError: one of its settings is wrong.
    :raises NotLoaded: its own code raises an exception.
    :raises click.ClickException: there is none.
    """
    try:
        return context.ensure_object(ScriptInfo).load_app()
    except ChatBotKitAuthError:
        raise
    except NoAppException as error:
        # Flask puts the traceback of an application that cannot be imported into the sentence.
        reason, _, traceback = str(error).partition("Traceback (most recent call last)")
        if not traceback:
            raise click.ClickException(reason) from None
        last = traceback.strip().splitlines()[-1]
        raise NotLoaded(f"{reason.strip()} {last}. `flask run` shows where.") from None
    except Exception as error:  # noqa: BLE001  # the application's own code can raise anything
        name = type(error).__name__
        raise NotLoaded(f"The application cannot be loaded: {name}: {error}. `flask run` shows where.") from None


def with_app(command: Callable[..., None]) -> Callable[..., None]:
    """Run a command in the context of its application. An expected error is printed as one sentence, with exit status 1."""

    @click.pass_context
    @wraps(command)
    def run(context: click.Context, *args: Any, **options: Any) -> None:
        _require_text(options.values())
        try:
            with load_app(context).app_context():
                require_auth()
                context.invoke(command, *args, **options)
        except APIError as error:
            raise click.ClickException(f"{error}. `flask chatbotkit-auth doctor` says what to do.") from None
        except ChatBotKitAuthError as error:
            raise click.ClickException(str(error)) from None

    return run


def _require_text(values: Iterable[object]) -> None:
    """Raise if an argument has bytes that Python could not decode. No database or API accepts them.

    :raises click.ClickException: one has.
    """
    for value in values:
        for each in value if isinstance(value, tuple) else (value,):
            if isinstance(each, str) and any("\ud800" <= letter <= "\udfff" for letter in each):
                raise click.ClickException(f"{plain(each)} is not UTF-8. Set LC_ALL=C.UTF-8, and type it again.")


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
