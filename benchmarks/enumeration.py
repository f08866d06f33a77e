"""``python -m benchmarks.enumeration``: does the time of an answer tell who has an account?

Auto create is off. Addresses with an account, without one, with one that was deleted, and with one that may not sign in ask
for a code, type a wrong one and ask for another, in turns and over and over; the API takes 50 ms a call and the mail server
200 ms a mail. Then the same where code of the application's own runs: a receiver, a sender, a queue that fails, a
``sign_up_callback``, and in a worker that has just begun. Printed are the medians and how far each is from that of the
address with an account (DESIGN, section 5: less than 5 %).
"""

from __future__ import annotations

import argparse
import asyncio
import random
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from statistics import median

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from flask import Flask
from flask.testing import FlaskClient

from flask_chatbotkit_auth import ChatBotKitAuth, MemoryStore, code_sent
from flask_chatbotkit_auth.testing import Sandbox

from .report import milliseconds, show

PEOPLE = ("existing", "unknown", "deleted", "denied")
STEPS = ("request", "verify", "resend")
HEAD = ["step or case", "address", "median", "against existing"]
API_LATENCY = 0.05
MAIL_LATENCY = 0.2
RECEIVER = 0.015
AT_ONCE = 4


class SlowMailServer:
    """Takes every mail, and its time over it: all of it after the last line, or a share after each command."""

    def __init__(self, *, spread: bool) -> None:
        self._command, self._end = (MAIL_LATENCY / 4, MAIL_LATENCY / 4) if spread else (0.0, MAIL_LATENCY)

    async def handle_EHLO(
        self, _server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        await asyncio.sleep(self._command)
        return responses

    async def handle_MAIL(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        await asyncio.sleep(self._command)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        await asyncio.sleep(self._command)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, _session: Session, _envelope: Envelope) -> str:
        await asyncio.sleep(self._end)
        return "250 OK"


@contextmanager
def _mail_server(*, spread: bool) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
    controller = Controller(SlowMailServer(spread=spread), hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def _shop(sandbox: Sandbox, mail_port: int, unknown_user: str, case: str = "") -> Flask:
    app = Flask("shop")
    app.config.update(
        SECRET_KEY="not a secret",
        MAIL_SERVER="127.0.0.1",
        MAIL_PORT=mail_port,
        CHATBOTKIT_API_SECRET=sandbox.secret,
        CHATBOTKIT_API_URL=sandbox.url,
        CHATBOTKIT_AUTH_UNKNOWN_USER=unknown_user,
        CHATBOTKIT_AUTH_AUTO_CREATE=case == "a sign_up_callback that refuses",
        CHATBOTKIT_AUTH_RESEND_COOLDOWN=0,
        CHATBOTKIT_AUTH_RATE_LIMITS=dict.fromkeys(("request:email", "request:ip", "verify:email", "verify:ip")),
    )
    auth = ChatBotKitAuth(app, store=MemoryStore())
    auth.sign_in_callback(lambda identifier, user: not identifier.startswith("denied"))
    if case:
        CASES[case](app, auth)
    for person in PEOPLE:
        if person != "unknown" and not any(each["email"].startswith(person) for each in sandbox.users.values()):
            sandbox.add_user(f"{person}@example.com")
    return app


def _slow_receiver(app: Flask, _auth: ChatBotKitAuth) -> None:
    def hear(_app: object) -> None:
        time.sleep(RECEIVER)

    code_sent.connect(hear, app, weak=False)


def _own_sender(_app: Flask, auth: ChatBotKitAuth) -> None:
    auth.send_verification_request(lambda: time.sleep(MAIL_LATENCY / 2))


def _failing_queue(_app: Flask, auth: ChatBotKitAuth) -> None:
    def fail(_message: object) -> None:
        raise OSError

    auth.queue_mail(fail)


def _refusing_sign_up(_app: Flask, auth: ChatBotKitAuth) -> None:
    auth.sign_up_callback(lambda identifier: False)


CASES: dict[str, Callable[[Flask, ChatBotKitAuth], None]] = {
    "a receiver of code_sent that takes 15 ms": _slow_receiver,
    "an own sender beside MAIL_SERVER": _own_sender,
    "a queue that fails": _failing_queue,
    "a sign_up_callback that refuses": _refusing_sign_up,
}
"""Where only the waiting time could tell, since the application's own code runs for some people and not for others."""


def measure_case(case: str, tries: int, unknown_user: str) -> dict[str, list[float]]:
    """Return how many seconds asking for a code took, by person."""
    took: dict[str, list[float]] = defaultdict(list)
    with Sandbox(latency=API_LATENCY) as sandbox, _mail_server(spread=False) as port:
        app = _shop(sandbox, port, unknown_user, case)
        _forget_deleted(sandbox)
        for _ in range(3):  # a worker that has sent no mail yet knows no time to take
            _ask(app, "existing", [])
        order = [person for _ in range(tries) for person in PEOPLE]
        random.shuffle(order)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda person: _ask(app, person, took[person]), order))
    return took


