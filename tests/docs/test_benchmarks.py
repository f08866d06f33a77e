"""``python -m benchmarks count``: the applications that ours is compared with, and the names under which is counted."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib import import_module

import pytest

from benchmarks.apps.instruments import EMAIL
from benchmarks.browser import form_token
from benchmarks.causes import CAUSES
from benchmarks.journeys import SMALLEST, read_code, sign_in_over_json
from benchmarks.load import sign_in_for
from benchmarks.sandboxes import sandbox_apart
from benchmarks.servers import Server
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.samples import DOCS

OURS = {
    cause: own
    for cause, names in CAUSES.items()
    if (own := [name for name in names if name.startswith("flask_chatbotkit_auth")])
}


@pytest.fixture(params=["smallest", "smallest_tuned"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    with Sandbox() as sandbox:
        sandbox.add_user(EMAIL, name="Ada")
        with Server(request.param, {"BENCHMARK_API": sandbox.url}) as server:
            yield server


def test_the_smallest_application_signs_in_by_a_code_that_works_once(server: Server) -> None:
    SMALLEST.go(server)
    browser = server.browser()
    token = form_token(browser.get("/sign-in"))
    browser.post("/sign-in", {**token, "email": EMAIL})
    code = read_code(server.mail(EMAIL), SMALLEST.code)
    wrong = f"{(int(code, 16) + 1) % 0x1000000:06x}"
    assert browser.post("/verify", {**token, "code": wrong}).location is None
    assert browser.post("/verify", {"code": code}).location is None  # without the form's token
    twin = server.browser()
    twin.cookies.update(browser.cookies)
    assert browser.post("/verify", {**token, "code": code}).location == "/page"
    assert twin.post("/verify", {**token, "code": code}).location is None


def test_ours_is_measured_with_a_hook_that_tells_the_code() -> None:
    with Sandbox() as sandbox:
        sandbox.add_user(EMAIL, name="Ada")
        settings = {"BENCHMARK_API": sandbox.url, "BENCHMARK_HOOK": "yes", "BENCHMARK_PROXY": "yes"}
        with Server("chatbotkit", settings) as server:
            sign_in_over_json(server)
            assert "csrf_token" in form_token(server.browser().get("/auth/sign-in"))


def test_the_load_is_people_who_arrive(installed: Callable[[str], str]) -> None:
    installed("wrk")
    hooks = {"BENCHMARK_HOOK": "yes", "BENCHMARK_PROXY": "yes"}
    with sandbox_apart() as sandbox, Server("chatbotkit", {"BENCHMARK_API": sandbox.url, **hooks}) as server:
        load = sign_in_for(server.port, clients=2, seconds=2)
    assert load.failed == 0
    assert all(0 < each < load.seconds for each in load.waits)


def test_a_load_in_which_nobody_arrives_is_no_figure(installed: Callable[[str], str]) -> None:
    installed("wrk")
    with (
        sandbox_apart() as sandbox,
        Server("chatbotkit", {"BENCHMARK_API": sandbox.url}) as server,  # without the hook, no answer tells the code
        pytest.raises(RuntimeError, match=r"nobody was signed in within 1 seconds, and [1-9]"),
    ):
        sign_in_for(server.port, clients=2, seconds=1)


@pytest.mark.parametrize("cause", OURS)
def test_what_is_counted_apart_is_there(cause: str) -> None:
    found = []
    for name in OURS[cause]:
        module, _, path = name.partition(":")
        with suppress(AttributeError):  # a name that another release has
            found.append(functools.reduce(getattr, path.split("."), import_module(module)))
    assert found
    assert all(map(callable, found))


def test_counting_says_in_one_sentence_what_is_missing() -> None:
    command = [sys.executable, "-m", "benchmarks", "count"]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=DOCS.parent, env={**os.environ, "PATH": ""}
    )
    assert answer.returncode == 1
    assert answer.stderr == "Counting instructions needs valgrind, which is not installed: apt-get install valgrind\n"
    assert answer.stdout == ""
