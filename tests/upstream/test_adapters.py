from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from flask_chatbotkit_auth import (
    APIError,
    APIStatusError,
    ChatBotKitClient,
    Conflict,
    ContactAdapter,
    NotFound,
    PartnerAdapter,
    SignInDenied,
    SignUpDisabled,
    User,
    UserAdapter,
)
from flask_chatbotkit_auth.testing import Sandbox

ADA = "ada@example.com"

MakeAdapter = Callable[..., UserAdapter]


@pytest.fixture(params=["partner", "contact"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def make_adapter(kind: str, chatbotkit_sandbox: Sandbox) -> MakeAdapter:
    adapters = {"partner": PartnerAdapter, "contact": ContactAdapter}

    def make(**switches: bool) -> UserAdapter:
        client = ChatBotKitClient("sk-test", chatbotkit_sandbox.url, retries=0, sleep=lambda seconds: None)
        return adapters[kind](client, **switches)

    return make


def _calls(sandbox: Sandbox) -> list[str]:
    return [call.path.removeprefix("/api/v1") for call in sandbox.requests]


def _records(sandbox: Sandbox, kind: str) -> dict[str, dict[str, Any]]:
    return sandbox.users if kind == "partner" else sandbox.contacts


def _add(sandbox: Sandbox, kind: str, email: str, **fields: Any) -> dict[str, Any]:
    if kind == "partner":
        return sandbox.add_user(email, **fields)
    return sandbox.add_contact(email, **{"meta": {"email": email}, "verifiedAt": 1, **fields})


def test_create_get_update_list_delete(make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, kind: str) -> None:
    adapter = make_adapter()
    made = adapter.create(ADA, name="Ada", image="https://example.com/a.png", meta={"plan": "pro"})
    assert (made.email, made.name, made.image, made.kind) == (ADA, "Ada", "https://example.com/a.png", kind)
    found = adapter.get(made.id)
    assert found is not None
    assert (found.id, found.email, found.name, found.image, found.kind) == (made.id, ADA, "Ada", made.image, kind)
    assert found.created_at is not None
    changed = adapter.update(made.id, name="Ada L.", meta={"seats": 3})
    assert changed.name == "Ada L."
    assert changed.image == made.image
    assert (changed.meta["plan"], changed.meta["seats"]) == ("pro", 3)
    assert [user.id for user in adapter.list()] == [made.id]
    adapter.delete(made.id)
    adapter.delete(made.id)
    assert adapter.get(made.id) is None
    assert adapter.get_by_email(ADA) is None
    assert _records(chatbotkit_sandbox, kind) == {}


def test_an_existing_account_costs_one_call(make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, kind: str) -> None:
    record = _add(chatbotkit_sandbox, kind, ADA, name="Ada")
    user = make_adapter(auto_create=True).resolve(ADA)[0]
    assert (user.id, user.email, user.name) == (record["id"], ADA, "Ada")
    assert len(chatbotkit_sandbox.requests) == 1


def test_a_new_account_costs_two_calls(make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, kind: str) -> None:
    user, created = make_adapter(auto_create=True).resolve(ADA)
    assert created
    assert user.email_verified is not None
    assert _records(chatbotkit_sandbox, kind)[user.id]["email"] == ADA
    expected = ["/user/list", "/user/create"] if kind == "partner" else ["/contact/list", "/contact/create"]
    assert _calls(chatbotkit_sandbox) == expected


def test_an_account_made_here_needs_nothing_at_its_next_sign_in(
    make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    adapter = make_adapter(auto_create=True)
    adapter.resolve(ADA)[0]
    chatbotkit_sandbox.requests.clear()
    adapter.resolve(ADA)[0]
    assert len(chatbotkit_sandbox.requests) == 1


def test_without_auto_create_an_unknown_person_is_refused(
    make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, kind: str
) -> None:
    with pytest.raises(SignUpDisabled):
        make_adapter().resolve(ADA)[0]
    assert _records(chatbotkit_sandbox, kind) == {}


def test_a_filter_that_is_ignored_opens_no_other_account(
    make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, kind: str
) -> None:
    chatbotkit_sandbox.ignore_filters = True
    chatbotkit_sandbox.page_size = 3
    for number in range(10):
        _add(chatbotkit_sandbox, kind, f"other{number}@example.com")
    adapter = make_adapter()
    assert adapter.get_by_email(ADA) is None
    record = _add(chatbotkit_sandbox, kind, ADA)
    for number in range(10, 20):
        _add(chatbotkit_sandbox, kind, f"other{number}@example.com")
    found = adapter.get_by_email(ADA)
    assert found is not None
    assert found.id == record["id"]


def test_one_hundred_at_once_get_one_account(make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, kind: str) -> None:
    adapter = make_adapter(auto_create=True)
    barrier = threading.Barrier(100)
    ids: list[str] = []

    def arrive() -> None:
        barrier.wait()
        ids.append(adapter.resolve(ADA)[0].id)

    threads = [threading.Thread(target=arrive) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ids) == 100
    assert set(ids) == set(_records(chatbotkit_sandbox, kind))
    assert len(set(ids)) == 1


def test_an_answer_about_another_account_is_no_answer(
    make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, kind: str
) -> None:
    adapter = make_adapter()
    ada, eve = (_add(chatbotkit_sandbox, kind, each) for each in (ADA, "eve@example.com"))
    chatbotkit_sandbox.fail("*/fetch", body=json.dumps(eve))
    with pytest.raises(APIError, match="another account"):
        adapter.get(ada["id"])
    with pytest.raises(APIError, match="another account"):
        adapter.update(ada["id"], name="Ada")


def test_blank_fields_of_an_answer_are_none(make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, kind: str) -> None:
    _add(chatbotkit_sandbox, kind, ADA, name="")
    user = make_adapter().get_by_email(ADA)
    assert user is not None
    assert (user.name, user.image) == (None, None)


def test_an_address_in_other_case_upstream_is_the_same_person(
    make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, kind: str
) -> None:
    chatbotkit_sandbox.ignore_filters = True
    record = _add(chatbotkit_sandbox, kind, "Ada@Example.com")
    user = make_adapter().get_by_email(ADA)
    assert user is not None
    assert (user.id, user.email) == (record["id"], ADA)


@pytest.mark.parametrize("id", ["", ".", "..", "../contact", "a/../../contact"])
def test_an_id_never_reaches_another_path(make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, id: str) -> None:
    assert make_adapter().get(id) is None
    for write in (make_adapter().delete, make_adapter().update):
        with pytest.raises(APIError):
            write(id)
    assert chatbotkit_sandbox.requests == []


@pytest.mark.parametrize(
    "body", ["{}", '{"id": ""}', '{"id": 7}', '{"id": "a\\nsigned in: user b"}', f'{{"id": "{"x" * 192}"}}']
)
def test_an_answer_without_an_id_is_an_api_error(
    make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, body: str
) -> None:
    chatbotkit_sandbox.fail("*/create", body=body)
    chatbotkit_sandbox.fail("*/ensure", body=body)
    with pytest.raises(APIError, match="without an id"):
        make_adapter(auto_create=True).resolve(ADA)[0]


def test_refusing_before_creation_makes_nothing(
    make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, kind: str
) -> None:
    def refuse(user: User | None) -> None:
        assert user is None
        raise SignInDenied

    with pytest.raises(SignInDenied):
        make_adapter(auto_create=True).resolve(ADA, refuse)
    assert _records(chatbotkit_sandbox, kind) == {}


def test_updating_what_is_gone_is_not_found(make_adapter: MakeAdapter) -> None:
    with pytest.raises(NotFound):
        make_adapter().update("gone", name="Ada")


@pytest.mark.parametrize("status", [403, 404])
def test_a_page_of_something_else_says_nothing_about_an_account(
    make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox, status: int
) -> None:
    chatbotkit_sandbox.fail("*/fetch", status=status, body="<html>gateway</html>")
    with pytest.raises(APIStatusError):
        make_adapter().get("u1")


def test_somebody_elses_account_is_no_account(make_adapter: MakeAdapter, chatbotkit_sandbox: Sandbox) -> None:
    chatbotkit_sandbox.fail("*/fetch", status=403)
    assert make_adapter().get("foreign") is None


# Partner


@pytest.fixture
def partner(chatbotkit_sandbox: Sandbox) -> PartnerAdapter:
    return PartnerAdapter(ChatBotKitClient("sk-test", chatbotkit_sandbox.url, retries=0), auto_create=True)


def test_a_partner_made_by_an_administrator_has_proved_nothing(partner: PartnerAdapter) -> None:
    assert partner.create(ADA).email_verified is None
    assert partner.resolve("eve@example.com")[0].email_verified is not None


def test_partner_conflict_looks_up_who_was_first(chatbotkit_sandbox: Sandbox, partner: PartnerAdapter) -> None:
    record = chatbotkit_sandbox.add_user(ADA)
    chatbotkit_sandbox.fail("*/user/list", body='{"items": [], "cursor": ""}', times=1)
    user, created = partner.resolve(ADA)
    assert (user.id, created) == (record["id"], False)
    assert _calls(chatbotkit_sandbox) == ["/user/list", "/user/create", "/user/list"]


def test_partner_conflict_with_nobody_there_is_an_error(chatbotkit_sandbox: Sandbox, partner: PartnerAdapter) -> None:
    chatbotkit_sandbox.fail("*/user/create", status=409)
    with pytest.raises(Conflict):
        partner.resolve(ADA)


def test_partner_sign_in_changes_nothing_upstream(chatbotkit_sandbox: Sandbox, partner: PartnerAdapter) -> None:
    record = chatbotkit_sandbox.add_user(ADA, name="Ada", image="https://example.com/a.png", meta={"plan": "pro"})
    before = dict(record)
    partner.resolve(ADA)[0]
    assert chatbotkit_sandbox.users[record["id"]] == before


def test_partner_on_a_deployment_with_the_older_name() -> None:
    with Sandbox(secret="sk-test", knows=("partner/user",)) as sandbox:
        adapter = PartnerAdapter(ChatBotKitClient("sk-test", sandbox.url), auto_create=True)
        user = adapter.resolve(ADA)[0]
        sandbox.requests.clear()
        assert adapter.get(user.id) == user
        assert [call.path for call in sandbox.requests] == [f"/api/v1/partner/user/{user.id}/fetch"]


# Contact


@pytest.fixture
def contact(chatbotkit_sandbox: Sandbox) -> ContactAdapter:
    return ContactAdapter(ChatBotKitClient("sk-test", chatbotkit_sandbox.url, retries=0), auto_create=True)


def test_a_contact_of_the_node_adapter_is_adopted(chatbotkit_sandbox: Sandbox, contact: ContactAdapter) -> None:
    record = chatbotkit_sandbox.add_contact(
        ADA, name="Ada", meta={"email": ADA, "image": "https://example.com/a.png", "own": 1}
    )
    user = contact.resolve(ADA)[0]
    assert (user.id, user.name, user.image) == (record["id"], "Ada", "https://example.com/a.png")
    assert user.email_verified is not None
    assert len(chatbotkit_sandbox.contacts) == 1
    assert _calls(chatbotkit_sandbox) == ["/contact/list", f"/contact/{record['id']}/update"]
    now = chatbotkit_sandbox.contacts[record["id"]]
    assert now["verifiedAt"]
    assert (now["name"], now["meta"]) == ("Ada", {"email": ADA, "image": "https://example.com/a.png", "own": 1})


@pytest.mark.parametrize("meta", [{}, {"email": ""}, {"email": "wrong@example.com"}, {"email": 5}])
def test_a_blank_or_wrong_meta_email_is_healed(
    chatbotkit_sandbox: Sandbox, contact: ContactAdapter, meta: dict[str, Any]
) -> None:
    chatbotkit_sandbox.ignore_filters = True
    record = chatbotkit_sandbox.add_contact(ADA, meta={**meta, "own": 1}, verifiedAt=5)
    user = contact.resolve(ADA)[0]
    assert chatbotkit_sandbox.contacts[record["id"]]["meta"] == {"email": ADA, "own": 1}
    assert user.meta["email"] == ADA
    assert chatbotkit_sandbox.contacts[record["id"]]["verifiedAt"] == 5


def test_without_auto_update_nothing_is_written(chatbotkit_sandbox: Sandbox) -> None:
    client = ChatBotKitClient("sk-test", chatbotkit_sandbox.url)
    chatbotkit_sandbox.add_contact(ADA, meta={"email": ADA})
    assert ContactAdapter(client, auto_update=False).resolve(ADA)[0].email == ADA
    assert _calls(chatbotkit_sandbox) == ["/contact/list"]


def test_a_contact_whose_own_email_is_another_is_not_taken(
    chatbotkit_sandbox: Sandbox, contact: ContactAdapter
) -> None:
    foreign = chatbotkit_sandbox.add_contact("eve@example.com", meta={"email": ADA})
    assert contact.resolve(ADA)[0].id != foreign["id"]


def test_of_several_contacts_it_is_always_the_oldest(chatbotkit_sandbox: Sandbox, contact: ContactAdapter) -> None:
    records = [chatbotkit_sandbox.add_contact(ADA, meta={"email": ADA}, verifiedAt=5) for _ in range(3)]
    assert {contact.resolve(ADA)[0].id for _ in range(3)} == {records[0]["id"]}


def test_a_failed_note_upstream_keeps_nobody_out(chatbotkit_sandbox: Sandbox, contact: ContactAdapter) -> None:
    record = chatbotkit_sandbox.add_contact(ADA, meta={"email": ADA})
    chatbotkit_sandbox.fail("*/update", status=500)
    user = contact.resolve(ADA)[0]
    assert user.id == record["id"]
    assert user.email_verified is None


def test_a_contact_update_keeps_the_picture_in_meta(chatbotkit_sandbox: Sandbox, contact: ContactAdapter) -> None:
    made = contact.create(ADA)
    user = contact.update(made.id, image="https://example.com/b.png")
    assert user.image == "https://example.com/b.png"
    assert chatbotkit_sandbox.contacts[made.id]["meta"] == {"email": ADA, "image": "https://example.com/b.png"}
    assert contact.update(made.id, image=None).image is None


def test_the_fingerprint_is_the_address_alone(contact: ContactAdapter) -> None:
    assert contact.fingerprint(ADA) == contact.fingerprint(ADA)
    assert contact.fingerprint(ADA) != contact.fingerprint("eve@example.com")
    assert len(contact.fingerprint(ADA)) >= 17


def test_a_subclass_may_have_fingerprints_of_its_own(chatbotkit_sandbox: Sandbox, contact: ContactAdapter) -> None:
    class Own(ContactAdapter):
        def fingerprint(self, email: str) -> str:
            return f"made of {email}".ljust(17)

    user, _ = Own(contact.client, auto_create=True).resolve(ADA)
    assert chatbotkit_sandbox.contacts[user.id]["fingerprint"] == f"made of {ADA}"
