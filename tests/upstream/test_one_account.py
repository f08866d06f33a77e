"""One person, one account: whatever way it was found, it is fetched, held against the address, approved and refined."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flask_chatbotkit_auth import (
    APIError,
    APIStatusError,
    ChatBotKitClient,
    Conflict,
    ContactAdapter,
    EmailTaken,
    InvalidEmail,
    PartnerAdapter,
    SignInDenied,
    User,
    UserAdapter,
)
from flask_chatbotkit_auth.testing import Sandbox
from flask_chatbotkit_auth.upstream.adapters.contact import FINGERPRINTS

ADA, EVE = "ada@example.com", "eve@example.com"


@pytest.fixture
def client(chatbotkit_sandbox: Sandbox) -> ChatBotKitClient:
    return ChatBotKitClient("sk-test", chatbotkit_sandbox.url, retries=0, sleep=lambda seconds: None)


@pytest.fixture
def contact(client: ChatBotKitClient) -> ContactAdapter:
    return ContactAdapter(client, auto_create=True)


@pytest.fixture
def partner(client: ChatBotKitClient) -> PartnerAdapter:
    return PartnerAdapter(client, auto_create=True)


@pytest.fixture(params=["partner", "contact"])
def adapter(request: pytest.FixtureRequest) -> UserAdapter:
    found: UserAdapter = request.getfixturevalue(request.param)
    return found


class Gate:
    """An application's ``sign_in_callback``: it remembers whom it saw, and refuses the suspended."""

    def __init__(self) -> None:
        self.seen: list[User | None] = []

    def __call__(self, user: User | None) -> None:
        self.seen.append(user)
        if user is not None and user.meta.get("suspended"):
            raise SignInDenied


def _calls(sandbox: Sandbox) -> list[str]:
    return [call.path.removeprefix("/api/v1") for call in sandbox.requests]


# Contacts that were there before


