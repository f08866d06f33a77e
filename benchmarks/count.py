"""Instructions: what a sign-in and a page cost the server, counted by callgrind and not by a clock.

Nothing else that the machine does changes them, so that small differences show.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from flask_chatbotkit_auth.testing import Sandbox

from . import callgrind
from .apps.instruments import EMAIL
from .browser import Browser
from .callgrind import CountedServer
from .causes import WHOLE
from .journeys import CHATBOTKIT, DJANGO_ALLAUTH, FLASK_SECURITY, SMALLEST, sign_in_over_json
from .report import show, skipped, times
from .servers import Server, missing

WARM = 3
SIGN_INS = 5
SIGN_INS_APART = 3
PAGES = 10

OURS, JSON = "this, pages", "this, JSON"
BY_HAND, TUNED = "smallest application, by hand", "smallest application, tuned"
LOGIN, CACHED, READ = (
    "Flask-Login, users in memory",
    "this, session known to the worker",
    "this, session read from SQLite",
)

AIMS = {
    OURS: "≤ 1.2× of tuned, ≤ 0.8× of by hand",
    JSON: "≤ 1.2× of tuned, ≤ 0.8× of by hand",
    CACHED: "≤ 1.06×",
    READ: "≤ 1.5×",
}

Counts = Counter[str]
"""Instructions by cause."""


@dataclass(frozen=True)
class Contender:
    """What is counted: what a browser does on a server, after it has prepared for it."""

    application: str
    sign_in: Callable[[Server], Browser]
    settings: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    """What must be installed."""

    page: bool = False
    """Whether the page is counted, and not the sign-in before it."""

    causes: bool = True
    """Whether causes are told apart."""


def _enter(server: Server) -> Browser:
    browser = server.browser()
    browser.get("/enter")
    return browser


NEW = [f"person-{number}@company-{number}.example.com" for number in range(WARM + SIGN_INS)]
_new = iter(NEW)


def _another(server: Server) -> Browser:
    return CHATBOTKIT.go(server, next(_new))


SECURITY = ("flask_security", "flask_sqlalchemy")
DJANGO = ("django", "allauth")
SIGN_IN = {
    OURS: Contender("chatbotkit", CHATBOTKIT.go),
    JSON: Contender("chatbotkit", sign_in_over_json),
    "this, pages, a new address each time": Contender("chatbotkit", _another, causes=False),
    BY_HAND: Contender("smallest", SMALLEST.go, modules=("flask_sqlalchemy",)),
    TUNED: Contender("smallest_tuned", SMALLEST.go),
    "django-allauth, login by code": Contender("django_allauth", DJANGO_ALLAUTH.go, modules=DJANGO, causes=False),
    "Flask-Security, unified sign-in": Contender(
        "flask_security_too", FLASK_SECURITY.go, modules=SECURITY, causes=False
    ),
}
PAGE = {
    LOGIN: Contender("plain_flask_login", _enter, page=True),
    CACHED: Contender("chatbotkit", CHATBOTKIT.go, {"BENCHMARK_SESSION_CHECK": "3600"}, page=True),
    READ: Contender("chatbotkit", CHATBOTKIT.go, {"BENCHMARK_SESSION_CHECK": "0"}, page=True),
}


def run() -> None:
    """Print the tables."""
    if reason := callgrind.missing():
        sys.exit(reason)
    with Sandbox() as sandbox:
        sandbox.add_user(EMAIL, name="Ada", meta={"verifiedAt": 1})
        for address in NEW:
            sandbox.add_user(address, name="Ada", meta={"verifiedAt": 1})
        sign_ins, pages = (_count_all(each, BENCHMARK_API=sandbox.url) for each in (SIGN_IN, PAGE))
        apart = {title: _count_apart(each, sandbox.url) for title, each in (("a sign-in", SIGN_IN), ("a page", PAGE))}
    show(
        "A complete sign-in of four requests: instructions of the server",
        ["", "million", "of by hand", "of tuned", "aim"],
        _rows(sign_ins, BY_HAND, TUNED),
    )
    show(
        "A protected page: instructions of the server",
        ["", "million", "of Flask-Login's", "aim"],
        _rows(pages, LOGIN),
    )
    for title, counted in apart.items():
        show(f"Where they go: {title}, million instructions", ["", *counted], _by_cause(counted))


def _count_apart(contenders: Mapping[str, Contender], api: str) -> dict[str, list[Counts]]:
    """Count with causes told apart, and ours of before in front of ours where that is asked for."""
    told = {name: each for name, each in contenders.items() if each.causes}
    ours = {f"{name}, before": each for name, each in told.items() if each.application == "chatbotkit"}
    settings = {"BENCHMARK_API": api, "BENCHMARK_CAUSES": "yes"}
    before = os.environ.get("BENCHMARK_BEFORE")
    counted = _count_all(ours, BENCHMARK_PACKAGE=before, **settings) if before else {}
    return counted | _count_all(told, **settings)


def _rows(counted: Mapping[str, list[Counts]], *baselines: str) -> list[list[str]]:
    totals = {name: [each.total() for each in counts] for name, counts in counted.items()}
    rows = []
    for name, values in totals.items():
        ratios = [times(median(values) / median(totals[each])) if each in totals else "–" for each in baselines]
        million = f"{_million(median(values))} ({_million(min(values))}–{_million(max(values))})"
        rows.append([name, million, *ratios, AIMS.get(name, "–")])
    return rows


def _by_cause(counted: Mapping[str, list[Counts]]) -> list[list[str]]:
    columns = [_medians(counts) for counts in counted.values()]
    causes = sorted({cause for column in columns for cause in column}, key=lambda each: -max(c[each] for c in columns))
    rows = [[cause, *(_million(each[cause]) if each[cause] else "–" for each in columns)] for cause in causes]
    return [*rows, ["all", *(_million(each.total()) for each in columns)]]


def _medians(counts: Iterable[Counts]) -> Counter[str]:
    """Return the median of each cause, those within a cause that is told whole beside it."""
    told = []
    for each in counts:
        told.append(Counter[str]())
        for path, instructions in each.items():
            told[-1][_name(path.split("|"))] += instructions
    return Counter({cause: int(median(each[cause] for each in told)) for cause in set().union(*told)})


def _name(path: list[str]) -> str:
    whole = next((number for number, cause in enumerate(path) if cause in WHOLE), len(path) - 1)
    return ": ".join((path[whole], path[-1])) if whole < len(path) - 1 else path[-1]


def _million(instructions: float) -> str:
    return f"{instructions / 1e6:.2f}"


def _count_all(contenders: Mapping[str, Contender], **settings: str) -> dict[str, list[Counts]]:
    present = {name: each for name, each in contenders.items() if not missing(*each.modules)}
    for name in contenders.keys() - present.keys():
        skipped(name, 'pip install "flask-chatbotkit-auth[bench]"')
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # what runs beside it changes no count
        counts = pool.map(partial(_count, settings=settings), present.values())
    return dict(zip(present, counts, strict=True))


def _count(contender: Contender, settings: Mapping[str, str]) -> list[Counts]:
    with CountedServer(contender.application, {**settings, **contender.settings}) as server:
        for _ in range(WARM):
            browser = contender.sign_in(server)
        if contender.page:
            for _ in range(PAGES):
                browser.get("/page")
            return [server.count(partial(browser.get, "/page")) for _ in range(PAGES)]
        count = SIGN_INS_APART if "BENCHMARK_CAUSES" in settings else SIGN_INS
        return [server.count(partial(contender.sign_in, server)) for _ in range(count)]
