"""The stand-in API, over HTTP: its rules, its faults, and that every answer is as the OpenAPI document has it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from flask_chatbotkit_auth.testing import Sandbox
from tests.support.sandbox_api import Api, Conformity, error, jsonl, run_as

FINGERPRINT = "f" * 17
SAY_HELLO = {"messages": [{"type": "user", "text": "Hello there"}]}


# Conformity


def test_every_operation_answers_as_the_document_has_it(
    api: Api, sandbox: Sandbox, conformity: Conformity | None
) -> None:
    if conformity is None:
        pytest.skip("the OpenAPI document is absent: ../shared/reference/chatbotkit-openapi.json")
    as_jsonl = {"Accept": "application/jsonl"}
    for name in ("user", "partner/user"):
        user_id = api.post(f"{name}/create", email=f"{len(name)}@example.com", meta={"a": 1}).json()["id"]
        assert api.post(f"{name}/{user_id}/update", limits={"tokens": 1}).json() == {"id": user_id}
        assert api.get(f"{name}/{user_id}/fetch").json()["limits"] == {"tokens": 1}
        assert api.post(f"{name}/{user_id}/session/create").status_code == 200
        token_id = api.post(f"{name}/{user_id}/token/create", name="cli").json()["id"]
        for path in (f"{name}/list", f"{name}/{user_id}/token/list"):
            assert len(api.ids(path)) == 1
            assert len(jsonl(api.get(path, as_jsonl))) == 1
        assert api.post(f"{name}/{user_id}/token/{token_id}/delete").json() == {"id": token_id}
        assert api.post(f"{name}/{user_id}/delete").json() == {"id": user_id}
    contact_id = api.post("contact/create", email="a@example.com", verifiedAt=1, nick="a", phone="1").json()["id"]
    assert api.post("contact/ensure", fingerprint=FINGERPRINT).status_code == 200
    assert api.post(f"contact/{contact_id}/update", preferences="none").json() == {"id": contact_id}
    assert api.get(f"contact/{contact_id}/fetch").json()["preferences"] == "none"
    conversation = {"contactId": contact_id, "model": "gpt-5.4", "privacy": True, "name": "n"}
    conversation_id = api.post("conversation/create", **conversation, **SAY_HELLO).json()["id"]
    for path in ("contact/list", f"contact/{contact_id}/conversation/list"):
        assert api.ids(path)
        assert jsonl(api.get(path, as_jsonl))
    for headers in (None, as_jsonl):
        assert api.post("conversation/complete", headers, **SAY_HELLO).status_code == 200
        assert api.post(f"conversation/{conversation_id}/complete", headers, text="Hi").status_code == 200
    assert api.post(f"contact/{contact_id}/delete").json() == {"id": contact_id}
    promised = {
        (*name, content_type)
        for name, responses in conformity.operations.items()
        for content_type in responses["200"]["content"]
    }
    assert conformity.seen == promised


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 408, 409, 413, 422, 429, 500, 502, 503, 504])
def test_every_error_answers_as_the_document_has_it(api: Api, sandbox: Sandbox, status: int) -> None:
    if api.conformity is None:
        pytest.skip("the OpenAPI document is absent: ../shared/reference/chatbotkit-openapi.json")
    sandbox.fail("*", status=status)
    for method, template in api.conformity.operations:
        response = api.send(method, re.sub(r"\{\w+\}", "x", template[1:]))
        assert response.status_code == status


# Secrets and routes


@pytest.mark.parametrize("header", ["sk-test", "Basic sk-test", "Bearer", "Bearer sk-other"])
def test_without_the_right_secret_nothing_is_answered(api: Api, header: str) -> None:
    for response in (
        api.get("contact/list", {"Authorization": header}),
        api.post("contact/create", {"Authorization": header}),
    ):
        assert error(response) == (401, "NOT_AUTHENTICATED")


@pytest.mark.parametrize("path", ["/", "/v1/user/list", "/api/v2/user/list"])
def test_a_wrong_route_is_a_page(sandbox: Sandbox, path: str) -> None:
    response = requests.get(sandbox.url + path, headers={"Authorization": "Bearer sk-test"}, timeout=30)
    assert response.status_code == 404
    assert response.headers["Content-Type"].startswith("text/html")


@pytest.mark.parametrize(("known", "unknown"), [("user", "partner/user"), ("partner/user", "user")])
def test_a_deployment_may_know_one_name_of_the_resource(known: str, unknown: str) -> None:
    headers = {"Authorization": "Bearer sk-test"}
    with Sandbox(knows=(known,)) as sandbox:
        assert requests.get(f"{sandbox.url}/api/v1/{known}/list", headers=headers, timeout=30).json()["items"] == []
        response = requests.get(f"{sandbox.url}/api/v1/{unknown}/list", headers=headers, timeout=30)
        assert (response.status_code, response.headers["Content-Type"][:9]) == (404, "text/html")


def test_a_resource_with_no_known_name_is_refused() -> None:
    with pytest.raises(ValueError, match="knows"):
        Sandbox(knows=("account",))


@pytest.mark.parametrize(("method", "path"), [("POST", "user/list"), ("GET", "user/create"), ("PUT", "contact/ensure")])
def test_the_wrong_method_is_405(api: Api, method: str, path: str) -> None:
    assert error(api.send(method, path, json={})) == (405, "METHOD_NOT_ALLOWED")


@pytest.mark.parametrize("body", ["", "{", "[]", '"text"', "null", "\xff"])
def test_a_body_that_is_no_object_is_400(api: Api, body: str) -> None:
    assert error(api.send("POST", "user/create", data=body.encode("latin-1"))) == (400, "BAD_REQUEST")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("user/create", {"email": 1}),
        ("user/create", {"meta": "text"}),
        ("contact/create", {"verifiedAt": True}),
        ("conversation/create", {"privacy": 1}),
        ("conversation/create", {"contactId": 1}),
        ("conversation/complete", {}),
        ("conversation/complete", {"messages": [{"type": "user"}]}),
        ("conversation/complete", {"messages": [{"type": ["user"], "text": "x"}]}),
    ],
)
def test_fields_of_the_wrong_type_are_400(api: Api, path: str, body: dict[str, Any]) -> None:
    assert error(api.post(path, **body)) == (400, "BAD_REQUEST")


# Sub-accounts


def test_the_email_of_a_user_is_unique(api: Api, sandbox: Sandbox) -> None:
    user_id = api.post("user/create", email="ada@example.com").json()["id"]
    assert error(api.post("partner/user/create", email="ada@example.com")) == (409, "CONFLICT")
    other = sandbox.add_user("bob@example.com")
    assert error(api.post(f"user/{other['id']}/update", email="ada@example.com")) == (409, "CONFLICT")
    assert api.post(f"user/{user_id}/update", email="ada@example.com").status_code == 200
    with pytest.raises(ValueError, match="email"):
        sandbox.add_user("ada@example.com")


def test_of_200_creates_at_once_one_wins(sandbox: Sandbox) -> None:
    barrier = threading.Barrier(200)

    def create(_: int) -> int:
        barrier.wait()
        return requests.post(
            f"{sandbox.url}/api/v1/user/create",
            json={"email": "ada@example.com"},
            headers={"Authorization": "Bearer sk-test"},
            timeout=60,
        ).status_code

    with ThreadPoolExecutor(200) as pool:
        statuses = list(pool.map(create, range(200)))
    assert sorted(statuses) == [200] + [409] * 199
    assert [user["email"] for user in sandbox.users.values()] == ["ada@example.com"]
    assert len(sandbox.requests) == 200


def test_a_blank_email_is_none_and_taken_by_nobody(api: Api, sandbox: Sandbox) -> None:
    first, second = (api.post("user/create", email="", name="x").json()["id"] for _ in range(2))
    assert first != second
    assert "email" not in sandbox.users[first]
    ada = sandbox.add_user("ada@example.com")
    api.post(f"user/{ada['id']}/update", email="")
    assert "email" not in api.get(f"user/{ada['id']}/fetch").json()


def test_an_update_merges_under_update_and_blanks_names(api: Api, sandbox: Sandbox) -> None:
    user = sandbox.add_user("ada@example.com", name="Ada", image="a.png", meta={"a": 1, "b": {"c": 2}})
    before = user["updatedAt"]
    assert api.post(f"user/{user['id']}/update", name="", image=None, meta={"$update": {"b": 3, "d": 4}}).json() == {
        "id": user["id"]
    }
    fetched = api.get(f"user/{user['id']}/fetch").json()
    assert fetched == sandbox.users[user["id"]]
    assert (fetched["name"], fetched["meta"]) == ("", {"a": 1, "b": 3, "d": 4})
    assert "image" not in fetched
    assert fetched["updatedAt"] > before


def test_filters_of_users(api: Api, sandbox: Sandbox) -> None:
    ada = sandbox.add_user("ada@example.com", meta={"team": "x", "admin": True})
    bob = sandbox.add_user("bob@example.com", meta={"team": "x"})
    odd = sandbox.add_user(None, meta=None)
    assert api.ids("user/list", email="ada@example.com") == [ada["id"]]
    assert api.ids("user/list", email="nobody@example.com") == []
    assert api.ids("user/list", **{"meta.team": "x"}) == [bob["id"], ada["id"]]
    assert api.ids("user/list", **{"meta[team]": "x", "meta.admin": "true"}) == [ada["id"]]
    sandbox.ignore_filters = True
    odd["meta"] = {}
    assert api.ids("user/list", email="ada@example.com") == [odd["id"], bob["id"], ada["id"]]


def test_an_unknown_user_is_404_to_every_operation(api: Api) -> None:
    assert error(api.get("user/none/fetch")) == (404, "NOT_FOUND")
    assert error(api.get("user/none/token/list")) == (404, "NOT_FOUND")
    for name in ("update", "delete", "session/create", "token/create", "token/none/delete"):
        assert error(api.post(f"user/none/{name}")) == (404, "NOT_FOUND")


def test_a_deleted_user_takes_everything_along(api: Api, sandbox: Sandbox) -> None:
    user = sandbox.add_user("ada@example.com")
    token = api.post(f"user/{user['id']}/token/create").json()["token"]
    api.post("contact/create", run_as(user), email="c@example.com")
    api.post("conversation/create", run_as(user))
    kept = sandbox.add_contact("d@example.com")
    assert api.post(f"user/{user['id']}/delete").json() == {"id": user["id"]}
    assert (sandbox.users, list(sandbox.contacts), sandbox.conversations) == ({}, [kept["id"]], {})
    assert error(api.get("contact/list", {"Authorization": f"Bearer {token}"})) == (401, "NOT_AUTHENTICATED")


# Lists


@pytest.mark.parametrize("order", ["desc", "asc"])
def test_250_records_come_in_three_pages(api: Api, sandbox: Sandbox, order: str) -> None:
    made = [sandbox.add_contact(f"{number}@example.com")["id"] for number in range(250)]
    pages: list[list[str]] = []
    cursor = ""
    while not pages or pages[-1]:
        answer = api.get("contact/list", order=order, cursor=cursor).json()
        pages.append([item["id"] for item in answer["items"]])
        cursor = answer.get("cursor", "")
    assert [len(page) for page in pages] == [100, 100, 50, 0]
    assert sum(pages, []) == (made if order == "asc" else made[::-1])  # noqa: RUF017  # three short lists


def test_equal_times_are_ordered_by_id(api: Api, sandbox: Sandbox) -> None:
    made = sorted(sandbox.add_contact("a@example.com", createdAt=1000)["id"] for _ in range(5))
    assert api.ids("contact/list", order="asc") == made
    sandbox.page_size = 2
    first = api.get("contact/list").json()
    assert [item["id"] for item in first["items"]] == made[:2:-1]
    # What comes or goes meanwhile shifts nothing, but for the one that the cursor names.
    sandbox.add_contact("new@example.com")
    assert api.ids("contact/list", cursor=first["cursor"]) == [made[2], made[1]]


@pytest.mark.parametrize(("take", "count"), [("1", 1), ("1.5", 1), ("-1", 1), ("100", 100), ("1000", 100)])
def test_take_is_at_most_100(api: Api, sandbox: Sandbox, take: str, count: int) -> None:
    for number in range(101):
        sandbox.add_user(f"{number}@example.com")
    assert len(api.ids("user/list", take=take)) == count
    assert len(jsonl(api.get("user/list", {"Accept": "application/jsonl"}, take=take))) == count


@pytest.mark.parametrize(
    "query",
    [{"take": "0"}, {"take": ""}, {"take": "x"}],
)
def test_a_take_that_is_no_number_is_the_default(api: Api, sandbox: Sandbox, query: dict[str, str]) -> None:
    for number in range(101):
        sandbox.add_user(f"{number}@example.com")
    assert len(api.ids("user/list", **query)) == 100


def test_an_order_that_makes_no_sense_is_the_default(api: Api, sandbox: Sandbox) -> None:
    made = [sandbox.add_user(f"{number}@example.com")["id"] for number in range(3)]
    assert api.ids("user/list", order="up") == made[::-1]


def test_a_filter_without_a_value_is_none(api: Api, sandbox: Sandbox) -> None:
    user, contact = sandbox.add_user("ada@example.com"), sandbox.add_contact("ada@example.com", meta={"a": ""})
    assert api.ids("user/list", email="") == [user["id"]]
    assert api.ids("contact/list", **{"meta.a": ""}) == [contact["id"]]
    assert api.ids("contact/list", **{"meta.b": ""}) == [contact["id"]]


@pytest.mark.parametrize("key", ["meta.plan.name", "meta[plan.name]"])
def test_a_filter_reaches_into_meta(api: Api, sandbox: Sandbox, key: str) -> None:
    contact = sandbox.add_contact("ada@example.com", meta={"plan": {"name": "pro"}})
    sandbox.add_contact("bob@example.com", meta={"plan": "pro"})
    assert api.ids("contact/list", **{key: "pro"}) == [contact["id"]]
    assert api.ids("contact/list", **{key: "free"}) == []


# Tokens


def test_a_session_acts_as_the_user_until_it_ends(conformity: Conformity | None) -> None:
    now = [1_000_000.0]
    with Sandbox(clock=lambda: now[0]) as sandbox:
        api = Api(sandbox, conformity)
        with api.session:
            user = sandbox.add_user("ada@example.com")
            session = api.post(f"user/{user['id']}/session/create", durationInSeconds=60).json()
            assert session["expiresAt"] == 1_000_060_000
            bearer = {"Authorization": f"Bearer {session['token']}"}
            contact_id = api.post("contact/create", bearer, email="c@example.com").json()["id"]
            assert api.ids("contact/list", run_as(user)) == [contact_id]
            assert api.get(f"user/{user['id']}/token/list").json()["items"] == []
            now[0] += 60
            assert error(api.get("contact/list", bearer)) == (401, "NOT_AUTHENTICATED")
            assert (
                api.post(f"user/{user['id']}/session/create", durationInSeconds=None).json()["expiresAt"]
                == 1_000_960_000
            )
            for seconds in (0, -1, "60", True, 1e300):
                response = api.post(f"user/{user['id']}/session/create", durationInSeconds=seconds)
                assert error(response) == (400, "BAD_REQUEST")


def test_a_session_opens_its_routes_alone_and_brings_its_contact(api: Api, sandbox: Sandbox) -> None:
    user = sandbox.add_user("ada@example.com")
    contact_id = api.post("contact/create", run_as(user)).json()["id"]
    config = {"allowedRoutes": ["/v1/conversation/*", "contact/*/conversation/list"], "contactId": contact_id}
    token = api.post(f"user/{user['id']}/session/create", config=config).json()["token"]
    bearer = {"Authorization": f"Bearer {token}"}
    conversation_id = api.post("conversation/create", bearer).json()["id"]
    assert api.ids(f"contact/{contact_id}/conversation/list", bearer) == [conversation_id]
    assert error(api.get("contact/list", bearer)) == (403, "NOT_AUTHORIZED")
    wrong = {"allowedRoutes": "*"}
    assert error(api.post(f"user/{user['id']}/session/create", config=wrong)) == (400, "BAD_REQUEST")


def test_a_long_lived_token_acts_as_the_user_until_it_is_deleted(api: Api, sandbox: Sandbox) -> None:
    user = sandbox.add_user("ada@example.com")
    token = api.post(f"user/{user['id']}/token/create", name="cli", meta={"a": 1}).json()
    [listed] = api.get(f"user/{user['id']}/token/list").json()["items"]
    assert (listed["id"], listed["name"], listed["meta"]) == (token["id"], "cli", {"a": 1})
    assert "token" not in listed
    bearer = {"Authorization": f"Bearer {token['token']}"}
    assert api.ids("contact/list", bearer) == []
    assert error(api.post("user/create", bearer, email="b@example.com")) == (403, "NOT_AUTHORIZED")
    api.post(f"user/{user['id']}/token/{token['id']}/delete")
    assert error(api.get("contact/list", bearer)) == (401, "NOT_AUTHENTICATED")
    assert error(api.post(f"user/{user['id']}/token/{token['id']}/delete")) == (404, "NOT_FOUND")


# Run as


def test_each_account_has_contacts_and_conversations_of_its_own(api: Api, sandbox: Sandbox) -> None:
    ada, bob = sandbox.add_user("ada@example.com"), sandbox.add_user("bob@example.com")
    contact_id = api.post("contact/ensure", run_as(ada), fingerprint=FINGERPRINT).json()["id"]
    assert api.ids("contact/list", {"x-runas-child-user-email": "ada@example.com"}) == [contact_id]
    for headers in (None, run_as(bob)):
        assert api.ids("contact/list", headers) == []
        assert error(api.get(f"contact/{contact_id}/fetch", headers)) == (403, "NOT_AUTHORIZED")
        assert error(api.post("conversation/complete", headers, **SAY_HELLO, contactId=contact_id))[0] == 400
        assert api.post("contact/ensure", headers, fingerprint=FINGERPRINT).json()["id"] != contact_id
    conversation_id = api.post("conversation/create", run_as(ada), contactId=contact_id).json()["id"]
    assert error(api.post(f"conversation/{conversation_id}/complete", run_as(bob)))[0] == 403
    assert api.ids(f"contact/{contact_id}/conversation/list", run_as(ada)) == [conversation_id]


def test_a_sub_account_has_no_children(api: Api, sandbox: Sandbox) -> None:
    ada, bob = sandbox.add_user("ada@example.com"), sandbox.add_user("bob@example.com")
    assert api.ids("user/list", run_as(ada)) == []
    assert error(api.get(f"user/{bob['id']}/fetch", run_as(ada))) == (403, "NOT_AUTHORIZED")
    assert error(api.post("user/create", run_as(ada), email="c@example.com")) == (403, "NOT_AUTHORIZED")
    token = api.post(f"user/{ada['id']}/token/create").json()["token"]
    headers = {"Authorization": f"Bearer {token}", **run_as(bob)}
    assert error(api.get("contact/list", headers)) == (401, "NOT_AUTHENTICATED")


@pytest.mark.parametrize("headers", [{"x-runas-user-id": "none"}, {"x-runas-child-user-email": "none@example.com"}])
def test_running_as_a_stranger_is_401(api: Api, headers: dict[str, str]) -> None:
    assert error(api.get("contact/list", headers)) == (401, "NOT_AUTHENTICATED")


# Contacts


def test_ensure_makes_one_verified_contact_and_leaves_it_alone(api: Api, sandbox: Sandbox) -> None:
    fields = {"email": "ada@example.com", "meta": {"email": "ada@example.com"}}
    first = api.post("contact/ensure", fingerprint=f" {FINGERPRINT} ", name="Ada", **fields).json()["id"]
    before = dict(sandbox.contacts[first])
    assert (before["fingerprint"], before["name"]) == (FINGERPRINT, "Ada")
    assert isinstance(before["verifiedAt"], int)
    assert api.post("contact/ensure", fingerprint=FINGERPRINT, name="Other", meta={"x": 1}).json()["id"] == first
    assert sandbox.contacts == {first: before}


@pytest.mark.parametrize("fingerprint", ["", "f" * 16, " " + "f" * 16 + " "])
def test_ensure_needs_17_characters(api: Api, fingerprint: str) -> None:
    assert error(api.post("contact/ensure", fingerprint=fingerprint)) == (400, "BAD_REQUEST")


def test_ensure_of_an_unverified_contact_is_500(api: Api, sandbox: Sandbox) -> None:
    sandbox.add_contact("ada@example.com", fingerprint=FINGERPRINT)
    assert api.post("contact/ensure", fingerprint=FINGERPRINT).status_code == 500


def test_of_100_ensures_at_once_one_contact_is_made_and_losers_conflict(sandbox: Sandbox) -> None:
    barrier = threading.Barrier(100)

    def ensure(_: int) -> tuple[int, str | None]:
        barrier.wait()
        url, headers = f"{sandbox.url}/api/v1/contact/ensure", {"Authorization": "Bearer sk-test"}
        response = requests.post(url, json={"fingerprint": FINGERPRINT}, headers=headers, timeout=60)
        return response.status_code, response.json().get("id")

    with ThreadPoolExecutor(100) as pool:
        answers = list(pool.map(ensure, range(100)))
    (only,) = sandbox.contacts
    assert {answer for answer in answers if answer[0] == 200} == {(200, only)}
    assert {status for status, _ in answers} <= {200, 409}


def test_contacts_share_emails_and_not_fingerprints(api: Api, sandbox: Sandbox) -> None:
    for _ in range(2):
        assert api.post("contact/create", email="ada@example.com").status_code == 200
    assert len({contact["fingerprint"] for contact in sandbox.contacts.values()}) == 2
    assert api.post("contact/create", fingerprint="short").status_code == 200
    assert error(api.post("contact/create", fingerprint="short")) == (409, "CONFLICT")


def test_contacts_are_filtered_by_meta_and_not_by_email(api: Api, sandbox: Sandbox) -> None:
    right = sandbox.add_contact("ada@example.com", meta={"email": "ada@example.com"})
    blank = sandbox.add_contact("ada@example.com", meta={"email": ""})
    plain = sandbox.add_contact("bob@example.com")
    assert api.ids("contact/list", **{"meta.email": "ada@example.com"}) == [right["id"]]
    assert api.ids("contact/list", **{"meta[email]": "ada@example.com"}) == [right["id"]]
    assert api.ids("contact/list", email="ada@example.com") == [plain["id"], blank["id"], right["id"]]
    assert plain["meta"] == {}
    assert plain["fingerprint"]
    assert "verifiedAt" not in plain


# Conversations


def test_a_completion_echoes_and_counts(api: Api) -> None:
    messages = [
        {"type": "user", "text": "First"},
        {"type": "bot", "text": "Yes?"},
        {"type": "user", "text": "Second"},
        {"type": "backstory", "text": "Be kind"},
    ]
    answer = api.post("conversation/complete", messages=messages).json()
    assert answer == api.post("conversation/complete", messages=messages).json()
    assert "Second" in answer["text"]
    assert "4 messages" in answer["text"]
    assert answer["end"] == {"reason": "stop"}
    assert answer["usage"]["token"] > 0


def test_a_streamed_completion_says_the_same_token_by_token(api: Api, sandbox: Sandbox) -> None:
    sandbox.token_delay = 0.0001
    response = api.post("conversation/complete", {"Accept": "application/jsonl"}, **SAY_HELLO)
    assert response.headers["Transfer-Encoding"] == "chunked"
    events = jsonl(response)
    text = "".join(event["data"]["token"] for event in events if event["type"] == "token")
    assert [event["type"] for event in events if event["type"] != "token"] == ["message", "usage", "result"]
    assert events[-3]["data"] == {"type": "bot", "text": text}
    assert events[-1]["data"] == api.post("conversation/complete", **SAY_HELLO).json()
    assert text == events[-1]["data"]["text"]


def test_a_conversation_remembers(api: Api) -> None:
    conversation_id = api.post("conversation/create", **SAY_HELLO).json()["id"]
    assert "1 message." in api.post(f"conversation/{conversation_id}/complete").json()["text"]
    answer = api.post(f"conversation/{conversation_id}/complete", text="And now?").json()
    assert "And now?" in answer["text"]
    assert "3 messages" in answer["text"]
    assert error(api.post("conversation/none/complete", text="x")) == (404, "NOT_FOUND")


def test_the_contact_of_a_chat_must_exist_or_is_ensured(api: Api, sandbox: Sandbox) -> None:
    for path in ("conversation/complete", "conversation/create"):
        assert error(api.post(path, **SAY_HELLO, contactId="none")) == (400, "BAD_REQUEST")
    assert error(api.get("contact/none/conversation/list")) == (404, "NOT_FOUND")
    contact = {"fingerprint": FINGERPRINT, "email": "ada@example.com"}
    assert api.post("conversation/complete", **SAY_HELLO, contactId=contact).status_code == 200
    assert [contact["email"] for contact in sandbox.contacts.values()] == ["ada@example.com"]


# Faults


@pytest.mark.parametrize("glob", ["/api/v1/user/list", "*/user/list", "*"])
def test_a_status_so_many_times(api: Api, sandbox: Sandbox, glob: str) -> None:
    sandbox.fail(glob, status=503, times=2)
    assert [api.get("user/list").status_code for _ in range(3)] == [503, 503, 200]
    assert [call.status for call in sandbox.requests] == [503, 503, 200]


def test_a_fault_until_healed_for_one_method_and_path(api: Api, sandbox: Sandbox) -> None:
    sandbox.fail("*/user/*", status=500, method="POST")
    assert [api.post("user/create").status_code for _ in range(2)] == [500, 500]
    assert api.get("user/list").status_code == 200
    assert api.post("contact/create").status_code == 200
    sandbox.heal()
    assert api.post("user/create").status_code == 200
    assert len(sandbox.users) == 1


def test_faults_come_in_the_order_they_were_asked_for(api: Api, sandbox: Sandbox) -> None:
    sandbox.fail("*", status=429, times=1, code="LIMITS_REACHED", headers={"Retry-After": "1"})
    sandbox.fail("*", status=429, times=1)
    first, second = api.get("user/list"), api.get("user/list")
    assert error(first) == (429, "LIMITS_REACHED")
    assert first.headers["Retry-After"] == "1"
    assert "plan" in first.json()["message"]
    assert second.json()["message"].endswith("rate limits: rate/poll")
    assert error(second) == (429, "LIMITS_REACHED")


@pytest.mark.parametrize(
    ("body", "status", "content_type"),
    [
        ("<html>Bad gateway</html>", 502, "text/html"),
        ("<html>Welcome</html>", None, "text/html"),
        (b'{"items": [', None, "application/json"),
        (b"\xff\x00", 500, "application/json"),
        ("", 200, "application/json"),
    ],
)
def test_a_body_is_sent_as_it_is(sandbox: Sandbox, body: str | bytes, status: int | None, content_type: str) -> None:
    sandbox.fail("*", status=status, body=body)
    response = requests.get(f"{sandbox.url}/api/v1/user/list", timeout=30)
    assert response.status_code == (status or 200)
    assert response.content == (body.encode() if isinstance(body, str) else body)
    assert response.headers["Content-Type"].startswith(content_type)


def test_headers_of_a_fault_replace_those_of_the_answer(sandbox: Sandbox) -> None:
    sandbox.fail("*", status=599, body="<html>", headers={"content-type": "text/plain", "X-Proxy": "yes"})
    response = requests.get(f"{sandbox.url}/anything", timeout=30)
    assert (response.status_code, response.headers["Content-Type"]) == (599, "text/plain")
    assert response.headers["X-Proxy"] == "yes"


def test_a_dropped_request_is_not_carried_out(api: Api, sandbox: Sandbox) -> None:
    sandbox.fail("*", drop=True, times=1)
    with pytest.raises(requests.ConnectionError):
        api.post("user/create")
    assert sandbox.users == {}
    assert [call.status for call in sandbox.requests] == [0]
    assert api.post("user/create").status_code == 200


@pytest.mark.parametrize(("sent", "status"), [(0, 0), (10, 200), (-1, 200)])
def test_an_answer_cut_short_is_carried_out(api: Api, sandbox: Sandbox, sent: int, status: int) -> None:
    sandbox.fail("*", drop=sent, times=1)
    with pytest.raises((requests.ConnectionError, requests.exceptions.ChunkedEncodingError)):
        api.post("user/create")
    assert len(sandbox.users) == 1
    assert [call.status for call in sandbox.requests] == [status]


def test_a_stream_and_a_page_may_be_cut_short(api: Api, sandbox: Sandbox) -> None:
    sandbox.fail("*/complete", drop=300)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        api.post("conversation/complete", {"Accept": "application/jsonl"}, **SAY_HELLO)
    sandbox.fail("*/list", body="<html></html>", drop=-3)
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        api.get("contact/list")


def test_a_delay_alone_goes_on_as_usual_and_adds_up(api: Api, sandbox: Sandbox) -> None:
    sandbox.fail("*", delay=0.001)
    sandbox.fail("*", delay=0.001, status=504, times=1)
    assert api.get("user/list").status_code == 504
    assert api.get("user/list").status_code == 200


def test_a_client_that_gives_up_in_a_delay_is_on_record(api: Api, sandbox: Sandbox) -> None:
    sandbox.fail("*", delay=3600)
    with pytest.raises(requests.Timeout):
        api.session.get(f"{sandbox.url}/api/v1/user/list", timeout=0.5)
    assert [(call.path, call.status) for call in sandbox.requests] == [("/api/v1/user/list", 0)]
    # The fixture's end shows that a sleeping request does not hold up stopping.


@pytest.mark.parametrize(
    "fault", [{}, {"times": 1}, {"code": "LIMITS_REACHED", "drop": True}, {"headers": {"Retry-After": "1"}}]
)
def test_a_fault_must_say_what_goes_wrong(sandbox: Sandbox, fault: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="status"):
        sandbox.fail("*", **fault)


# The log, and serving


def test_requests_tell_what_was_sent(api: Api, sandbox: Sandbox) -> None:
    api.get("contact/list", {"X-RunAs-User-Id": ""}, take=1, **{"meta.email": "a+b@example.com"})
    api.post("user/create", email="ada@example.com")
    api.send("POST", "user/create", data=b"{")
    listed, created, broken = sandbox.requests
    assert (listed.method, listed.path) == ("GET", "/api/v1/contact/list")
    assert listed.query == {"take": "1", "meta.email": "a+b@example.com"}
    assert (listed.json, listed.status) == (None, 200)
    assert listed.headers["authorization"] == "Bearer sk-test"
    assert "x-runas-user-id" in listed.headers
    assert (created.method, created.json, created.status) == ("POST", {"email": "ada@example.com"}, 200)
    assert (broken.json, broken.status) == (None, 400)
    with pytest.raises(AttributeError):
        created.status = 500  # type: ignore[misc]


def test_one_connection_serves_many_requests(api: Api, sandbox: Sandbox) -> None:
    opened = _connections(api)
    for _ in range(5):
        api.get("user/list")
        assert error(api.send("POST", "user/create", data=b"no json")) == (400, "BAD_REQUEST")
        api.post("conversation/complete", {"Accept": "application/jsonl"}, **SAY_HELLO)
    assert api.send("HEAD", "user/list").content == b""
    assert api.get("user/list").status_code == 200
    assert opened() == 1


def _connections(api: Api) -> Callable[[], int]:
    """Return a function that tells how many connections the client has opened so far."""

    def opened() -> int:
        adapter = api.session.get_adapter(api.sandbox.url)
        assert isinstance(adapter, requests.adapters.HTTPAdapter)
        pools = adapter.poolmanager.pools
        return sum(pools[key].num_connections for key in pools.keys())  # noqa: SIM118  # it cannot be iterated over

    return opened


def test_a_body_of_unknown_length_is_refused(sandbox: Sandbox) -> None:
    response = requests.post(f"{sandbox.url}/api/v1/user/create", data=iter([b"{}"]), timeout=30)
    assert response.status_code == 411


def test_reset_forgets_everything(api: Api, sandbox: Sandbox) -> None:
    user = sandbox.add_user("ada@example.com")
    sandbox.add_contact("ada@example.com")
    token = api.post(f"user/{user['id']}/token/create").json()["token"]
    api.post("conversation/create", run_as(user))
    sandbox.fail("*", status=500)
    sandbox.latency, sandbox.page_size, sandbox.ignore_filters = 0.001, 1, True
    sandbox.reset()
    assert (sandbox.users, sandbox.contacts, sandbox.conversations, sandbox.requests) == ({}, {}, {}, [])
    assert (sandbox.latency, sandbox.page_size, sandbox.ignore_filters) == (0.0, 100, False)
    assert api.get("user/list").json() == {"items": []}
    assert api.get("user/list", {"Authorization": f"Bearer {token}"}).status_code == 401


def test_stopped_and_started_again_it_is_the_same_api(api: Api, sandbox: Sandbox) -> None:
    api.post("user/create", email="ada@example.com")
    url = sandbox.url
    sandbox.stop()
    sandbox.stop()
    # The client's connection is kept alive, and yet nobody answers there any more.
    with pytest.raises(requests.ConnectionError):
        api.get("user/list")
    assert sandbox.start() is sandbox
    assert sandbox.url == url
    assert len(api.ids("user/list")) == 1
    with pytest.raises(RuntimeError, match="running"):
        sandbox.start()


def test_before_the_start_there_is_no_url() -> None:
    sandbox = Sandbox()
    with pytest.raises(RuntimeError, match="start"):
        _ = sandbox.url
    with pytest.raises(RuntimeError, match="start"):
        sandbox.wait()


def test_wait_lasts_until_somebody_stops_it() -> None:
    sandbox = Sandbox().start()
    waiting = threading.Thread(target=sandbox.wait)
    waiting.start()
    sandbox.stop()
    waiting.join(30)
    assert not waiting.is_alive()


def test_wait_lasts_until_ctrl_c(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(self: threading.Thread, timeout: float | None = None) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "join", interrupted)
        sandbox.wait()
    assert requests.get(sandbox.url, timeout=30).status_code == 404
