"""Nothing of anybody's ``meta`` is lost, whoever writes and whatever the deployment knows."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flask_chatbotkit_auth import APIError, ChatBotKitClient, ContactAdapter, PartnerAdapter, UserAdapter
from flask_chatbotkit_auth.testing import Sandbox

ADA = "ada@example.com"
META = {"email": ADA, "image": "https://example.com/a.png", "plan": "pro", "crm": {"id": 7}}


@pytest.fixture(params=["partner", "contact"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def adapter(chatbotkit_sandbox: Sandbox, kind: str) -> UserAdapter:
    client = ChatBotKitClient("sk-test", chatbotkit_sandbox.url, retries=0)
    return {"partner": PartnerAdapter, "contact": ContactAdapter}[kind](client, auto_create=True)


def _add(sandbox: Sandbox, kind: str, **fields: Any) -> dict[str, Any]:
    if kind == "partner":
        return sandbox.add_user(ADA, **{"meta": dict(META), **fields})
    return sandbox.add_contact(ADA, **{"meta": dict(META), "verifiedAt": 1, **fields})


def _writes(sandbox: Sandbox) -> list[Any]:
    return [call.json for call in sandbox.requests if call.path.endswith("/update")]


@pytest.mark.parametrize("knows_update", [True, False])
def test_an_update_changes_what_it_names_and_keeps_the_rest(
    adapter: UserAdapter, chatbotkit_sandbox: Sandbox, kind: str, knows_update: bool
) -> None:
    chatbotkit_sandbox.knows_update = knows_update
    record = _add(chatbotkit_sandbox, kind, meta={**META, "verifiedAt": 5})
    for plan in ("free", "team", "pro"):
        user = adapter.update(record["id"], meta={"plan": plan, "theme": "dark"})
        assert user.meta == record["meta"] == {**META, "verifiedAt": 5, "plan": plan, "theme": "dark"}
    assert adapter.get_by_email(ADA) is not None


def test_every_write_is_an_update_and_the_first_one_is_looked_at(
    adapter: UserAdapter, chatbotkit_sandbox: Sandbox, kind: str
) -> None:
    record = _add(chatbotkit_sandbox, kind)
    for _ in range(2):
        chatbotkit_sandbox.requests.clear()
        adapter.update(record["id"], meta={"plan": "free"})
    assert _writes(chatbotkit_sandbox) == [{"meta": {"$update": {"plan": "free"}}}]
    assert len(chatbotkit_sandbox.requests) == 2


def test_a_server_that_does_not_know_update_is_noticed_once_and_remembered(
    adapter: UserAdapter, chatbotkit_sandbox: Sandbox, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    chatbotkit_sandbox.knows_update = False
    record = _add(chatbotkit_sandbox, kind)
    with caplog.at_level(logging.WARNING, "flask_chatbotkit_auth"):
        for _ in range(3):
            chatbotkit_sandbox.requests.clear()
            adapter.update(record["id"], meta={"plan": "free"})
    assert _writes(chatbotkit_sandbox) == [{"meta": {**META, "plan": "free"}}]
    assert len([each for each in caplog.records if "meta.$update" in each.message]) == 1


def test_an_outage_in_the_middle_of_the_first_write_loses_nothing(
    adapter: UserAdapter, chatbotkit_sandbox: Sandbox, kind: str
) -> None:
    chatbotkit_sandbox.knows_update = False
    record = _add(chatbotkit_sandbox, kind)
    written = chatbotkit_sandbox.route  # the second fetch, the one after the write, fails
    before = dict(record)
    fetched = []

    def fetch(request: Any, id: str) -> Any:
        fetched.append(id)
        return before if len(fetched) == 1 else ({"code": "GENERIC_ERROR", "message": "away"}, 500)

    resource = "user" if kind == "partner" else "contact"
    written("GET", f"/{resource}/{{id}}/fetch", fetch)
    with pytest.raises(APIError):
        adapter.update(record["id"], meta={"plan": "free"})
    assert record["meta"] == {**META, "plan": "free"}


@pytest.mark.parametrize("key", ["_x", "-x", "$update", "", "é", " x"])
def test_a_key_that_would_be_lost_is_refused_before_anything_is_sent(
    adapter: UserAdapter, chatbotkit_sandbox: Sandbox, kind: str, key: str
) -> None:
    record = _add(chatbotkit_sandbox, kind)
    with pytest.raises(ValueError, match="begin with a letter or a digit"):
        adapter.update(record["id"], meta={key: 1})
    with pytest.raises(ValueError, match="begin with a letter or a digit"):
        adapter.create("eve@example.com", meta={key: 1})
    assert record["meta"] == META
    assert not any(call.method == "POST" for call in chatbotkit_sandbox.requests)


def test_names_and_pictures_are_blanked_by_none_and_by_nothing(
    adapter: UserAdapter, chatbotkit_sandbox: Sandbox, kind: str
) -> None:
    for blank in (None, ""):
        record = adapter.create(f"{kind}{blank}@example.com", name="Ada", image="https://example.com/a.png")
        user = adapter.update(record.id, name=blank, image=blank)
        assert (user.name, user.image) == (None, None)


def test_a_sign_in_of_a_contact_adds_what_is_missing_alone(chatbotkit_sandbox: Sandbox) -> None:
    adapter = ContactAdapter(ChatBotKitClient("sk-test", chatbotkit_sandbox.url))
    record = chatbotkit_sandbox.add_contact(ADA, name="Ada", meta=dict(META))
    adapter.resolve(ADA)
    assert record["verifiedAt"] > 1
    assert (record["name"], record["meta"]) == ("Ada", META)