def measure_cold(tries: int) -> dict[str, list[float]]:
    """Return how many seconds the first request of a worker took, by person."""
    took: dict[str, list[float]] = defaultdict(list)
    with Sandbox(latency=API_LATENCY) as sandbox, _mail_server(spread=False) as port:
        for _ in range(tries):
            for person in random.sample(PEOPLE, len(PEOPLE)):
                app = _shop(sandbox, port, "silent")
                _forget_deleted(sandbox)
                _ask(app, person, took[person])
    return took


def _ask(app: Flask, person: str, took: list[float]) -> None:
    client = app.test_client()
    token = client.get("/auth/session").get_json()["csrf_token"]
    start = time.perf_counter()
    client.post("/auth/sign-in", json={"email": f"{person}@example.com"}, headers={"X-CSRFToken": token})
    took.append(time.perf_counter() - start)


def _forget_deleted(sandbox: Sandbox) -> None:
    for key, record in list(sandbox.users.items()):
        if record["email"].startswith("deleted"):
            del sandbox.users[key]


def run_cases(tries: int) -> None:
    """Measure and print the cases where only the waiting time could tell."""
    measured = {case: measure_case(case, tries, "mail" if "sender" in case else "silent") for case in CASES}
    measured["the first request of a worker"] = measure_cold(max(8, tries // 3))
    rows = []
    for case, took in measured.items():
        usual = median(took["existing"])
        for person in PEOPLE:
            mine = median(took[person])
            rows.append([case, person, milliseconds(mine), f"{100 * (mine / usual - 1):+.1f} %"])
    show(f"Asking for a code, where the application's own code runs; {tries} tries each", HEAD, rows)


def measure(tries: int, unknown_user: str, *, spread: bool) -> dict[tuple[str, str], list[float]]:
    """Return how many seconds each answer took, by step and person."""
    took: dict[tuple[str, str], list[float]] = defaultdict(list)
    with Sandbox(latency=API_LATENCY) as sandbox, _mail_server(spread=spread) as port:
        app = _shop(sandbox, port, unknown_user)
        _forget_deleted(sandbox)

        def post(browser: tuple[str, FlaskClient, str], step: str) -> None:
            person, client, token = browser
            body = {"request": {"email": f"{person}@example.com"}, "verify": {"code": "zzzzzz"}, "resend": {}}[step]
            path = "/auth/sign-in" if step == "request" else f"/auth/{step}"
            start = time.perf_counter()
            client.post(path, json=body, headers={"X-CSRFToken": token})
            took[step, person].append(time.perf_counter() - start)

        def browser(person: str) -> tuple[str, FlaskClient, str]:
            client = app.test_client()
            return person, client, client.get("/auth/session").get_json()["csrf_token"]

        post(browser("existing"), "request")  # a worker that has sent no mail yet knows no time to take
        took.clear()
        browsers = [browser(person) for _ in range(tries) for person in PEOPLE]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(lambda each: post(each, "request"), browsers))
            # Alone: an answer of a millisecond is no measure while others wait for theirs.
            # Four of the five tries that each challenge has, each time in another order.
            for _ in range(4):
                random.shuffle(browsers)
                for each in browsers:
                    post(each, "verify")
            list(pool.map(lambda each: post(each, "resend"), browsers))
    return took


def run(tries: int = 200) -> None:
    """Measure and print."""
    for spread in (False, True):
        for unknown_user in ("silent", "mail"):
            took = measure(tries, unknown_user, spread=spread)
            rows = []
            for step in STEPS:
                usual = median(took[step, "existing"])
                for person in PEOPLE:
                    mine = median(took[step, person])
                    rows.append([step, person, milliseconds(mine), f"{100 * (mine / usual - 1):+.1f} %"])
            where = "a share after each command" if spread else "all after the last line"
            title = f'UNKNOWN_USER="{unknown_user}", the mail server takes {where}; {tries} tries each'
            show(title, HEAD, rows)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.enumeration", description=__doc__)
    parser.add_argument("--tries", type=int, default=200, help="of each address in each mode (default 200)")
    parser.add_argument("--cases", action="store_true", help="only where the application's own code runs")
    arguments = parser.parse_args()
    if not arguments.cases:
        run(arguments.tries)
    run_cases(arguments.tries)