def test_a_contact_that_moved_elsewhere_stays_its_new_owners(
    contact: ContactAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    moved = chatbotkit_sandbox.add_contact(
        EVE, fingerprint=contact.fingerprint(ADA), meta={"email": EVE}, verifiedAt=1, name="Eve"
    )
    user, created = contact.resolve(ADA)
    assert (user.id != moved["id"], user.email, user.name, created) == (True, ADA, None, True)
    assert contact.resolve(ADA)[0].id == user.id
    assert contact.resolve(EVE)[0].id == moved["id"]
    assert len(chatbotkit_sandbox.contacts) == 2


def test_a_contact_whose_meta_was_blanked_is_found_whole_and_healed(
    contact: ContactAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    blanked = chatbotkit_sandbox.add_contact(
        ADA,
        fingerprint=contact.fingerprint(ADA),
        name="Ada",
        createdAt=5,
        verifiedAt=6,
        meta={"email": "", "image": "https://example.com/a.png", "plan": "pro"},
    )
    gate = Gate()
    user, created = contact.resolve(ADA, gate)
    assert (user.id, created, user.name, user.image) == (blanked["id"], False, "Ada", "https://example.com/a.png")
    assert (user.created_at, user.email_verified) != (None, None)
    assert user.created_at is not None
    assert user.created_at.timestamp() == 0.005
    assert [None if seen is None else seen.meta.get("plan") for seen in gate.seen] == [None, "pro"]
    assert blanked["meta"] == {"email": ADA, "image": "https://example.com/a.png", "plan": "pro"}
    chatbotkit_sandbox.requests.clear()
    contact.resolve(ADA)
    assert _calls(chatbotkit_sandbox) == ["/contact/list"]


def test_a_suspended_contact_is_refused_whatever_way_it_is_found(
    contact: ContactAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    record = chatbotkit_sandbox.add_contact(
        ADA, fingerprint=contact.fingerprint(ADA), verifiedAt=1, meta={"suspended": True}
    )
    with pytest.raises(SignInDenied):
        contact.resolve(ADA, Gate())
    assert record["meta"] == {"suspended": True}


def test_a_suspended_sub_account_behind_a_list_that_lags_is_refused(
    partner: PartnerAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    chatbotkit_sandbox.add_user(ADA, meta={"suspended": True})
    chatbotkit_sandbox.fail("*/user/list", body='{"items": []}', times=1)
    with pytest.raises(SignInDenied):
        partner.resolve(ADA, Gate())


def test_a_contact_without_any_address_is_nobodys(contact: ContactAdapter, chatbotkit_sandbox: Sandbox) -> None:
    blank = chatbotkit_sandbox.add_contact("", fingerprint=contact.fingerprint(ADA), verifiedAt=1)
    assert contact.resolve(ADA)[0].id != blank["id"]


# Contacts that nobody verified


def test_an_unverified_contact_with_our_fingerprint_keeps_nobody_out(
    contact: ContactAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    foreign = chatbotkit_sandbox.add_contact("", fingerprint=contact.fingerprint(ADA))
    user, created = contact.resolve(ADA)
    assert (user.id != foreign["id"], created) == (True, True)
    assert contact.resolve(ADA)[0].id == user.id
    assert len(chatbotkit_sandbox.contacts) == 2


def test_it_is_asked_twice_a_second_apart(chatbotkit_sandbox: Sandbox) -> None:
    waits: list[float] = []
    client = ChatBotKitClient("sk-test", chatbotkit_sandbox.url, sleep=waits.append)
    contact = ContactAdapter(client, auto_create=True)
    chatbotkit_sandbox.add_contact("", fingerprint=contact.fingerprint(ADA))
    contact.resolve(ADA)
    assert waits == [1]
    assert _calls(chatbotkit_sandbox).count("/contact/ensure") == 2


@pytest.mark.parametrize(
    "faults",
    [
        [{"path_glob": "*/contact/ensure", "status": 503}],
        [{"path_glob": "*/contact/ensure", "status": 500, "body": "<html>gateway</html>"}],
        [{"path_glob": "*/contact/ensure", "drop": True}],
        [{"path_glob": "*/contact/*/fetch", "status": 500}],
    ],
)
def test_an_outage_makes_no_second_account(
    contact: ContactAdapter, chatbotkit_sandbox: Sandbox, faults: list[dict[str, Any]]
) -> None:
    chatbotkit_sandbox.add_contact(ADA, fingerprint=contact.fingerprint(ADA), verifiedAt=1)
    for fault in faults:
        chatbotkit_sandbox.fail(**fault)
    with pytest.raises(APIError):
        contact.resolve(ADA)
    assert len(chatbotkit_sandbox.contacts) == 1


def test_a_500_at_ensure_while_the_list_is_away_too_is_an_outage(
    contact: ContactAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    chatbotkit_sandbox.add_contact(ADA, fingerprint=contact.fingerprint(ADA), verifiedAt=1)
    chatbotkit_sandbox.fail("*/contact/ensure", status=500)
    lists = []

    def list_contacts(request: Any) -> Any:
        lists.append(request)
        return {"items": []} if len(lists) < 3 else ({"code": "GENERIC_ERROR", "message": "away"}, 500)

    chatbotkit_sandbox.route("GET", "/contact/list", list_contacts)
    with pytest.raises(APIStatusError):
        contact.resolve(ADA)
    assert len(chatbotkit_sandbox.contacts) == 1


def test_a_500_that_passes_is_no_reason_for_another_account(
    contact: ContactAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    record = chatbotkit_sandbox.add_contact(ADA, fingerprint=contact.fingerprint(ADA), verifiedAt=1)
    chatbotkit_sandbox.fail("*/contact/ensure", status=500, times=1)
    assert contact.resolve(ADA)[0].id == record["id"]


def test_the_series_of_fingerprints_ends(contact: ContactAdapter, chatbotkit_sandbox: Sandbox) -> None:
    made = set()
    for number in range(FINGERPRINTS):
        user, created = contact.resolve(ADA)
        assert created
        chatbotkit_sandbox.contacts[user.id].update(email=f"{number}@example.com", meta={})
        made.add(user.id)
    assert len(made) == FINGERPRINTS == 5
    with pytest.raises(Conflict, match="all 5 fingerprints"):
        contact.resolve(ADA)


# Races


def _together(count: int, act: Callable[[], object]) -> None:
    barrier = threading.Barrier(count)

    def run() -> None:
        barrier.wait()
        act()

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def test_however_many_arrive_together_one_account_is_made(adapter: UserAdapter, chatbotkit_sandbox: Sandbox) -> None:
    results: list[tuple[User, bool]] = []
    _together(20, lambda: results.append(adapter.resolve(ADA)))
    assert len({user.id for user, _ in results}) == 1
    assert [created for _, created in results].count(True) == 1
    assert len(results) == 20
    assert len(chatbotkit_sandbox.users) + len(chatbotkit_sandbox.contacts) == 1


def test_a_create_whose_contact_is_gone_again_makes_one_all_the_same(
    contact: ContactAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    chatbotkit_sandbox.fail("*/contact/create", status=409, times=1)
    user, _ = contact.resolve(ADA)
    (record,) = chatbotkit_sandbox.contacts.values()
    assert (record["id"], record["email"], record["meta"]) == (user.id, ADA, {"email": ADA})


def test_the_fields_of_a_new_account_go_with_the_one_call_that_makes_it(
    adapter: UserAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    fields: dict[str, Any] = {"name": "Ada", "image": "https://example.com/a.png", "meta": {"plan": "free"}}
    if adapter.kind == "partner":
        fields["limits"] = {"messages": 10}
    user, created = adapter.resolve(ADA, fields=lambda: fields)
    assert created
    assert (user.name, user.image, user.meta["plan"]) == ("Ada", "https://example.com/a.png", "free")
    assert user.limits == fields.get("limits", {})
    assert adapter.get(user.id) == user
    assert len([call for call in chatbotkit_sandbox.requests if call.method == "POST"]) == 1
    adapter.resolve(ADA, fields=lambda: pytest.fail("there is an account"))


# Addresses


@pytest.mark.parametrize("email", ["", "not an address", "a@b@example.com", "x" * 300 + "@example.com", None])
def test_what_is_no_address_is_never_stored(adapter: UserAdapter, chatbotkit_sandbox: Sandbox, email: Any) -> None:
    user, _ = adapter.resolve(ADA)
    with pytest.raises(InvalidEmail):
        adapter.update(user.id, email=email)
    with pytest.raises(InvalidEmail):
        adapter.create(email or "")
    found = adapter.get_by_email(ADA)
    assert found is not None
    assert found.id == user.id


def test_an_address_is_written_in_normal_form(adapter: UserAdapter, chatbotkit_sandbox: Sandbox) -> None:
    made = adapter.create("Ada@Example.com")
    assert made.email == ADA
    assert adapter.update(made.id, email="Ada.New@Example.COM").email == "ada.new@example.com"
    assert adapter.resolve("ada.new@example.com")[0].id == made.id
    assert adapter.resolve(ADA)[0].id != made.id


def test_an_address_that_has_an_account_is_refused(adapter: UserAdapter, chatbotkit_sandbox: Sandbox) -> None:
    ada, eve = adapter.create(ADA), adapter.create(EVE)
    with pytest.raises(EmailTaken):
        adapter.create("Ada@example.com")
    with pytest.raises(EmailTaken):
        adapter.update(eve.id, email="ADA@example.com")
    assert adapter.resolve(ADA)[0].id == ada.id
    assert adapter.resolve(EVE)[0].id == eve.id
    assert adapter.update(eve.id, email=EVE).id == eve.id


def test_two_who_take_one_address_at_once_do_not_both_get_it(adapter: UserAdapter, chatbotkit_sandbox: Sandbox) -> None:
    users = [adapter.create(f"{number}@example.com") for number in range(6)]
    taken: list[str] = []

    def take() -> None:
        user = users.pop()
        try:
            adapter.update(user.id, email=ADA)
        except EmailTaken:
            return
        taken.append(user.id)

    _together(6, take)
    assert len(taken) == 1


def test_a_contact_behind_the_fingerprint_is_not_robbed_of_its_address(
    contact: ContactAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    chatbotkit_sandbox.add_contact(ADA, fingerprint=contact.fingerprint(ADA), verifiedAt=1, meta={"email": ""})
    eve = contact.create(EVE)
    with pytest.raises(EmailTaken):
        contact.update(eve.id, email=ADA)
    with pytest.raises(EmailTaken):
        contact.create(ADA)


def test_a_new_address_is_unproved_until_its_owner_signs_in(contact: ContactAdapter) -> None:
    user, _ = contact.resolve(ADA)
    assert user.email_verified is not None
    moved = contact.update(user.id, email=EVE)
    assert (moved.email, moved.email_verified) == (EVE, None)
    assert contact.resolve(EVE)[0].email_verified is not None
    again = contact.get(user.id)
    assert again is not None
    assert again.email_verified is not None


def test_a_new_address_of_a_sub_account_is_unproved(partner: PartnerAdapter) -> None:
    user, _ = partner.resolve(ADA, fields=lambda: {"meta": {"plan": "pro"}})
    moved = partner.update(user.id, email=EVE)
    assert (moved.email, moved.email_verified, moved.meta["plan"]) == (EVE, None, "pro")


def test_a_flow_that_has_proved_the_new_address_says_so(adapter: UserAdapter) -> None:
    user, _ = adapter.resolve(ADA)
    assert user.email_verified is not None
    moved = adapter.update(user.id, email=EVE, email_verified=user.email_verified)
    assert (moved.email, moved.email_verified) == (EVE, user.email_verified)


def test_an_account_of_an_administrator_has_proved_nothing(adapter: UserAdapter) -> None:
    made = adapter.create(ADA, name="Ada")
    assert (made.email_verified, made.name) == (None, "Ada")
    assert adapter.get(made.id) == made


# What the API refuses


@pytest.mark.parametrize(("field", "kinds"), [("name", ("partner", "contact")), ("image", ("partner",))])
def test_what_is_too_long_is_told_at_its_field(adapter: UserAdapter, field: str, kinds: tuple[str, ...]) -> None:
    user = adapter.create(ADA)
    too_long: dict[str, Any] = {field: "https://example.com/" + "я" * 90}
    acts: list[Callable[[], User]] = [
        lambda: adapter.update(user.id, **too_long),
        lambda: adapter.create(EVE, **too_long),
    ]
    if adapter.kind in kinds:
        for act in acts:
            with pytest.raises(APIStatusError) as caught:
                act()
            assert (caught.value.status, caught.value.field) == (400, field)
    else:
        assert [act().image for act in acts] == [too_long["image"]] * 2


def test_a_field_that_no_user_has_is_a_mistake_of_the_developers(adapter: UserAdapter) -> None:
    user = adapter.create(ADA)
    with pytest.raises(TypeError, match="'colour'"):
        adapter.update(user.id, colour="red")


def test_a_contact_has_no_limits(contact: ContactAdapter, partner: PartnerAdapter) -> None:
    user = contact.create(ADA)
    with pytest.raises(TypeError, match="limits"):
        contact.update(user.id, limits={"messages": 1})
    account = partner.create(ADA, limits={"messages": 1})
    assert account.limits == {"messages": 1}
    assert partner.update(account.id, limits={"messages": 2}).limits == {"messages": 2}


# A filter that is ignored


def test_an_ignored_filter_is_said_once(
    adapter: UserAdapter, chatbotkit_sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    adapter.create(EVE)
    chatbotkit_sandbox.ignore_filters = True
    for _ in range(3):
        assert adapter.get_by_email(ADA) is None
    assert len([each for each in caplog.records if "ignores the filter" in each.message]) == 1


def test_looking_somebody_up_has_one_deadline_and_names_the_filter(
    chatbotkit_sandbox: Sandbox, client: ChatBotKitClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    chatbotkit_sandbox.ignore_filters = True
    chatbotkit_sandbox.page_size = 1
    for number in range(9):
        chatbotkit_sandbox.add_user(f"{number}@example.com")
    # Each look at the clock, one before the first page and one after each, finds it nine seconds later.
    clock = itertools.count(0, 9)
    monkeypatch.setattr(
        "flask_chatbotkit_auth.upstream.records.time", SimpleNamespace(monotonic=lambda: float(next(clock)))
    )
    with pytest.raises(APIError, match=r'longer than 30 seconds.*filter "email" of /user/list'):
        PartnerAdapter(client).get_by_email(ADA)
    assert len(chatbotkit_sandbox.requests) == 4


def test_a_list_of_more_than_a_thousand_pages_keeps_nobody_out(
    chatbotkit_sandbox: Sandbox, client: ChatBotKitClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_chatbotkit_auth.upstream.client.MAX_PAGES", 3)
    chatbotkit_sandbox.ignore_filters = True
    chatbotkit_sandbox.page_size = 1
    ada = chatbotkit_sandbox.add_user(ADA)
    for number in range(9):
        chatbotkit_sandbox.add_user(f"{number}@example.com")
    found = PartnerAdapter(client).get_by_email(ADA)
    assert found is not None
    assert found.id == ada["id"]


# Whose secret it is


def test_a_403_is_believed_only_where_the_secret_opens_another_account(
    adapter: UserAdapter, chatbotkit_sandbox: Sandbox
) -> None:
    chatbotkit_sandbox.fail("*/foreign/fetch", status=403)
    with pytest.raises(APIStatusError):
        adapter.refresh("foreign")
    adapter.create(EVE)
    assert adapter.refresh("foreign") is None
    assert adapter.refresh("gone") is None


def test_a_refresh_tries_once(chatbotkit_sandbox: Sandbox) -> None:
    adapter = PartnerAdapter(ChatBotKitClient("sk-test", chatbotkit_sandbox.url, users_path="/user"))
    chatbotkit_sandbox.fail("*/fetch", status=503)
    with pytest.raises(APIStatusError):
        adapter.refresh("u1")
    assert len(chatbotkit_sandbox.requests) == 1


# Pages


def test_accounts_come_page_by_page(adapter: UserAdapter) -> None:
    made = [adapter.create(f"{number}@example.com").id for number in range(7)][::-1]
    first, after = adapter.page(take=3)
    second, later = adapter.page(after=after, take=3)
    third, end = adapter.page(after=later, take=3)
    assert [user.id for user in [*first, *second, *third]] == made
    assert ([len(page) for page in (first, second, third)], end) == ([3, 3, 1], None)
    assert adapter.page(take=7)[1] is None
    assert UserAdapter.page(adapter, after=after, take=3) == (second, later)


def test_a_filter_may_be_a_boolean(adapter: UserAdapter) -> None:
    admin = adapter.create(ADA, meta={"admin": True})
    adapter.create(EVE, meta={"admin": False})
    assert [user.id for user in adapter.list(**{"meta.admin": True})] == [admin.id]
