"""What the package was tried with, in which version: ``python -m tests.support.tried [TABLE]`` runs it on this Python.

It runs the tests of every server, database, browser and extension below, those that are left to nox as well. The column of
this Python goes into the table, by default ``docs/tried.csv``. The columns of other Pythons stay: run it on each. A cell
is a version, or "failed"; it is empty where the tests were skipped.
"""

from __future__ import annotations

import csv
import glob
import os
import platform
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import pytest
import redis
import sqlalchemy as sa

from tests.support import debian, services

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "docs" / "tried.csv"


class Row(NamedTuple):
    """Something that people use, and the tests that use it."""

    name: str
    find: Callable[[], str]
    """Tells its version."""
    test: str
    """The tests: a file, or a class or function within it."""
    parameter: str = ""
    """Which of them: one of the words in brackets."""

    def holds(self, test: str) -> bool:
        """Return whether a test is one of the row's."""
        name, _, words = test.partition("[")
        found = name == self.test or name.startswith(f"{self.test}::")
        return found and self.parameter in ("", *words.rstrip("]").split("-"))


def package(name: str) -> Callable[[], str]:
    return lambda: version(name)


def said(*command: str) -> Callable[[], str]:
    """Return what tells the version that a command prints."""

    def said() -> str:
        run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
        return _number(run.stdout)

    return said


def sql(url: str) -> Callable[[], str]:
    """Return what tells the version of a server of SQL."""

    def sql() -> str:
        engine = sa.create_engine(url)
        with engine.connect() as connection:
            found = connection.scalar(sa.text("SELECT version()"))
        engine.dispose()
        return _number(str(found))

    return sql


def of_redis() -> str:
    with redis.Redis.from_url(services.REDIS) as connection:
        return str(connection.info("server")["redis_version"])


def in_debian(program: str) -> Callable[[], str]:
    return said("chroot", str(debian.FOLDER), program, "--version")


REDIS = said("redis-server", "--version")
SERVERS, STORES = "tests/operations/test_servers.py", "tests/stores/test_stores.py::TestEveryBackEnd"
ENGINES, EXTENSIONS = "tests/web/test_engines.py", "tests/beside/test_extensions.py"
TOPOLOGIES = "tests/operations/test_topologies.py"

ROWS = {
    "Server": [
        Row("gunicorn, sync", package("gunicorn"), f"{SERVERS}::test_gunicorn", "sync"),
        Row("gunicorn, gthread", package("gunicorn"), f"{SERVERS}::test_gunicorn", "gthread"),
        Row("gunicorn, gevent", package("gunicorn"), f"{SERVERS}::test_gunicorn", "gevent"),
        Row("gunicorn, gthread, --preload", package("gunicorn"), f"{SERVERS}::test_gunicorn", "preload"),
        Row("uWSGI behind nginx", said("uwsgi", "--version"), f"{SERVERS}::test_uwsgi"),
        Row(
            "uWSGI behind nginx, --lazy-apps",
            said("uwsgi", "--version"),
            f"{SERVERS}::test_uwsgi_with_an_application_for_each_worker",
        ),
        Row("waitress", package("waitress"), f"{SERVERS}::test_another_server", "waitress"),
        Row("hypercorn, by WsgiToAsgi", package("hypercorn"), f"{SERVERS}::test_another_server", "hypercorn"),
        Row("AWS Lambda, by apig-wsgi", package("apig-wsgi"), f"{SERVERS}::test_a_lambda_behind_an_api_gateway"),
    ],
    "Database": [
        Row("SQLite", lambda: sqlite3.sqlite_version, STORES, "sqlite"),
        Row("PostgreSQL", sql(services.POSTGRESQL), STORES, "postgresql"),
        Row("MariaDB", sql(services.MARIADB), STORES, "mariadb"),
        Row("MySQL", in_debian("/usr/sbin/mysqld"), STORES, "mysql"),
        Row("Redis", of_redis, STORES, "redis"),
        Row("Redis Cluster", REDIS, STORES, "redis cluster"),
        Row("Valkey", in_debian("/usr/bin/valkey-server"), STORES, "valkey"),
        Row("PgBouncer", said("pgbouncer", "--version"), f"{TOPOLOGIES}::TestBehindPgBouncer"),
        Row(
            "PostgreSQL, a promoted replica",
            lambda: said(max(glob.glob("/usr/lib/postgresql/*/bin/postgres")), "--version")(),
            f"{TOPOLOGIES}::test_a_promoted_replica_of_postgresql_takes_over",
        ),
        Row("Galera, three nodes", said("mariadbd", "--version"), "tests/operations/test_galera.py::TestOnGalera"),
        Row("Redis Sentinel", REDIS, f"{TOPOLOGIES}::test_sentinel_takes_the_store_to_the_new_primary"),
    ],
    "Browser": [
        Row("Chromium", said(services.CHROMIUM or "chromium", "--version"), ENGINES, "chromium"),
        Row("Firefox", said("firefox-esr", "--version"), ENGINES, "firefox"),
        Row(
            "WebKit", said("dpkg-query", "--show", "--showformat=${Version}", "libwebkit2gtk-4.1-0"), ENGINES, "webkit"
        ),
    ],
    "Extension": [
        Row("APIFlask", package("apiflask"), f"{EXTENSIONS}::test_apiflask"),
        Row("Flask-Admin", package("flask-admin"), f"{EXTENSIONS}::test_flask_admin"),
        Row("Flask-CORS", package("flask-cors"), f"{EXTENSIONS}::test_flask_cors"),
        Row("Flask-RESTX", package("flask-restx"), f"{EXTENSIONS}::test_flask_restx"),
        Row("Flask-Session", package("flask-session"), f"{EXTENSIONS}::test_flask_session_on_the_server"),
        Row("Flask-SocketIO", package("flask-socketio"), f"{EXTENSIONS}::test_flask_socketio"),
        Row("Flask-Talisman", package("flask-talisman"), f"{EXTENSIONS}::test_flask_talisman"),
    ],
}


