"""What every test may use: real services where they run, the sandbox, an application, and a clock that obeys."""

from __future__ import annotations

import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from blinker import NamedSignal
from flask import Flask
from flask.testing import FlaskClient
from flask_login import current_user, fresh_login_required, login_fresh, login_required, logout_user

from flask_chatbotkit_auth import ChatBotKitAuth, EmailCodeProvider, MemoryStore, signals
from flask_chatbotkit_auth.stores import Store
from flask_chatbotkit_auth.testing import Sandbox
from tests.support import debian, topologies
from tests.support.apps import Clock, MakeApp
from tests.support.leaks import LOGGER, Leaks
from tests.support.services import CHROMIUM, MARIADB, POSTGRESQL, REDIS
from tests.support.sites import Worker
from tests.support.workers import forget_everything, opened


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-services",
        action="store_true",
        help="fail, and do not skip, where PostgreSQL, MariaDB, Redis or Chromium is missing",
    )


def pytest_configure() -> None:
    """Hear SIGINT, which a shell has its background jobs ignore, and which servers of tests would inherit so."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


_seconds: dict[str, float] = {}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up how long the tests of each folder took; with pytest-xdist it is the controller that hears of all."""
    folder = report.nodeid.split("::")[0].rpartition("/")[0]
    _seconds[folder] = _seconds.get(folder, 0) + report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print minutes a folder, so that it shows which part of the gate grows."""
    if sum(_seconds.values()) < 60:
        return
    terminalreporter.section("minutes of tests, by folder")
    for folder, seconds in sorted(_seconds.items(), key=lambda each: -each[1]):
        terminalreporter.write_line(f"{seconds / 60:6.1f}  {folder}")


@pytest.fixture(autouse=True)
def receivers() -> Iterator[None]:
    """Disconnect what a test connected for every application, such as the receiver of a sample of the documentation."""
    every = [each for each in vars(signals).values() if isinstance(each, NamedSignal)]
    before = {each: list(each.receivers_for(None)) for each in every}
    yield
    for each in every:
        for receiver in list(each.receivers_for(None)):
            if receiver not in before[each]:
                each.disconnect(receiver)


@pytest.fixture
def clock(chatbotkit_clock: Clock) -> Clock:
    """The time, which begins at the same moment in every test and passes only when told."""
    chatbotkit_clock.freeze(datetime(2026, 1, 1, 12, 0, tzinfo=UTC))
    return chatbotkit_clock


def _missing(request: pytest.FixtureRequest, name: str, error: object) -> None:
    reason = f"{name} cannot be reached ({error})"
    if request.config.getoption("--require-services"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def installed(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Return the path of a program that is no Python, such as ``nginx``."""

    def installed(name: str) -> str:
        program = shutil.which(name) or shutil.which(name, path="/usr/local/sbin:/usr/sbin")
        if program is None:
            _missing(request, name, "not installed")
        return str(program)

    return installed


@pytest.fixture(scope="session")
def uwsgi_program(installed: Callable[[str], str]) -> str:
    """The path of uWSGI, whose plugin is for Debian's own Python."""
    program = installed("uwsgi")
    theirs = subprocess.run(["/usr/bin/python3", "-V"], capture_output=True, text=True, check=True).stdout.split()[1]
    ours = platform.python_version()
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        pytest.skip(f"uWSGI is built for Python {theirs} and the tests run on {ours}")
    return program


