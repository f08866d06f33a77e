"""The stand-in does what the platform's own handlers were seen to do, line by line of ``docs/platform.rst``."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from flask_chatbotkit_auth.testing import Sandbox
from tests.support.sandbox_api import Api, error, jsonl, run_as

ADA = "ada@example.com"
FINGERPRINT = "f" * 17
SAY_HELLO = {"messages": [{"type": "user", "text": "Hello there"}]}
BAD_REQUEST = (400, "BAD_REQUEST")


# Transport


def test_no_secret_is_403_on_a_post_and_401_on_a_get(api: Api) -> None:
    del api.session.headers["Authorization"]
    assert error(api.get("user/list")) == (401, "NOT_AUTHENTICATED")
    assert error(api.post("user/create", email=ADA)) == (403, "NOT_AUTHORIZED")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("user/create", {"fingerprint": "x"}),
        ("user/{user}/update", {"verifiedAt": 1}),
        ("user/{user}/session/create", {"seconds": 60}),
        ("user/{user}/session/create", {"config": {"routes": []}}),
        ("user/{user}/token/create", {"email": ADA}),
        ("contact/create", {"image": "x"}),
        ("contact/ensure", {"fingerprint": FINGERPRINT, "limits": {}}),
        ("contact/{contact}/update", {"image": "x"}),
        ("conversation/create", {"temperature": 1}),
        ("conversation/complete", {**SAY_HELLO, "temperature": 1}),
        ("conversation/complete", {"messages": [{"type": "user", "text": "x", "colour": "red"}]}),
        ("bot/create", {"temperature": 1}),
    ],
)
def test_an_unknown_field_is_400_and_nothing_is_ignored(
    api: Api, sandbox: Sandbox, path: str, body: dict[str, Any]
) -> None:
    ids = {"user": sandbox.add_user(ADA)["id"], "contact": sandbox.add_contact(ADA)["id"]}
    response = api.post(path.format(**ids), **body)
    assert error(response) == BAD_REQUEST
    assert response.json()["message"].endswith("is not allowed")


def test_a_failure_without_a_name_is_a_generic_error(api: Api, sandbox: Sandbox) -> None:
    sandbox.fail("*", status=500)
    assert error(api.get("user/list")) == (500, "GENERIC_ERROR")


def test_the_two_meanings_of_limits_reached_differ_by_message_alone(api: Api, sandbox: Sandbox) -> None:
    sandbox.fail("*", status=429, times=1)
    sandbox.fail("*", status=429, times=1, message="You have exceeded your allocated rate limits: rate/message")
    sandbox.fail("*", status=429, times=1, code="LIMITS_REACHED")
    answers = [api.get("user/list") for _ in range(3)]
    assert {error(answer) for answer in answers} == {(429, "LIMITS_REACHED")}
    assert ["rate/" in answer.json()["message"] for answer in answers] == [True, True, False]
    assert not any("Retry-After" in answer.headers for answer in answers)


def test_a_path_that_it_does_not_know_says_so_and_how_to_teach_it(api: Api) -> None:
    response = api.post("space/create")
    assert error(response) == (404, "NOT_FOUND")
    assert (
        'POST /api/v1/space/create: tell it what to answer by sandbox.answer("/api/v1/space/create"'
        in (response.json()["message"])
    )


def test_answer_teaches_a_path(api: Api, sandbox: Sandbox) -> None:
    sandbox.answer("*/space/*", {"id": "s1"})
    sandbox.answer("*/space/gone/*", {"code": "NOT_FOUND", "message": "gone"}, status=404)
    assert api.get("space/s1/fetch").json() == {"id": "s1"}
    assert error(api.get("space/gone/fetch")) == (404, "NOT_FOUND")
    assert api.ids("user/list") == []
    del api.session.headers["Authorization"]
    assert api.get("space/s1/fetch").status_code == 401
    sandbox.reset()
    assert error(api.get("space/s1/fetch", {"Authorization": "Bearer sk-test"})) == (404, "NOT_FOUND")


def test_route_adds_an_operation_with_state(api: Api, sandbox: Sandbox) -> None:
    ada = sandbox.add_user(ADA)
    made: dict[str, dict[str, Any]] = {}

    def create(request: Any) -> dict[str, str]:
        made["t1"] = {"id": "t1", "by": request.account, **request.json}
        return {"id": "t1"}

    def fetch(request: Any, id: str) -> Any:
        return made.get(id, ({"code": "NOT_FOUND", "message": "No such thing"}, 404))

    sandbox.route("POST", "/trigger/create", create)
    sandbox.route("GET", "/api/v1/trigger/{id}/fetch", fetch)
    assert api.post("trigger/create", run_as(ada), name="x").json() == {"id": "t1"}
    assert api.get("trigger/t1/fetch").json() == {"id": "t1", "by": ada["id"], "name": "x"}
    assert error(api.get("trigger/t2/fetch")) == (404, "NOT_FOUND")


def test_route_replaces_an_operation(api: Api, sandbox: Sandbox) -> None:
    sandbox.route("GET", "/contact/list", lambda request: {"items": [], "cursor": "x"})
    sandbox.add_contact(ADA)
    assert api.ids("contact/list") == []


# Lists


def test_the_cursor_is_the_id_of_the_last_item_on_the_last_page_too(api: Api, sandbox: Sandbox) -> None:
    first, second = (sandbox.add_contact(f"{number}@example.com")["id"] for number in range(2))
    answer = api.get("contact/list").json()
    assert ([item["id"] for item in answer["items"]], answer["cursor"]) == ([second, first], first)
    assert api.get("contact/list", cursor=first).json() == {"items": []}
    assert api.get("contact/list", cursor="unknown").json() == {"items": []}


def test_a_filter_compares_the_type_as_well(api: Api, sandbox: Sandbox) -> None:
    text = sandbox.add_contact(ADA, meta={"seats": "5", "admin": "true"})["id"]
    sandbox.add_contact(ADA, meta={"seats": 5})
    flag = sandbox.add_contact(ADA, meta={"admin": True})["id"]
    off = sandbox.add_contact(ADA, meta={"admin": False})["id"]
    assert api.ids("contact/list", **{"meta.seats": "5"}) == [text]
    assert api.ids("contact/list", **{"meta.admin": "true"}) == [flag]
    assert api.ids("contact/list", **{"meta[admin]": "false"}) == [off]


# meta


@pytest.mark.parametrize("kind", ["user", "contact"])
def test_an_update_of_meta_replaces_all_that_was_there(api: Api, sandbox: Sandbox, kind: str) -> None:
    add = sandbox.add_user if kind == "user" else sandbox.add_contact
    record = add(ADA, meta={"email": ADA, "plan": "pro"})
    api.post(f"{kind}/{record['id']}/update", meta={"image": "x"})
    assert record["meta"] == {"image": "x"}


@pytest.mark.parametrize("kind", ["user", "contact"])
def test_update_merges_meta_key_by_key(api: Api, sandbox: Sandbox, kind: str) -> None:
    add = sandbox.add_user if kind == "user" else sandbox.add_contact
    record = add(ADA, meta={"email": ADA, "plan": {"name": "pro", "seats": 5}})
    api.post(f"{kind}/{record['id']}/update", meta={"$update": {"plan": {"name": "free"}, "image": "x"}})
    assert record["meta"] == {"email": ADA, "plan": {"name": "free"}, "image": "x"}


def test_a_server_that_does_not_know_update_loses_the_rest(api: Api, sandbox: Sandbox) -> None:
    sandbox.knows_update = False
    record = sandbox.add_contact(ADA, meta={"email": ADA, "plan": "pro"})
    assert api.post(f"contact/{record['id']}/update", meta={"$update": {"image": "x"}}).status_code == 200
    assert record["meta"] == {}


def test_reserved_keys_of_meta_are_dropped_both_ways_or_refused(api: Api, sandbox: Sandbox) -> None:
    record = sandbox.add_user(ADA, meta={"plan": "pro", "-inner": 1, "_own": 2})
    assert api.get(f"user/{record['id']}/fetch").json()["meta"] == {"plan": "pro"}
    assert api.get("user/list").json()["items"][0]["meta"] == {"plan": "pro"}
    made = api.post("contact/create", meta={"a": 1, "-b": 2, "é": 3}).json()["id"]
    assert sandbox.contacts[made]["meta"] == {"a": 1}
    api.post(f"contact/{made}/update", meta={"$update": {"#c": 4, "d": 5}})
    assert sandbox.contacts[made]["meta"] == {"a": 1, "d": 5}
    assert error(api.post("contact/create", meta={"_x": 1})) == BAD_REQUEST
    assert error(api.post(f"contact/{made}/update", meta={"$update": {"_x": 1}})) == BAD_REQUEST
    assert error(api.post(f"contact/{made}/update", meta={"$update": 5})) == BAD_REQUEST


# Lengths


@pytest.mark.parametrize(
    ("path", "field", "answer"),
    [
        ("user/create", "name", BAD_REQUEST),
        ("user/create", "email", BAD_REQUEST),
        ("user/create", "image", (500, "GENERIC_ERROR")),
        ("contact/create", "name", BAD_REQUEST),
        ("contact/create", "nick", BAD_REQUEST),
        ("contact/create", "fingerprint", BAD_REQUEST),
        ("contact/ensure", "fingerprint", BAD_REQUEST),
    ],
)
def test_more_than_191_bytes_are_refused_where_the_hosted_service_keeps_so_many(
    api: Api, sandbox: Sandbox, path: str, field: str, answer: tuple[int, str]
) -> None:
    assert error(api.post(path, **{field: "я" * 96})) == answer
    assert api.post(path, **{field: "я" * 95}).status_code == 200
    sandbox.byte_limits = False
    assert api.post(path, **{field: "я" * 97}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("contact/create", {"description": "x" * 500, "preferences": "x" * 500}),
        ("contact/create", {"meta": {"image": "x" * 500}}),
        ("user/create", {"description": "x" * 500}),
    ],
)
def test_other_texts_are_not_bounded(api: Api, path: str, body: dict[str, Any]) -> None:
    assert api.post(path, **body).status_code == 200


# Sub-accounts


def test_an_update_without_the_alias_resets_it(api: Api, sandbox: Sandbox) -> None:
    made = api.post("user/create", email=ADA, alias="ada").json()["id"]
    api.post(f"user/{made}/update", name="Ada", alias="ada")
    assert sandbox.aliases == {made: "ada"}
    api.post(f"user/{made}/update", name="Ada L.")
    assert sandbox.aliases == {}


def test_a_session_lasts_900_whole_seconds_unless_told(api: Api, sandbox: Sandbox) -> None:
    user = sandbox.add_user(ADA)
    path = f"user/{user['id']}/session/create"
    left = api.post(path).json()["expiresAt"] / 1000 - api.post(path, durationInSeconds=1).json()["expiresAt"] / 1000
    assert 897 < left < 900
    assert error(api.post(path, durationInSeconds=1.5)) == BAD_REQUEST


@pytest.mark.parametrize(
    ("routes", "opened", "closed"),
    [
        ([], [], ["contact/list", "user/list"]),
        (["/v1/contact/*"], ["contact/list"], ["contact/c/conversation/list", "conversation/list"]),
        (["/v1/contact/**"], ["contact/list", "contact/c/conversation/list"], ["conversation/list"]),
        (["contact/{list,ensure}"], ["contact/list"], ["contact/c/conversation/list"]),
        (["!contact/list"], ["conversation/list"], ["contact/list"]),
        (["contact/**", "!contact/list"], ["contact/c/conversation/list"], ["contact/list", "conversation/list"]),
    ],
)
def test_routes_of_a_session_are_minimatch_patterns(
    api: Api, sandbox: Sandbox, routes: list[str], opened: list[str], closed: list[str]
) -> None:
    user = sandbox.add_user(ADA)
    config = {"allowedRoutes": routes}
    token = api.post(f"user/{user['id']}/session/create", config=config).json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    sandbox.add_contact(ADA, id="c")
    assert [path for path in opened if "does not open" in api.get(path, bearer).text] == []
    for path in closed:
        assert error(api.get(path, bearer)) == (403, "NOT_AUTHORIZED")


def test_a_deleted_sub_account_can_be_acted_for_a_minute_longer() -> None:
    now = [1_000_000.0]
    with Sandbox(clock=lambda: now[0]) as sandbox:
        api = Api(sandbox, None)
        with api.session:
            user = sandbox.add_user(ADA)
            api.post("contact/create", run_as(user), email=ADA)
            api.post(f"user/{user['id']}/delete")
            now[0] += 59
            assert api.ids("contact/list", run_as(user)) == []
            now[0] += 1
            assert error(api.get("contact/list", run_as(user))) == (401, "NOT_AUTHENTICATED")


@pytest.mark.parametrize(
    ("limits", "path", "body"),
    [
        ({"database": {"datasets": 2}}, "dataset/create", {}),
        ({"conversations": 2}, "conversation/create", {}),
        ({"messages": 2}, "conversation/complete", SAY_HELLO),
    ],
)
def test_limits_of_a_sub_account_count(
    api: Api, sandbox: Sandbox, limits: dict[str, Any], path: str, body: dict[str, Any]
) -> None:
    user = sandbox.add_user(ADA, limits=limits)
    answers = [api.post(path, run_as(user), **body) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert "rate/" not in answers[-1].json()["message"]
    assert api.post(path, **body).status_code == 200


@pytest.mark.parametrize("kind", ["bot", "dataset"])
def test_bots_and_datasets_are_simple_records_of_their_account(api: Api, sandbox: Sandbox, kind: str) -> None:
    ada = sandbox.add_user(ADA)
    made = api.post(f"{kind}/create", run_as(ada), name="Helper", meta={"a": 1}).json()["id"]
    assert list(sandbox.bots if kind == "bot" else sandbox.datasets) == [made]
    assert api.ids(f"{kind}/list", run_as(ada)) == [made]
    assert api.ids(f"{kind}/list") == []
    assert error(api.get(f"{kind}/{made}/fetch")) == (403, "NOT_AUTHORIZED")
    api.post(f"{kind}/{made}/update", run_as(ada), name="Help")
    assert api.get(f"{kind}/{made}/fetch", run_as(ada)).json()["name"] == "Help"
    assert api.post(f"{kind}/{made}/delete", run_as(ada)).json() == {"id": made}
    assert error(api.get(f"{kind}/{made}/fetch", run_as(ada))) == (404, "NOT_FOUND")


@pytest.mark.parametrize(("visibility", "answer"), [(None, 403), ("private", 403), ("protected", 200), ("public", 200)])
def test_a_sub_account_uses_a_bot_of_the_parent_where_it_may_be_seen(
    api: Api, sandbox: Sandbox, visibility: str | None, answer: int
) -> None:
    ada, said = sandbox.add_user(ADA), {"messages": [{"type": "user", "text": "Hello"}]}
    shown = {} if visibility is None else {"visibility": visibility}
    bot = api.post("bot/create", name="Helper", **shown).json()["id"]
    assert api.post("conversation/complete", run_as(ada), botId=bot, **said).status_code == answer
    kept = api.post("conversation/create", run_as(ada), botId=bot)
    assert kept.status_code == 200 if answer == 200 else error(kept) == BAD_REQUEST
    assert api.post("conversation/complete", botId=bot, **said).status_code == 200


# Contacts


def test_another_accounts_contact_is_403(api: Api, sandbox: Sandbox) -> None:
    ada, contact = sandbox.add_user(ADA), sandbox.add_contact(ADA)
    assert error(api.get(f"contact/{contact['id']}/fetch", run_as(ada))) == (403, "NOT_AUTHORIZED")
    assert error(api.post(f"contact/{contact['id']}/update", run_as(ada), name="x")) == (403, "NOT_AUTHORIZED")
    assert error(api.get("contact/none/fetch", run_as(ada))) == (404, "NOT_FOUND")


def test_a_fingerprint_is_unique_at_create_and_at_update(api: Api, sandbox: Sandbox) -> None:
    first = api.post("contact/create", fingerprint=FINGERPRINT, verifiedAt=5).json()["id"]
    assert sandbox.contacts[first]["verifiedAt"] == 5
    assert error(api.post("contact/create", fingerprint=FINGERPRINT)) == (409, "CONFLICT")
    other = api.post("contact/create").json()["id"]
    assert error(api.post(f"contact/{other}/update", fingerprint=FINGERPRINT)) == (409, "CONFLICT")


def test_a_name_of_null_is_500_at_a_contact(api: Api, sandbox: Sandbox) -> None:
    contact = sandbox.add_contact(ADA, name="Ada")
    assert error(api.post(f"contact/{contact['id']}/update", name=None)) == (500, "GENERIC_ERROR")
    assert api.post(f"contact/{contact['id']}/update", name="").status_code == 200
    assert contact["name"] == ""


def test_ensure_answers_a_contact_whatever_its_address_is_by_now(api: Api, sandbox: Sandbox) -> None:
    contact = sandbox.add_contact("eve@example.com", fingerprint=FINGERPRINT, verifiedAt=1)
    before = dict(contact)
    assert api.post("contact/ensure", fingerprint=FINGERPRINT, email=ADA).json() == {"id": contact["id"]}
    assert contact == before


def test_of_several_ensures_the_losers_conflict(api: Api, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    records, barrier = sandbox._records, threading.Barrier(5)

    def meet() -> None:
        # Each has looked before the first one inserts.
        records.lock.release()
        barrier.wait(30)
        records.lock.acquire()

    monkeypatch.setattr(records, "let_others_in", meet)

    def ensure(_: int) -> int:
        with Api(sandbox, None).session as session:
            url, body = f"{sandbox.url}/api/v1/contact/ensure", {"fingerprint": FINGERPRINT}
            return session.post(url, json=body, headers={"Authorization": "Bearer sk-test"}, timeout=30).status_code

    with ThreadPoolExecutor(5) as pool:
        assert sorted(pool.map(ensure, range(5))) == [200, 409, 409, 409, 409]
    assert len(sandbox.contacts) == 1


def test_ensure_of_an_unverified_contact_is_a_generic_error(api: Api, sandbox: Sandbox) -> None:
    sandbox.add_contact(ADA, fingerprint=FINGERPRINT)
    assert error(api.post("contact/ensure", fingerprint=FINGERPRINT)) == (500, "GENERIC_ERROR")


def test_ensure_without_a_fingerprint_makes_or_finds_an_unverified_one(api: Api, sandbox: Sandbox) -> None:
    made = {api.post("contact/ensure", email=ADA).json()["id"] for _ in range(2)}
    assert len(made) == 1
    (contact,) = sandbox.contacts.values()
    assert "verifiedAt" not in contact
    assert api.post("contact/ensure", email="eve@example.com").json()["id"] not in made


# Conversations


def test_a_completion_refuses_a_contact_that_is_none_of_the_accounts(api: Api, sandbox: Sandbox) -> None:
    for contact_id in ("none", sandbox.add_contact(ADA)["id"]):
        headers = run_as(sandbox.add_user(None))
        assert error(api.post("conversation/complete", headers, **SAY_HELLO, contactId=contact_id)) == BAD_REQUEST


def test_an_activity_needs_meta(api: Api) -> None:
    message = {"type": "activity", "text": "x"}
    assert error(api.post("conversation/complete", messages=[message])) == BAD_REQUEST
    assert api.post("conversation/complete", messages=[{**message, "meta": {"a": 1}}]).status_code == 200


def test_a_completion_may_fail_after_its_status_of_200(api: Api, sandbox: Sandbox) -> None:
    sandbox.fail("*/complete", status=402, code="NO_SUBSCRIPTION", in_stream=True)
    response = api.post("conversation/complete", {"Accept": "application/jsonl"}, **SAY_HELLO)
    assert response.status_code == 200
    (event,) = jsonl(response)
    assert (event["type"], event["data"]["code"]) == ("error", "NO_SUBSCRIPTION")
    assert error(api.post("conversation/complete", **SAY_HELLO)) == (402, "NO_SUBSCRIPTION")


def test_messages_are_listed_oldest_first_and_conversations_newest_first(api: Api) -> None:
    ids = [api.post("conversation/create", messages=[]).json()["id"] for _ in range(2)]
    for text in ("Hello", " Hello again "):
        api.post(f"conversation/{ids[0]}/complete", text=text)
    path = f"conversation/{ids[0]}/message/list"
    said = [each["text"] for each in api.get(path).json()["items"]]
    assert said[::2] == ["Hello", "Hello again"]
    assert [each["text"] for each in api.get(path, order="desc").json()["items"]] == said[::-1]
    assert api.ids("conversation/list") == ids[::-1]


def test_conversations_can_be_filtered_by_what_they_belong_to(api: Api, sandbox: Sandbox) -> None:
    contact = sandbox.add_contact(ADA)["id"]
    theirs = api.post("conversation/create", contactId=contact, meta={"userId": "u1"}).json()["id"]
    of_bot = api.post("conversation/create", botId="b1").json()["id"]
    assert api.ids("conversation/list", contactId=contact) == [theirs]
    assert api.ids("conversation/list", botId="b1") == [of_bot]
    assert api.ids("conversation/list", **{"meta.userId": "u1"}) == [theirs]


def test_messages_may_carry_what_a_front_end_keeps_beside_them(api: Api) -> None:
    message = {
        "id": "m1",
        "createdAt": 1700000000000,
        "name": "Ada",
        "description": "",
        "type": "user",
        "text": "Hello",
    }
    assert api.post("conversation/complete", messages=[message]).status_code == 200
    assert error(api.post("conversation/complete", messages=[{**message, "colour": "red"}])) == BAD_REQUEST


def test_a_completion_needs_a_message(api: Api) -> None:
    assert error(api.post("conversation/complete", backstory="Kind.", messages=[])) == BAD_REQUEST
    assert api.post("conversation/create", backstory="Kind.", messages=[]).status_code == 200


def test_what_the_bot_is_cannot_be_said_to_a_kept_conversation(api: Api) -> None:
    id = api.post("conversation/create", backstory="Kind.").json()["id"]
    for body in ({"text": "x", "backstory": "Rude."}, {"text": "x", "contactId": "c"}, {"text": " "}):
        assert error(api.post(f"conversation/{id}/complete", **body)) == BAD_REQUEST
    assert api.post(f"conversation/{id}/complete").status_code == 200
    assert error(api.post("conversation/complete", **SAY_HELLO, entities=[])) == BAD_REQUEST
