"""The command ``events``: prints the audit trail, the newest event last."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from ..events import KINDS, Trail
from ..identifier import normalize_identifier
from ..state import current_auth
from ..stores.events import Event
from .terminal import plain, print_json, print_table

PAUSE = 2.0
"""Seconds between two queries of ``--follow``."""

_OVERLAP = timedelta(seconds=5)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def show(
    *,
    user: str | None,
    email: str | None,
    kind: str | None,
    since: str | None,
    limit: int,
    as_json: bool,
    follow: bool,
) -> None:
    """Print events.

    :raises click.ClickException: the application keeps no events, or an option cannot be parsed.
    """
    trail: Trail | None = current_auth.trail
    if trail is None:
        raise click.ClickException(
            "No events are kept. Set CHATBOTKIT_AUTH_EVENTS to true, and restart the application."
        )
    if kind is not None and kind not in KINDS:
        raise click.ClickException(f"There is no kind {kind!r}. There are {', '.join(KINDS)}.")
    if user is not None and "@" in user:
        raise click.ClickException(f"--user {plain(user)}: give the id of an account, or the address as --email.")
    now = current_auth.clock()
    wanted: dict[str, Any] = {"user_id": user, "kind": kind, "since": _time(since, now) if since else None}
    if email is not None:
        wanted["identifier"] = normalize_identifier(email, special_domains=True)
    events = trail.find(**wanted, limit=limit)[::-1]
    if follow:
        _follow(trail, wanted, events, as_json)
    elif as_json:
        print_json([_document(each) for each in events])
    else:
        print_table([_row(each) for each in events], "Nothing has happened, as far as is known here.")


def _follow(trail: Trail, wanted: dict[str, Any], events: list[Event], as_json: bool) -> None:
    seen: dict[str, datetime] = {}
    line: Callable[[Event], str] = _json_line if as_json else _line
    while True:
        for each in events:
            if each.id not in seen:
                click.echo(line(each))
                seen[each.id] = each.at
        # Another worker's clock may be slow, so that its events arrive with an earlier time.
        since = max(seen.values(), default=current_auth.clock()) - _OVERLAP
        seen = {id: at for id, at in seen.items() if at >= since}
        try:
            time.sleep(PAUSE)
        except KeyboardInterrupt:
            return
        events = trail.find(**{**wanted, "since": since}, limit=1000)[::-1]


def _time(text: str, now: datetime) -> datetime:
    found = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    try:
        if found:
            return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
        moment = datetime.fromisoformat(text.strip())
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise click.ClickException(
            f"--since {text}: give a span such as 90m, 12h or 7d, or a date such as 2026-01-31."
        ) from None


def _row(event: Event) -> dict[str, object]:
    return {
        "time": event.at.strftime("%Y-%m-%d %H:%M:%S"),
        "kind": event.kind,
        "outcome": event.outcome,
        "user": event.user_id,
        "address": event.address,
        "ip": event.ip,
        "device": event.device,
        "detail": " ".join(
            [*([str(event.method)] if event.method else []), *(f"{key}={value}" for key, value in event.detail.items())]
        ),
    }


def _line(event: Event) -> str:
    return "  ".join(plain(value) for value in _row(event).values())


def _json_line(event: Event) -> str:
    return json.dumps(_document(event))


def _document(event: Event) -> dict[str, Any]:
    document = {key: value for key, value in vars(event).items() if key != "address_key"}
    return {**document, "at": event.at.isoformat(), "detail": dict(event.detail)}