@pytest.fixture(scope="session")
def source_of(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return where the source archive of a release is unpacked; pip fetches it once into the cache of pytest."""

    def source_of(release: str) -> Path:
        cache, kept = getattr(request.config, "cache", None), f"source-{release.replace('==', '-')}"
        folder = tmp_path_factory.mktemp(kept) if cache is None else cache.mkdir(kept)
        if not any(folder.glob("*.tar.gz")):
            name, quiet = release.partition("==")[0], ("--quiet", "--disable-pip-version-check")
            fetch = ("pip", "download", *quiet, "--no-deps", "--no-binary", name, "--dest", str(folder), release)
            run = subprocess.run([sys.executable, "-m", *fetch], capture_output=True, text=True, timeout=300)
            if run.returncode:
                _missing(request, release, run.stderr.strip().rpartition("\n")[2])
        (archive,) = folder.glob("*.tar.gz")
        unpacked = folder / archive.name.removesuffix(".tar.gz")
        if not unpacked.exists():
            # Debian's Python 3.11 has no filters.
            safely = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            shutil.unpack_archive(archive, folder, **safely)  # type: ignore[arg-type]
        return unpacked

    return source_of


def _own_database(request: pytest.FixtureRequest, name: str, url: str) -> Iterator[str]:
    """Give a test a database of its own on a server, and drop it afterwards."""
    database = f"chatbotkit_auth_{uuid.uuid4().hex[:12]}"
    try:
        server = sa.create_engine(url, isolation_level="AUTOCOMMIT", connect_args={"connect_timeout": 2})
        with server.connect() as connection:
            connection.execute(sa.text(f"CREATE DATABASE {database}"))
    except (ImportError, sa.exc.SQLAlchemyError) as error:
        _missing(request, name, type(error).__name__)
        return
    yield sa.make_url(url).set(database=database).render_as_string(hide_password=False)
    with server.connect() as connection:
        force = " WITH (FORCE)" if name == "PostgreSQL" else ""
        connection.execute(sa.text(f"DROP DATABASE {database}{force}"))
    server.dispose()


@pytest.fixture
def postgresql_url(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from _own_database(request, "PostgreSQL", POSTGRESQL)


@pytest.fixture
def mariadb_url(request: pytest.FixtureRequest) -> Iterator[str]:
    yield from _own_database(request, "MariaDB", MARIADB)


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of a Redis, for use with a key prefix of one's own."""
    return _redis(request)


def _redis(request: pytest.FixtureRequest) -> str:
    try:
        import redis

        with redis.Redis.from_url(REDIS, socket_connect_timeout=2) as connection:
            connection.ping()
    except Exception as error:  # noqa: BLE001  # the driver, too, may be missing
        _missing(request, "Redis", type(error).__name__)
    return REDIS


@pytest.fixture(scope="session")
def redis_cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis Cluster of three nodes."""
    if shutil.which("redis-server") is None or shutil.which("redis-cli") is None:
        _missing(request, "redis-server", "not installed")
    with topologies.redis_cluster(tmp_path_factory.mktemp("cluster")) as url:
        yield url


@pytest.fixture(scope="session")
def mysql(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of MySQL's own server, of Debian's newest suite."""
    yield from _newest(request, "MySQL", topologies.mysql)


@pytest.fixture(scope="session")
def valkey(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a Valkey, of Debian's newest suite."""
    yield from _newest(request, "Valkey", topologies.valkey)


def _newest(
    request: pytest.FixtureRequest, name: str, start: Callable[[], AbstractContextManager[str]]
) -> Iterator[str]:
    with ExitStack() as stack:
        try:
            url = stack.enter_context(start())
        except debian.CannotBeMade as error:
            _missing(request, name, error)
        yield url


@pytest.fixture(scope="module")
def postgresql_server(request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of an empty database of PostgreSQL, for all tests of a module."""
    yield from _own_database(request, "PostgreSQL", POSTGRESQL)


@pytest.fixture(scope="module")
def store_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty back end of the kind that an indirect parameter names; one for all tests of a module."""
    kind = request.param
    if kind == "memory":
        yield "memory://"
    elif kind == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('store')}/store.db"
    elif kind == "postgresql":
        yield from _own_database(request, "PostgreSQL", POSTGRESQL)
    elif kind == "mariadb":
        yield from _own_database(request, "MariaDB", MARIADB)
    elif kind == "mysql":
        yield from _own_database(request, "MySQL", request.getfixturevalue("mysql"))
    elif kind in ("valkey", "redis cluster"):
        yield request.getfixturevalue(kind.replace(" ", "_"))
    else:
        yield _redis(request)


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    """An empty store of that kind."""
    with opened(store_url, f"{{test-{uuid.uuid4().hex}}}:") as store:
        yield store
        forget_everything(store)


@pytest.fixture
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable of the surroundings that the example or the extension would read."""
    for key in os.environ:
        if key.startswith(("CHATBOTKIT_", "FLASK_", "SECRET_KEY")):
            monkeypatch.delenv(key)


@pytest.fixture(scope="session")
def chromium(request: pytest.FixtureRequest) -> str:
    """The path of a Chromium."""
    if CHROMIUM is None or not Path(CHROMIUM).is_file():
        _missing(request, "Chromium", "not installed")
    return str(CHROMIUM)


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest, chromium: str) -> Iterator[Any]:
    """A running Chromium, for Playwright to drive."""
    with ExitStack() as stack:
        try:
            from tests.support.screenshots import chromium_at

            browser = stack.enter_context(chromium_at(chromium))
        except Exception as error:  # noqa: BLE001  # the driver is a program of its own, and fails in many ways
            _missing(request, "Playwright", type(error).__name__)
        yield browser


@pytest.fixture
def openapi_path() -> Path:
    path = Path(__file__).parents[2] / "shared" / "reference" / "chatbotkit-openapi.json"
    if not path.exists():
        pytest.skip("the OpenAPI document of the API is not beside this checkout")
    return path


@pytest.fixture(scope="session")
def leaks() -> Iterator[Leaks]:
    """Listen to our logger, at every level, for the whole of the session."""
    leaks = Leaks()
    generate = EmailCodeProvider.generate

    def remember(self: EmailCodeProvider) -> str:
        code = generate(self)
        leaks.codes.add(code)
        return code

    logger = logging.getLogger(LOGGER)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmailCodeProvider, "generate", remember)
        logger.setLevel(logging.DEBUG)
        logger.addHandler(leaks)
        yield leaks
        logger.removeHandler(leaks)
        logger.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(leaks: Leaks) -> Iterator[None]:
    """Fail a test, whatever it is about, during which a secret was logged."""
    yield
    assert leaks.take() == []


@pytest.fixture
def make_app(chatbotkit_sandbox: Sandbox, tmp_path: Path, clock: Clock) -> Iterator[MakeApp]:
    """Make an application with a protected page, on the sandbox, with settings and parts of one's own."""
    apps: list[Flask] = []

    def make_app(
        *,
        store: Any = None,
        provider: EmailCodeProvider | None = None,
        parts: dict[str, Any] | None = None,
        **config: Any,
    ) -> Flask:
        app = Flask("shop", instance_path=str(tmp_path / "instance"))
        app.config.update(
            SECRET_KEY="not a secret",
            TESTING=True,
            CHATBOTKIT_API_SECRET="sk-test",
            CHATBOTKIT_API_URL=chatbotkit_sandbox.url,
            CHATBOTKIT_AUTH_AUTO_CREATE=True,
        )
        app.config.update(config)
        if "CHATBOTKIT_AUTH_STORE_URL" not in config and store is None:
            store = MemoryStore()
        auth = ChatBotKitAuth(app, store=store, provider=provider, **(parts or {}))
        app.extensions["test_auth"] = auth

        @app.get("/dashboard")
        @login_required  # type: ignore[untyped-decorator]  # Flask-Login has no type information
        def dashboard() -> str:
            return f"Hello {current_user.email}"

        apps.append(app)
        return app

    yield make_app
    for app in apps:
        app.extensions["chatbotkit_auth"].store.close()


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    return make_app()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def worker(make_app: MakeApp, tmp_path: Path) -> Iterator[Worker]:
    """Make workers of one site: applications on one store."""
    apps: list[Flask] = []

    def worker(**config: Any) -> Flask:
        config.setdefault("CHATBOTKIT_AUTH_STORE_URL", f"sqlite:///{tmp_path}/store.db")
        app = make_app(**config)
        app.add_url_rule("/fresh", "fresh", view_func=lambda: "fresh" if login_fresh() else "remembered")
        app.add_url_rule("/bank", "bank", view_func=fresh_login_required(lambda: "vault"))
        app.add_url_rule("/leave", "leave", view_func=lambda: str(logout_user()))
        apps.append(app)
        return app

    yield worker
    for app in apps:
        app.extensions["chatbotkit_auth"].store.close()
