"""What tells who has an account is hidden in a padded duration: the arithmetic of it, and what is inside."""

from __future__ import annotations

from typing import Any

import pytest
from flask_mail import Message

from flask_chatbotkit_auth import code_sent, pacing
from flask_chatbotkit_auth.mail import smtp
from flask_chatbotkit_auth.pacing import COLD, Pace
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp
from tests.support.steps import ADA, ask

UNKNOWN = "unknown@example.com"


class Stopwatch:
    """Time that passes when told or slept."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    stopwatch = Stopwatch()
    monkeypatch.setattr(pacing, "time", stopwatch)
    return stopwatch


def taken(pace: Pace, stopwatch: Stopwatch, seconds: float, *, sends: bool) -> float:
    start = stopwatch.now
    with pace.padded(sends=sends):
        stopwatch.now += seconds
    return stopwatch.now - start


def test_a_cold_worker_takes_as_long_for_everybody(stopwatch: Stopwatch) -> None:
    pace = Pace()
    assert taken(pace, stopwatch, 0.01, sends=False) == pytest.approx(COLD)
    assert taken(pace, stopwatch, 0.2, sends=True) == pytest.approx(COLD)


def test_a_warm_worker_takes_as_long_as_it_usually_does(stopwatch: Stopwatch) -> None:
    pace = Pace()
    for number in range(64):
        taken(pace, stopwatch, 0.010 + 0.0001 * (number % 10), sends=True)
        taken(pace, stopwatch, 0.002, sends=False)
    known = sorted(taken(pace, stopwatch, 0.010 + 0.0001 * (number % 10), sends=True) for number in range(101))
    unknown = sorted(taken(pace, stopwatch, 0.002, sends=False) for _ in range(101))
    assert known[50] == pytest.approx(unknown[50], rel=0.01)
    assert known[50] < 0.012


def test_both_kinds_take_as_long_as_the_slower_one(stopwatch: Stopwatch) -> None:
    pace = Pace()
    for _ in range(8):
        taken(pace, stopwatch, 0.0025, sends=True)
        taken(pace, stopwatch, 0.106, sends=False)
    assert taken(pace, stopwatch, 0.0025, sends=True) == pytest.approx(0.106)
    assert taken(pace, stopwatch, 0.106, sends=False) == pytest.approx(0.106)


def test_beside_an_own_sender_the_mail_server_is_asked_for_everybody(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, stopwatch: Stopwatch
) -> None:
    # The mail that says that there is no account goes by our mail, and takes the time of that.
    chatbotkit_sandbox.add_user(ADA)
    app = make_app(
        CHATBOTKIT_AUTH_AUTO_CREATE=False, CHATBOTKIT_AUTH_UNKNOWN_USER="mail", MAIL_SERVER="mail.example.com"
    )
    app.extensions["test_auth"].send_verification_request(lambda **_named: None)
    monkeypatch.setattr(smtp, "send", lambda _message: stopwatch.sleep(0.1))
    monkeypatch.setattr(smtp, "rehearse", lambda _message: stopwatch.sleep(0.1))
    app.extensions["chatbotkit_auth"].pace._durations[True].extend([0.0] * 8)
    for email in (ADA, UNKNOWN):
        start = stopwatch.now
        assert ask(app.test_client(), email).status_code == 200
        assert stopwatch.now - start == pytest.approx(0.1)


def test_what_fails_is_padded_as_well(stopwatch: Stopwatch) -> None:
    with pytest.raises(ValueError, match="no"), Pace().padded(sends=True):
        raise ValueError("no")
    assert stopwatch.now == pytest.approx(COLD)


@pytest.mark.parametrize("slow", ["receiver", "sender", "queue", "sign_up"])
def test_receivers_senders_and_queues_run_inside(
    make_app: MakeApp,
    chatbotkit_sandbox: Sandbox,
    chatbotkit_outbox: list[Message],
    stopwatch: Stopwatch,
    slow: str,
) -> None:
    chatbotkit_sandbox.add_user(ADA)
    app = make_app(CHATBOTKIT_AUTH_AUTO_CREATE=slow == "sign_up")
    auth = app.extensions["test_auth"]
    ran: list[object] = []

    def work(*given: Any, **named: Any) -> None:
        stopwatch.now += 0.05
        ran.append(given)

    if slow in ("receiver", "sign_up"):
        code_sent.connect(work, app)
    elif slow == "sender":
        auth.send_verification_request(work)
    else:
        auth.queue_mail(work)
    if slow == "sign_up":
        auth.sign_up_callback(lambda identifier: False)
    medians = []
    for email in (ADA, UNKNOWN):
        durations = []
        for _ in range(40):
            app.extensions["chatbotkit_auth"].limiter.clear("request:email", email)
            app.extensions["chatbotkit_auth"].limiter.clear("request:ip", "127.0.0.1")
            start = stopwatch.now
            assert ask(app.test_client(), email).status_code == 200
            durations.append(stopwatch.now - start)
        medians.append(sorted(durations)[20])
    assert len(ran) == 40
    assert medians[0] == pytest.approx(medians[1], rel=0.05)


@pytest.mark.parametrize("own", ["sender", "queue"])
@pytest.mark.parametrize("mode", ["silent", "mail"])
def test_an_own_sender_or_queue_that_fails_tells_nothing(
    make_app: MakeApp, chatbotkit_sandbox: Sandbox, stopwatch: Stopwatch, own: str, mode: str
) -> None:
    chatbotkit_sandbox.add_user(ADA)
    # A mail server that is down, for what goes by our mail.
    app = make_app(
        CHATBOTKIT_AUTH_AUTO_CREATE=False,
        CHATBOTKIT_AUTH_UNKNOWN_USER=mode,
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=1,
        MAIL_SUPPRESS_SEND=False,
    )

    def fail(*_given: object, **_named: object) -> None:
        raise ValueError("down")

    auth = app.extensions["test_auth"]
    (auth.send_verification_request if own == "sender" else auth.queue_mail)(fail)
    seen = []
    for email in (ADA, UNKNOWN):
        client = app.test_client()
        answer = ask(client, email)
        page = client.get("/auth/verify")
        seen.append((answer.status_code, answer.get_json()["challenge"]["resend_in"], page.status_code))
    assert seen[0] == seen[1] == (200, 30, 200)


def test_with_auto_create_a_failing_sender_is_told(make_app: MakeApp) -> None:
    app = make_app()

    def fail(**_named: object) -> None:
        raise ValueError("down")

    app.extensions["test_auth"].send_verification_request(fail)
    assert ask(app.test_client()).status_code == 503
