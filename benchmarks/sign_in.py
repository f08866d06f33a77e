"""A complete sign-in: what it costs the server, and how long a person waits for it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from statistics import median

from flask_chatbotkit_auth.testing import Sandbox

from .apps.instruments import EMAIL
from .browser import Browser
from .journeys import CHATBOTKIT, DJANGO_ALLAUTH, FLASK_SECURITY, SMALLEST, sign_in_over_json
from .report import compare, in_turns, milliseconds, show, skipped, spread, times
from .servers import Server, missing

SIGN_INS = 6
ROUNDS = 9
LATENCY = 0.05

OURS = "this, pages"
SMALL = "smallest application, tuned"
AIMS = {OURS: "≤ 1.2×", "this, JSON": "≤ 1.2×"}

SignIn = Callable[[Server], Browser]


@dataclass(frozen=True)
class Contender:
    """A way to sign in somewhere."""

    application: str
    sign_in: SignIn
    modules: tuple[str, ...] = ()
    """What must be installed."""

    setting: str | None = None
    """A variable of the environment that the application is started with."""

    @property
    def server(self) -> tuple[str, str | None]:
        """What contenders on one server have in common."""
        return self.application, self.setting


CONTENDERS = {
    OURS: Contender("chatbotkit", CHATBOTKIT.go),
    "this, JSON": Contender("chatbotkit", sign_in_over_json),
    "this, JSON, codes sent by a hook": Contender("chatbotkit", sign_in_over_json, setting="BENCHMARK_HOOK"),
    "this, pages, redirects followed": Contender("chatbotkit", partial(CHATBOTKIT.go, follow=True)),
    SMALL: Contender("smallest_tuned", SMALLEST.go),
    "smallest application, by hand": Contender("smallest", SMALLEST.go, ("flask_sqlalchemy",)),
    "Flask-Security, unified sign-in": Contender(
        "flask_security_too", FLASK_SECURITY.go, ("flask_security", "flask_sqlalchemy")
    ),
    "django-allauth, login by code": Contender("django_allauth", DJANGO_ALLAUTH.go, ("django", "allauth")),
}


def run() -> None:
    """Print the tables."""
    present = {}
    for name, contender in CONTENDERS.items():
        if missing(*contender.modules):
            skipped(name, 'pip install "flask-chatbotkit-auth[bench]"')
        else:
            present[name] = contender
    with Sandbox() as sandbox:
        sandbox.add_user(EMAIL, name="Ada", meta={"verifiedAt": 1})
        with _servers(present, sandbox) as servers:
            measured = in_turns(
                {name: partial(_cpu_per_sign_in, servers[each.server], each.sign_in) for name, each in present.items()},
                ROUNDS,
            )
            waits = _waits(sandbox, servers[CONTENDERS[OURS].server])
        with _servers(present, sandbox, BENCHMARK_COUNTING="yes") as servers:
            counted = [[name, *_counts(sandbox, servers[each.server], each.sign_in)] for name, each in present.items()]
    show(
        "A complete sign-in of four requests: server CPU",
        ["", "CPU", "of tuned", "aim"],
        compare(measured, SMALL, milliseconds, AIMS),
    )
    show(
        "The same, counted",
        ["", "API calls", "SQL statements", "and for rate limits", "bytes of answers", "bytes of cookies"],
        counted,
    )
    show(
        f"The same, waited for, with an API that takes {LATENCY * 1000:.0f} ms a call",
        ["", "time", "of a call", "aim"],
        waits,
    )


@contextmanager
def _servers(
    contenders: Mapping[str, Contender], sandbox: Sandbox, **more: str
) -> Iterator[dict[tuple[str, str | None], Server]]:
    with ExitStack() as stack:
        servers = {}
        for application, setting in {each.server: None for each in contenders.values()}:
            settings = {"BENCHMARK_API": sandbox.url, **more, **({setting: "yes"} if setting else {})}
            servers[application, setting] = stack.enter_context(Server(application, settings))
        yield servers


def _cpu_per_sign_in(server: Server, sign_in: SignIn) -> float:
    before = server.cpu()
    for _ in range(SIGN_INS):
        sign_in(server)
    return (server.cpu() - before) / SIGN_INS


def _counts(sandbox: Sandbox, server: Server, sign_in: SignIn) -> list[str]:
    sign_in(server)  # what only the first one does is not of interest
    sandbox.requests.clear()
    before = server.counts()
    browser = sign_in(server)
    after = server.counts()
    sql = (str(after[name] - before[name]) for name in ("sql", "sql_of_limits"))
    return [str(len(sandbox.requests)), *sql, str(browser.received), str(len(browser.cookie))]


def _waits(sandbox: Sandbox, server: Server) -> list[list[str]]:
    newcomers = (f"person-{number}@example.com" for number in itertools.count())
    sign_ins: dict[str, Callable[[], object]] = {
        "an existing user": lambda: CHATBOTKIT.go(server),
        "a new user": lambda: CHATBOTKIT.go(server, next(newcomers)),
    }
    samples = {}
    for latency in (0.0, LATENCY):
        sandbox.latency = latency
        contenders = {name: partial(_waited, each) for name, each in sign_ins.items()}
        samples[latency] = in_turns(contenders, 2 * ROUNDS)
    sandbox.latency = 0.0
    aims = {"an existing user": "≤ 1.5×", "a new user": "≤ 2.6×"}
    rows = []
    for name, values in samples[LATENCY].items():
        without = milliseconds(median(samples[0.0][name]))
        of_a_call = times(median(values) / LATENCY)
        rows.append([f"{name} (without the latency: {without})", spread(values, milliseconds), of_a_call, aims[name]])
    return rows


def _waited(sign_in: Callable[[], object]) -> float:
    start = time.perf_counter()
    sign_in()
    return time.perf_counter() - start
