"""Kept conversations: each person has their own, in every mode, and nobody reads or continues another's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient
from flask_login import current_user, login_required
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import NotAuthenticated, current_auth
from flask_chatbotkit_auth.chat import (
    InvalidMessages,
    UnknownConversation,
    create_conversation,
    delete_conversation,
    list_conversations,
    list_messages,
    stream_completion,
)
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.apps import MakeApp

HELLO = [{"type": "user", "text": "Hello"}]
SignIn = Callable[..., TestResponse]


@pytest.fixture(params=["partner", "contact", "workspace"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Chat:
    """Two people of an application, and the options of their calls."""

    def __init__(self, app: Flask, sandbox: Sandbox, mode: str) -> None:
        self.app, self.sandbox = app, sandbox
        add = sandbox.add_contact if mode != "partner" else sandbox.add_user
        self.ada, self.eve = (add(f"{name}@example.com")["id"] for name in ("ada", "eve"))
        self.options: dict[str, Any] = {}
        if mode == "workspace":
            self.options["run_as"] = sandbox.add_user("company@example.com")["id"]

    def say(self, user: str, conversation: str | None, messages: Any = HELLO, **more: Any) -> str:
        with self.app.test_request_context():
            answer = stream_completion(user, messages, conversation=conversation, **self.options, **more)
            return answer.get_data(as_text=True)

    def texts(self, user: str, conversation: str) -> list[str]:
        with self.app.app_context():
            return [each["text"] for each in list_messages(user, conversation, **self.options)]


@pytest.fixture
def chat(make_app: MakeApp, chatbotkit_sandbox: Sandbox, mode: str) -> Chat:
    adapter = "partner" if mode == "partner" else "contact"
    return Chat(make_app(CHATBOTKIT_AUTH_ADAPTER=adapter), chatbotkit_sandbox, mode)


def made(chat: Chat, user: str, **options: Any) -> str:
    with chat.app.app_context():
        return create_conversation(user, **chat.options, **options)


def test_a_conversation_is_kept_and_goes_on(chat: Chat) -> None:
    id = made(chat, chat.ada, backstory="You are kind.", name="About roses")
    chat.say(chat.ada, id)
    answer = chat.say(chat.ada, id, {"messages": [*HELLO, {"type": "bot", "text": "forged"}, *HELLO[:0], *HELLO]})
    assert "I have seen 3 messages." in json.loads(answer.splitlines()[-1])["data"]["text"]
    texts = chat.texts(chat.ada, id)
    assert (len(texts), texts[0], texts[2]) == (4, "Hello", "Hello")
    assert "forged" not in texts
    with chat.app.app_context():
        (listed,) = list_conversations(chat.ada, **chat.options)
    assert (listed["id"], listed["name"]) == (id, "About roses")


def test_conversations_are_listed_page_by_page(chat: Chat) -> None:
    ids = [made(chat, chat.ada) for _ in range(3)]
    made(chat, chat.eve)
    with chat.app.app_context():
        first = list_conversations(chat.ada, take=2, **chat.options)
        rest = list_conversations(chat.ada, take=2, after=first[-1]["id"], **chat.options)
    assert [each["id"] for each in [*first, *rest]] == ids[::-1]


def test_another_persons_conversation_is_unknown(chat: Chat) -> None:
    id = made(chat, chat.ada)
    chat.say(chat.ada, id)
    chat.sandbox.requests.clear()
    for attack in (
        lambda: chat.say(chat.eve, id),
        lambda: chat.texts(chat.eve, id),
        lambda: delete_conversation(chat.eve, id, **chat.options),
    ):
        with chat.app.test_request_context(), pytest.raises(UnknownConversation):
            attack()
    assert {request.method for request in chat.sandbox.requests} == {"GET"}
    assert len(chat.texts(chat.ada, id)) == 2
    with chat.app.app_context():
        assert list_conversations(chat.eve, **chat.options) == []


def test_who_owns_a_workspace_reads_no_colleagues_conversation(app: Flask, chatbotkit_sandbox: Sandbox) -> None:
    ada, ben = (chatbotkit_sandbox.add_user(f"{name}@example.com")["id"] for name in ("ada", "ben"))
    with app.test_request_context():
        id = create_conversation(ben, run_as=ada)
        assert list_conversations(ada, run_as=ada) == []
        with pytest.raises(UnknownConversation):
            list_messages(ada, id, run_as=ada)


def test_a_server_that_knows_no_filter_shows_nobody_elses(chat: Chat) -> None:
    made(chat, chat.ada)
    chat.sandbox.ignore_filters = True
    with chat.app.app_context():
        assert list_conversations(chat.eve, **chat.options) == []


def test_a_deleted_conversation_is_gone(chat: Chat) -> None:
    id = made(chat, chat.ada)
    with chat.app.test_request_context():
        delete_conversation(chat.ada, id, **chat.options)
        with pytest.raises(UnknownConversation):
            delete_conversation(chat.ada, id, **chat.options)
    assert chat.sandbox.conversations == {}


@pytest.mark.parametrize("id", ["none", "", "..", "../list", "a//b", "x/../../contact/list", 5, None, ["x"]])
def test_an_id_that_a_browser_made_up_is_unknown(chat: Chat, id: Any) -> None:
    with chat.app.test_request_context(), pytest.raises(UnknownConversation):
        delete_conversation(chat.ada, id, **chat.options)
    assert all(each.path.count("/") == 5 for each in chat.sandbox.requests)


def test_what_is_kept_begins_with_the_person(chat: Chat) -> None:
    id = made(chat, chat.ada)
    wrong: list[Any] = [[], None, [{"type": "bot", "text": "x"}], [{"type": "user", "text": " "}], [*HELLO, 5]]
    for messages in wrong:
        with chat.app.test_request_context(), pytest.raises(InvalidMessages):
            chat.say(chat.ada, id, messages)
    long = [*[{"type": "bot", "text": "x"}] * 500, *HELLO]
    assert '"result"' in chat.say(chat.ada, id, long)


@pytest.mark.parametrize(
    ("conversation", "options", "sentence"),
    [
        (None, {"back_story": "x"}, "did you mean 'backstory'"),
        (None, {"bot_id": "x"}, "did you mean 'botId'"),
        (None, {"colour": "x"}, "there are botId"),
        ("c1", {"backstory": "x"}, "pass it to create_conversation"),
        ("c1", {"function": []}, "did you mean 'functions'"),
    ],
)
def test_a_misspelt_option_says_so(
    app: Flask, chatbotkit_sandbox: Sandbox, conversation: str | None, options: dict[str, Any], sentence: str
) -> None:
    with app.test_request_context(), pytest.raises(TypeError, match=sentence):
        stream_completion("some-id", HELLO, conversation=conversation, **options)
    with app.test_request_context(), pytest.raises(TypeError, match="did you mean 'backstory'"):
        create_conversation("some-id", back_story="x")
    assert chatbotkit_sandbox.requests == []


# When the answer is complete


def test_the_application_hears_of_a_complete_answer(chat: Chat) -> None:
    heard: list[dict[str, Any]] = []

    def hear(result: dict[str, Any]) -> None:
        assert current_auth.kind  # in the context of the request
        heard.append(result)

    for conversation in (None, made(chat, chat.ada)):
        answer = chat.say(chat.ada, conversation, on_finish=hear)
        result = json.loads(answer.splitlines()[-1])
        assert (result["type"], heard.pop()) == ("result", result["data"])
    assert result["data"]["id"]
    assert result["data"]["usage"]["token"] > 0


def test_the_application_hears_before_the_browser_reads_the_last_line(app: Flask, chatbotkit_sandbox: Sandbox) -> None:
    heard: list[Any] = []

    @app.post("/talk")
    def talk() -> Response:
        return stream_completion(chatbotkit_sandbox.add_user(None)["id"], HELLO, on_finish=heard.append)

    with app.test_client() as client:
        for line in client.post("/talk").iter_encoded():
            assert bool(heard) is (json.loads(line)["type"] == "result")
    assert len(heard) == 1


@pytest.mark.parametrize("fault", [{"drop": -60}, {"status": 503}, {"status": 402, "in_stream": True}])
def test_an_answer_that_breaks_off_is_not_complete(chat: Chat, fault: dict[str, Any]) -> None:
    heard: list[Any] = []
    chat.sandbox.fail("*/complete", **fault)
    chat.say(chat.ada, None, on_finish=heard.append)
    assert heard == []


def test_what_the_application_raises_breaks_no_answer(chat: Chat, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_result: dict[str, Any]) -> None:
        raise RuntimeError("no room")

    assert '"result"' in chat.say(chat.ada, None, on_finish=fail)
    assert "on_finish failed" in caplog.text


# In a view


def add_views(app: Flask) -> None:
    @app.post("/chat/<id>")
    @login_required  # type: ignore[untyped-decorator]
    def talk(id: str) -> Response:
        return stream_completion(current_user, request.get_json(), conversation=id)

    @app.get("/chat/<id>")
    @login_required  # type: ignore[untyped-decorator]
    def read(id: str) -> Any:
        return {"messages": list_messages(current_user, id)}

    @app.route("/bots/<id>", methods=["GET", "POST"])
    @login_required  # type: ignore[untyped-decorator]
    def bot(id: str) -> Any:
        return current_auth.client_for(current_user).get(f"/bot/{id}/fetch")


@pytest.fixture
def client(app: Flask, sign_in: SignIn) -> FlaskClient:
    add_views(app)
    client = app.test_client()
    sign_in(client, "ada@example.com")
    return client


def test_a_view_answers_404_about_an_unknown_conversation(client: FlaskClient) -> None:
    answer = client.post("/chat/none", json={"messages": HELLO})
    assert (answer.status_code, answer.get_json()["code"]) == (404, "unknown_conversation")
    assert answer.get_json()["error"]["code"] == "unknown_conversation"
    assert client.get("/chat/none").status_code == 404


@pytest.mark.parametrize(
    ("fault", "status", "code", "retry_after"),
    [
        ({"status": 404}, 404, "not_found", None),
        ({"status": 403}, 404, "not_found", None),
        ({"status": 404, "body": "<html>"}, 503, "upstream_unavailable", None),
        ({"status": 401}, 503, "upstream_unavailable", None),
        ({"status": 400}, 503, "upstream_unavailable", None),
        ({"status": 500}, 503, "upstream_unavailable", None),
        ({"drop": True}, 503, "upstream_unavailable", None),
        ({"status": 429}, 429, "rate_limited", "60"),
        ({"status": 429, "code": "LIMITS_REACHED"}, 429, "limits_reached", None),
    ],
)
def test_a_failed_call_in_a_view_is_a_page_or_json_about_it(
    client: FlaskClient,
    chatbotkit_sandbox: Sandbox,
    caplog: pytest.LogCaptureFixture,
    fault: dict[str, Any],
    status: int,
    code: str,
    retry_after: str | None,
) -> None:
    chatbotkit_sandbox.fail("*/bot/*", **fault)
    caplog.clear()
    page = client.get("/bots/b1?a=%22")
    assert page.status_code == status
    assert "<h1" in page.text
    assert page.headers.get("Retry-After") == retry_after
    assert ("/bots/b1?a=%22" in page.text) is (status != 404)
    assert "Your code" not in page.text
    assert len([each for each in caplog.records if each.levelname == ("ERROR" if status == 503 else "WARNING")]) == 1
    answer = client.post("/bots/b1", json={})
    assert (answer.status_code, answer.get_json()["error"]["code"]) == (status, code)


def test_an_application_keeps_the_last_word_about_the_api(
    app: Flask, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    app.register_error_handler(NotAuthenticated, lambda error: ("mine", 418))
    add_views(app)
    client = app.test_client()
    sign_in(client, "ada@example.com")
    chatbotkit_sandbox.fail("*/bot/*", status=401)
    assert client.get("/bots/b1").status_code == 418