class Outcomes:
    """Notes how each test ended; where it runs in parts, the worst of them counts."""

    def __init__(self) -> None:
        self.of: dict[str, str] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        known, order = self.of.get(report.nodeid, "passed"), ("passed", "skipped", "failed")
        self.of[report.nodeid] = max(known, report.outcome, key=order.index)


def cell(row: Row, outcomes: dict[str, str]) -> str:
    """Return the version if the row's tests passed, as far as they ran."""
    found = {outcome for test, outcome in outcomes.items() if row.holds(test)}
    if not found:
        raise LookupError(f"There is no test of {row.name}: {row.test}")
    if "failed" in found:
        return "failed"
    return row.find() if "passed" in found else ""


def write(table: Path, column: dict[str, str]) -> None:
    """Put a column into a table, in place of another one of the same Python."""
    ours, before = f"Python {platform.python_version()}", []
    if table.exists():
        with table.open(encoding="utf-8", newline="") as lines:
            before = list(csv.DictReader(lines))
    rows = {row["Name"]: row for row in before}
    pythons = {each for row in before for each in row if _minor(each) not in ((), _minor(ours))} | {ours}
    with table.open("w", encoding="utf-8", newline="") as lines:
        header = ["Kind", "Name", *sorted(pythons, key=_minor)]
        writer = csv.DictWriter(lines, header, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        for kind, every in ROWS.items():
            for row in every:
                writer.writerow({**rows.get(row.name, {}), "Kind": kind, "Name": row.name, ours: column[row.name]})


def _number(text: str) -> str:
    return str(re.findall(r"\d+(?:\.\d+)+", text)[0])


def _minor(python: str) -> tuple[int, ...]:
    return tuple(int(each) for each in re.findall(r"\d+", python)[:2])


def main(table: Path) -> int:
    every = [row for rows in ROWS.values() for row in rows]
    outcomes = Outcomes()
    tests = sorted({row.test for row in every})
    # This module, which needs no rewritten assertions, is imported already.
    options = ["-q", "-m", "", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    code = pytest.main([*options, *tests], plugins=[outcomes])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return int(code)
    write(table, {row.name: cell(row, outcomes.of) for row in every})
    print(table.read_text(encoding="utf-8"))  # noqa: T201
    return int(code)


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main(Path(sys.argv[1]) if sys.argv[1:] else TABLE))
