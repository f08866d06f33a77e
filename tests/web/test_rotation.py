"""A new SECRET_KEY while people sign in: workers of before and after, each with the other's key as a fallback."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from flask_mail import Message
from itsdangerous import URLSafeTimedSerializer
from werkzeug.test import TestResponse

from flask_chatbotkit_auth.testing.plugin import read_code
from tests.support.sites import Worker, copy_of
from tests.support.steps import ADA

pytestmark = pytest.mark.skipif(version("flask") < "3.1", reason="Flask reads no fallback keys before 3.1")

BEFORE = {"SECRET_KEY": "old", "SECRET_KEY_FALLBACKS": ["new"]}
AFTER = {"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": ["old"]}
SITE = "https://localhost"


def field(page: TestResponse) -> str:
    found = re.search('name="csrf_token" value="([^"]+)"', page.text)
    assert found is not None
    return found[1]


def send(
    client: FlaskClient, shown_by: Flask, taken_by: Flask, page: str, to: str, **form: str
) -> tuple[FlaskClient, TestResponse]:
    """Have one worker show a form, and another one take it; return the browser and the answer."""
    client = copy_of(client, shown_by)
    token = field(client.get(page, base_url=SITE))
    client = copy_of(client, taken_by)
    # An old browser, of which only token and Referer are known.
    answer = client.post(to, data={"csrf_token": token, **form}, base_url=SITE, headers={"Referer": f"{SITE}{page}"})
    return client, answer


@pytest.mark.parametrize("later", [False, True], ids=["to a worker of after", "to a worker of before"])
def test_forms_pass_between_workers_of_before_and_after(
    worker: Worker, chatbotkit_outbox: list[Message], later: bool
) -> None:
    old, new = worker(**BEFORE), worker(**AFTER)
    shows, takes = (new, old) if later else (old, new)
    client, asked = send(old.test_client(), shows, takes, "/auth/sign-in", "/auth/sign-in", email=ADA)
    assert (asked.status_code, asked.location) == (303, "/auth/verify")
    client, _ = send(client, shows, takes, "/auth/verify", "/auth/verify", code=read_code(chatbotkit_outbox[0]))
    assert client.get("/dashboard", base_url=SITE).text == f"Hello {ADA}"
    client, left = send(client, shows, takes, "/auth/sign-out", "/auth/sign-out")
    assert left.status_code == 303
    assert client.get("/dashboard", base_url=SITE).status_code == 302


def test_json_passes_between_workers_of_before_and_after(worker: Worker) -> None:
    old, new = worker(**BEFORE), worker(**AFTER)
    client = new.test_client()
    token = client.get("/auth/session").get_json()["csrf_token"]
    moved = copy_of(client, old)
    assert moved.post("/auth/sign-in", json={"email": ADA}, headers={"X-CSRFToken": token}).status_code == 200


@pytest.mark.parametrize(
    "config", [AFTER, {**AFTER, "WTF_CSRF_SECRET_KEY": "forms"}], ids=["fallbacks", "a key of its own"]
)
def test_a_token_under_no_key_of_ours_is_refused(worker: Worker, config: dict[str, Any]) -> None:
    client = worker(**config).test_client()
    client.get("/auth/sign-in")
    with client.session_transaction() as session:
        secret = session["csrf_token"]
    keys = {"stolen": 403, "old": 403 if "WTF_CSRF_SECRET_KEY" in config else 200}
    for key, status in keys.items():
        token = URLSafeTimedSerializer(key, salt="wtf-csrf-token").dumps(secret)
        answer = client.post("/auth/sign-in", json={"email": ADA}, headers={"X-CSRFToken": token})
        assert answer.status_code == status, key
    token = field(client.get("/auth/sign-in"))
    assert client.post("/auth/sign-in", data={"csrf_token": token, "email": ADA}).status_code == 303
