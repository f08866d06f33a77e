"""Real uWSGI, which forks in C: nobody is answered with another person's session."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import requests

from flask_chatbotkit_auth import User
from flask_chatbotkit_auth.stores import SessionRecord, open_store
from tests.support.kinds import SERVERS
from tests.support.workers import at_once

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
PEOPLE = 12


@contextmanager
def uwsgi(program: str, store_url: str, log: Path, *options: str) -> Iterator[str]:
    """Serve the little application by four workers; give its origin."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [program, "--plugin", "python3", "--http-socket", f"127.0.0.1:{port}", "--master", "--processes", "4"]
    command += [
        "--enable-threads",
        "--die-on-term",
        "--wsgi-file",
        str(Path(__file__).parents[1] / "support/uwsgi_app.py"),
    ]
    path = os.pathsep.join([str(Path(__file__).parents[2]), *(each for each in sys.path if "site-packages" in each)])
    with open(log, "wb") as output:
        environment = {**os.environ, "STORE_URL": store_url, "PYTHONPATH": path}
        process = subprocess.Popen([*command, *options], env=environment, stdout=output, stderr=output)
    try:
        for _ in range(200):
            try:
                requests.get(f"http://127.0.0.1:{port}/nobody", timeout=5)
                break
            except requests.RequestException:
                assert process.poll() is None, log.read_text(errors="replace")[-2000:]
                time.sleep(0.1)  # until it listens
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.mark.parametrize("options", [(), ("--lazy-apps",)], ids=["forked", "lazy"])
@pytest.mark.parametrize("store_url", SERVERS, indirect=True, scope="module")
def test_nobody_is_answered_with_another_persons_session(
    store_url: str, options: tuple[str, ...], uwsgi_program: str, tmp_path: Path
) -> None:
    store = open_store(store_url)
    end = NOW + timedelta(days=1)
    for number in range(PEOPLE):
        user = User(id=f"usr_{number}", email=f"person{number}@example.com")
        store.end_session(f"uwsgi-{number}")
        store.add_session(SessionRecord(f"uwsgi-{number}", user, NOW, NOW, NOW, end, end), now=NOW)
    store.close()
    with uwsgi(uwsgi_program, store_url, tmp_path / "uwsgi.log", *options) as origin:

        def visit(number: int) -> list[list[str]]:
            with requests.Session() as session:
                return [session.get(f"{origin}/uwsgi-{number}", timeout=30).text.split() for _ in range(25)]

        answers = at_once(PEOPLE, visit)
    told = [{each[0] for each in many} for many in answers]
    assert told == [{f"person{number}@example.com"} for number in range(PEOPLE)]
    assert len({each[1] for many in answers for each in many}) > 1
