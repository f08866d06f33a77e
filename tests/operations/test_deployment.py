"""What ``docs/deployment.rst`` says, started and put under a crowd: four workers, real services, everybody at once."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from flask_chatbotkit_auth.stores import open_store
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.servers import Browser, Mailbox, error, gunicorn, mailbox

Result = TypeVar("Result")

OPTIONS = ("--threads", "8")
"""As the page has it, besides ``--workers 4`` and where to listen."""

# One machine signs in a crowd here, so the limit by client is raised; those by address hold.
CROWD = '{"request:ip": "100000/hour", "verify:ip": "100000/hour"}'
UNLIMITED = '{"request:ip": null, "request:email": null, "verify:ip": null, "verify:email": null}'


@dataclass
class Site:
    origin: str
    sandbox: Sandbox
    mailbox: Mailbox


@contextmanager
def _deployed(folder: Path, store_url: str, **settings: str) -> Iterator[Site]:
    with Sandbox(secret="sk-test") as sandbox, mailbox() as box:
        environment = {
            "FLASK_SECRET_KEY": "deployed",
            "FLASK_MAIL_SERVER": "127.0.0.1",
            "FLASK_MAIL_PORT": str(box.port),
            "CHATBOTKIT_API_SECRET": "sk-test",
            "CHATBOTKIT_API_URL": sandbox.url,
            "CHATBOTKIT_AUTH_AUTO_CREATE": "true",
            "CHATBOTKIT_AUTH_STORE_URL": store_url,
            "CHATBOTKIT_AUTH_RATE_LIMITS": CROWD,
            **settings,
        }
        with gunicorn(folder, environment, *OPTIONS) as origin:
            yield Site(origin, sandbox, box)
        assert "Traceback" not in (folder / "gunicorn.log").read_text()


def _at_once(count: int, work: Callable[[int], Result]) -> list[Result]:
    """Return what ``work(0)``, ``work(1)`` … return, all of them started at a barrier."""
    barrier = threading.Barrier(count)

    def run(number: int) -> Result:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def test_two_hundred_people_sign_in_at_once(tmp_path: Path, postgresql_url: str, redis_url: str) -> None:
    with _deployed(tmp_path, postgresql_url, CHATBOTKIT_AUTH_RATE_LIMIT_STORAGE_URI=redis_url) as site:
        run = uuid.uuid4().hex[:8]  # the counts of an earlier run may still be there

        def sign_in(number: int) -> tuple[int, str | None, str]:
            email = f"person{number}-{run}@example.com"
            with Browser(site.origin) as browser:
                assert browser.ask(email).status_code == 200
                answer = browser.verify(site.mailbox.codes(email)[0])
                return answer.status_code, browser.email, browser.get("/dashboard").text

        people = [f"person{number}-{run}@example.com" for number in range(200)]
        assert _at_once(200, sign_in) == [(200, email, f"Hello {email}") for email in people]
        assert sorted(user["email"] for user in site.sandbox.users.values()) == sorted(people)


@pytest.mark.parametrize(
    ("store", "kind"),
    [("sqlite", "partner"), ("postgresql", "contact"), ("mariadb", "partner"), ("redis", "contact")],
)
def test_a_crowd_with_one_address_is_one_person(
    request: pytest.FixtureRequest, tmp_path: Path, store: str, kind: str
) -> None:
    """Twice a hundred at once: one code submitted a hundred times, then a hundred first sign-ins of one address."""
    url = f"sqlite:///{tmp_path}/store.db" if store == "sqlite" else request.getfixturevalue(f"{store}_url")
    run = uuid.uuid4().hex[:8]
    ada, eve = f"ada-{run}@example.com", f"eve-{run}@example.com"
    with _deployed(tmp_path, url, CHATBOTKIT_AUTH_ADAPTER=kind, CHATBOTKIT_AUTH_RATE_LIMITS=UNLIMITED) as site:
        records = site.sandbox.users if kind == "partner" else site.sandbox.contacts

        with Browser(site.origin) as browser:
            browser.ask(ada)
            headers, cookies = {"X-CSRFToken": browser.token()}, browser.cookies
        code = site.mailbox.codes(ada)[0]

        def submit(_: int) -> tuple[int, str]:
            with Browser(site.origin) as twin:
                twin.cookies = cookies
                answer = twin.send("POST", "/auth/verify", json={"code": code}, headers=headers)
                return (200, "") if answer.status_code == 200 else error(answer)

        assert sorted(_at_once(100, submit)) == [(200, ""), *[(400, "no_challenge")] * 99]
        assert [record["email"] for record in records.values()] == [ada]

        browsers = [Browser(site.origin) for _ in range(100)]
        codes, tokens = [], []
        for browser in browsers:
            browser.ask(eve)
            codes.append(site.mailbox.codes(eve)[-1])
            tokens.append(browser.token())

        def arrive(number: int) -> int:
            headers = {"X-CSRFToken": tokens[number]}
            return (
                browsers[number].send("POST", "/auth/verify", json={"code": codes[number]}, headers=headers).status_code
            )

        assert _at_once(100, arrive) == [200] * 100
        assert {browser.email for browser in browsers} == {eve}
        assert sorted(record["email"] for record in records.values()) == [ada, eve]
        for browser in browsers:
            browser.session.close()

        # What the store says; and what is ended here stays in no Redis.
        shared = open_store(url)
        ended = {record["email"]: len(shared.end_sessions(key)) for key, record in records.items()}
        assert ended == {ada: 1, eve: 100}
        shared.close()
