"""``python -m benchmarks.guesses``: how many codes does a guesser get to try, and how likely is one of them right?

Under the default limits, against gunicorn with four workers on SQLite: as fast as they can, clients with addresses of their
own ask for codes and type wrong ones until nothing is compared any more. That is what one window of an hour holds; what
longer times hold follows from it. Windows are fixed, so that an hour may meet the end of one and the beginning of the next.
"""

from __future__ import annotations

import argparse
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from limits import parse_many

from flask_chatbotkit_auth import EmailCodeProvider
from flask_chatbotkit_auth.config import DEFAULT_RATE_LIMITS
from flask_chatbotkit_auth.stores.base import MAX_CODES
from flask_chatbotkit_auth.testing import Sandbox

from .report import show

if TYPE_CHECKING:
    from tests.support.servers import Mailbox


def _compared(origin: str, clients: int, addresses: list[str], challenges: int = 4) -> int:
    """Return how many wrong codes were compared, all clients together, until each of them was stopped.

    :param challenges: how many of them a client begins for an address at most; four are worth it.
    """
    # The application under attack, its mail server and the attackers' browsers are those of the tests.
    from tests.support.servers import Browser, new_client_address

    def attack(client: str) -> int:
        compared = 0
        for address in addresses:
            with Browser(origin, client) as browser:
                # Not once more than it is worth: what is refused counts against the client all the same.
                for _ in range(challenges):
                    if browser.ask(address).status_code != 200:
                        break
                    answers = [browser.verify("zzzzzz").json()["error"]["code"] for _ in range(5)]
                    compared += answers.count("invalid_code")
        return compared

    with ThreadPoolExecutor(4) as pool:
        return sum(pool.map(attack, [new_client_address() for _ in range(clients)]))


def _sign_in(origin: str, box: Mailbox, address: str) -> None:
    from tests.support.servers import Browser

    with Browser(origin) as owner:
        owner.ask(address)
        assert owner.verify(box.codes(address)[-1]).status_code == 200


def _measure(clients: int, addresses: int) -> list[tuple[str, int]]:
    from tests.support.servers import gunicorn, mailbox

    with Sandbox() as sandbox, mailbox() as box, tempfile.TemporaryDirectory() as folder:
        environment: dict[str, str] = {
            "FLASK_SECRET_KEY": "guess",
            "FLASK_MAIL_SERVER": "127.0.0.1",
            "FLASK_MAIL_PORT": str(box.port),
            "CHATBOTKIT_API_SECRET": sandbox.secret,
            "CHATBOTKIT_API_URL": sandbox.url,
            "CHATBOTKIT_AUTH_AUTO_CREATE": "true",
        }
        with gunicorn(Path(folder), environment) as origin:
            many = [f"ada{number}@example.com" for number in range(addresses)]
            beside = _compared(origin, 3, ["owner@example.com"], challenges=1)
            _sign_in(origin, box, "owner@example.com")
            beside += _compared(origin, clients, ["owner@example.com"])
            return [
                (f"{clients} clients, one address", _compared(origin, clients, ["ada@example.com"])),
                (f"{clients} clients, one address whose owner signs in meanwhile", beside),
                (f"one client, {addresses} addresses", _compared(origin, 1, many)),
                (
                    f"{clients} clients, {addresses} other addresses",
                    _compared(origin, clients, [f"x{a}" for a in many]),
                ),
            ]


def bounds(length: int | None = None) -> list[list[str]]:
    """Return, for each span of time, how many wrong codes are compared at most for one address, and the chance to be right.

    Computed from the defaults. The chance is that of one code alive at each guess, and of as many as a challenge can have.

    :param length: of the codes, by default that of the provider.
    """
    provider, rates = EmailCodeProvider(), parse_many(DEFAULT_RATE_LIMITS["verify:email"])
    possible = len(provider.alphabet) ** (length or provider.length)
    hour, day = (rate.amount for rate in sorted(rates, key=lambda rate: rate.get_expiry()))
    counts = [
        ("one challenge", provider.attempts),
        ("an hour", hour),
        ("any 60 minutes, which may meet two windows", 2 * hour),
        ("a day", day),
        ("any 24 hours, which may meet two windows", 2 * day),
        ("30 days without a pause", 30 * day),
        ("a year without a pause", 365 * day),
    ]
    alive = (1, MAX_CODES)
    return [[name, f"{count:,}", *(_chance(count, codes, possible) for codes in alive)] for name, count in counts]


def _chance(count: int, codes: int, possible: int) -> str:
    chance = 1 - (1 - codes / possible) ** count
    return f"{100 * chance:.2g} %"


def run(clients: int = 8, addresses: int = 20) -> None:
    """Measure and print."""
    rows = [[name, str(count)] for name, count in _measure(clients, addresses)]
    show("Wrong codes that were compared within one window", ["guessers", "compared"], rows)
    head = ["in", "guesses at most", "chance, one code alive", f"chance, {MAX_CODES} codes alive"]
    for length in (EmailCodeProvider().length, 8):
        show(f"One address, codes of {length} digits, computed from the limits", head, bounds(length))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guesses", description=__doc__)
    parser.add_argument("--clients", type=int, default=8, help="how many guess at once (default 8)")
    parser.add_argument("--addresses", type=int, default=20, help="at how many addresses (default 20)")
    arguments = parser.parse_args()
    run(arguments.clients, arguments.addresses)
