"""``python -m benchmarks.sums``: what so many people cost: calls of the API, statements, rows and bytes.

Counted on a real sign-in, on SQLite, and multiplied. No time is measured, so that it gives the same on every machine.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from flask import Flask

from flask_chatbotkit_auth import ChatBotKitAuth
from flask_chatbotkit_auth.config import Config
from flask_chatbotkit_auth.testing import Sandbox

from .report import show

SIGN_INS = 200
DAY = 86_400
TABLES = ("challenges", "sessions", "limits")


def api_calls_an_hour(active: int, user_refresh: float) -> float:
    """Return how many accounts are fetched in an hour, for people who keep using the application.

    :param user_refresh: ``CHATBOTKIT_AUTH_USER_REFRESH`` in seconds.
    """
    return active * 3600 / user_refresh


def run(people: int, sign_ins: int) -> None:
    """Print the tables."""
    refresh = Config.load({"CHATBOTKIT_API_SECRET": "sk-test"}, {}).user_refresh.total_seconds()
    show(
        f"API calls for {people:,} people who are active all the time",
        ["CHATBOTKIT_AUTH_USER_REFRESH", "calls an hour", "a second"],
        [
            [f"{seconds:,.0f} s", f"{calls:,.0f}", f"{calls / 3600:,.1f}"]
            for seconds in (60, 300, refresh, 3600)
            for calls in (api_calls_an_hour(people, seconds),)
        ],
    )
    calls, statements, growth = counted()
    rows = [["calls of the API", f"{calls:.1f}", f"{calls * sign_ins:,.0f}", f"{calls * sign_ins / DAY:,.1f}"]]
    for name in ("SELECT", "INSERT", "UPDATE", "DELETE"):
        each = statements[name] / SIGN_INS
        rows.append([name, f"{each:.1f}", f"{each * sign_ins:,.0f}", f"{each * sign_ins / DAY:,.1f}"])
    for table in TABLES:
        count, size = growth[table]
        rows.append([f"rows of {table}", f"{count:.1f}", f"{count * sign_ins:,.0f}", f"{count * sign_ins / DAY:,.1f}"])
        rows.append([f"bytes of {table}", f"{size:,.0f}", f"{size * sign_ins / 1e9:,.1f} GB", "–"])
    show(f"One sign-in, and {sign_ins:,} a day", ["", "one", "a day", "a second"], rows)


def counted() -> tuple[float, Counter[str], dict[str, tuple[float, float]]]:
    """Return the calls of a sign-in, the statements of all, and the rows and bytes of a sign-in by table."""
    with tempfile.TemporaryDirectory() as folder, Sandbox(secret="sk-test") as sandbox:
        app = _shop(sandbox, Path(folder) / "store.db")
        engine = app.extensions["chatbotkit_auth"].store.database.engine
        _sign_in(app, "first@example.com")  # which makes the tables
        before = _sizes(engine)
        for number in range(SIGN_INS):
            sandbox.add_user(f"person{number}@example.com")
        sandbox.requests.clear()
        with _statements(engine) as statements:
            for number in range(SIGN_INS):
                _sign_in(app, f"person{number}@example.com")
        after = _sizes(engine)
        calls = len(sandbox.requests) / SIGN_INS
        app.extensions["chatbotkit_auth"].store.close()
    growth = {
        name: ((after[name][0] - before[name][0]) / SIGN_INS, (after[name][1] - before[name][1]) / SIGN_INS)
        for name in TABLES
    }
    return calls, statements, growth


def _shop(sandbox: Sandbox, database: Path) -> Flask:
    app = Flask("shop")
    app.config.update(
        SECRET_KEY="not a secret",
        TESTING=True,
        CHATBOTKIT_API_SECRET=sandbox.secret,
        CHATBOTKIT_API_URL=sandbox.url,
        CHATBOTKIT_AUTH_AUTO_CREATE=True,
        CHATBOTKIT_AUTH_STORE_URL=f"sqlite:///{database}",
        CHATBOTKIT_AUTH_RATE_LIMITS={"request:ip": "1000000/hour", "verify:ip": "1000000/hour"},
    )
    auth = ChatBotKitAuth(app)
    codes: dict[str, str] = {}
    auth.send_verification_request(lambda identifier, code: codes.update({identifier: code}))
    app.extensions["benchmark_codes"] = codes
    return app


def _sign_in(app: Flask, email: str) -> None:
    client = app.test_client()
    token = client.get("/auth/session").get_json()["csrf_token"]
    headers = {"X-CSRFToken": token}
    assert client.post("/auth/sign-in", json={"email": email}, headers=headers).status_code == 200
    code = app.extensions["benchmark_codes"].pop(email)
    assert client.post("/auth/verify", json={"code": code}, headers=headers).status_code == 200


@contextmanager
def _statements(engine: sa.Engine) -> Iterator[Counter[str]]:
    counted: Counter[str] = Counter()

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        counted[statement.split(None, 1)[0].upper()] += 1

    sa.event.listen(engine, "before_cursor_execute", note)
    try:
        yield counted
    finally:
        sa.event.remove(engine, "before_cursor_execute", note)


def _sizes(engine: sa.Engine) -> dict[str, tuple[int, int]]:
    """Return how many rows each table has, and how many bytes are in them, without indexes and the pages' own."""
    sizes: dict[str, tuple[int, int]] = {}
    with engine.connect() as connection:
        for name in TABLES:
            rows: list[Any] = list(connection.execute(sa.text(f"SELECT * FROM chatbotkit_auth_{name}")))  # noqa: S608
            sizes[name] = len(rows), sum(len(str(value)) for row in rows for value in row if value is not None)
    return sizes


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sums", description=__doc__)
    parser.add_argument("--people", type=int, default=100_000, help="who are active (default 100000)")
    parser.add_argument("--sign-ins", type=int, default=1_000_000, help="a day (default 1000000)")
    given = parser.parse_args()
    run(given.people, given.sign_ins)
