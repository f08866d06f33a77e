"""The product of the documentation: everything that its page promises, on the sandbox."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from flask_chatbotkit_auth import User, current_auth
from flask_chatbotkit_auth.testing import Sandbox
from tests.support.samples import sample

ADA, BEN, EVE = (f"{name}@example.com" for name in ("ada", "ben", "eve"))
HELLO = {"messages": [{"type": "user", "text": "Hello"}]}

Post = Callable[..., TestResponse]
SignIn = Callable[..., TestResponse]


@pytest.fixture
def product(
    chatbotkit_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bare_environment: None
) -> Iterator[Any]:
    """The module that a reader gets who copies the sample."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CHATBOTKIT_API_URL", chatbotkit_sandbox.url)
    monkeypatch.setattr(Flask, "default_config", {**Flask.default_config, "TESTING": True})
    module: Any = ModuleType("product")
    module.__file__ = str(tmp_path / "product.py")
    monkeypatch.setitem(__import__("sys").modules, "product", module)
    code = sample("product-app").code.replace('"sk-…"', '"sk-test"').replace('SECRET_KEY="…"', 'SECRET_KEY="not one"')
    exec(compile(code, "product.py", "exec"), vars(module))  # noqa: S102  # our own
    module.app = module.create_app()
    yield module
    module.app.extensions["chatbotkit_auth"].store.close()
    with module.app.app_context():
        module.db.engine.dispose()


@pytest.fixture
def app(product: Any) -> Flask:
    app: Flask = product.app
    return app


@pytest.fixture
def join(product: Any, sign_in: SignIn, post: Post) -> Callable[..., FlaskClient]:
    """Invite a person, sign them in, and take them through the onboarding."""

    def join(email: str, *, team: str | None = None, onboarded: bool = True) -> FlaskClient:
        with product.app.app_context():
            product.db.session.merge(product.Invitation(email=email, team=team))
            product.db.session.commit()
        client: FlaskClient = product.app.test_client()
        assert sign_in(client, email).status_code == 200
        if onboarded:
            post(client, "/welcome", {"name": email.partition("@")[0]})
        return client

    return join


def pay(app: Flask, email: str, plan: str, key: str = "…") -> int:
    body = json.dumps({"email": email, "plan": plan})
    headers = {"X-Signature": hmac.new(key.encode(), body.encode(), "sha256").hexdigest()}
    return (
        app.test_client()
        .post("/webhooks/payment", data=body, content_type="application/json", headers=headers)
        .status_code
    )


def user_of(app: Flask, email: str) -> User:
    with app.app_context():
        user = current_auth.adapter.get_by_email(email)
        assert user is not None
        return user


def made_admin(app: Flask, email: str) -> None:
    told = app.test_cli_runner().invoke(args=["chatbotkit-auth", "users", "update", email, "--meta", "role=admin"])
    assert told.exit_code == 0, told.output


def test_it_is_short() -> None:
    assert len([line for line in sample("product-app").code.splitlines() if line.strip()]) < 220


def test_a_stranger_gets_no_mail_and_no_account(
    app: Flask, post: Post, chatbotkit_sandbox: Sandbox, chatbotkit_outbox: list[Any]
) -> None:
    assert post(app.test_client(), "/auth/sign-in", {"email": EVE}).status_code == 200
    assert chatbotkit_outbox == []
    assert chatbotkit_sandbox.users == {}


def test_a_new_account_has_its_plan_and_one_bot(
    app: Flask, join: Callable[..., FlaskClient], chatbotkit_sandbox: Sandbox
) -> None:
    join(ADA)
    ada = user_of(app, ADA)
    assert (ada.limits["messages"], ada.meta["plan"]) == (50, "free")
    assert list(chatbotkit_sandbox.bots) == [ada.meta["bot"]]


def test_a_bot_that_was_made_before_a_failure_is_taken(
    app: Flask, join: Callable[..., FlaskClient], chatbotkit_sandbox: Sandbox
) -> None:
    chatbotkit_sandbox.fail("*/user/*/update", status=500, times=3)
    with pytest.raises(AssertionError):
        join(ADA)
    client = join(ADA)
    assert list(chatbotkit_sandbox.bots) == [user_of(app, ADA).meta["bot"]]
    assert client.get("/").status_code == 200


def test_a_new_person_is_welcomed_first(join: Callable[..., FlaskClient], post: Post) -> None:
    client = join(ADA, onboarded=False)
    assert client.get("/").location == "/welcome"
    assert client.get("/welcome").status_code == 200
    assert post(client, "/welcome", {"name": ""}).status_code == 400
    post(client, "/welcome", {"name": "Ada", "business": "Roses"})
    assert client.get("/").get_json() == {"name": "Ada", "plan": "free"}


def test_a_payment_changes_the_plan_in_every_session(app: Flask, join: Callable[..., FlaskClient]) -> None:
    client = join(ADA)
    assert pay(app, ADA, "pro", key="guessed") == 403
    assert client.get("/").get_json()["plan"] == "free"
    assert pay(app, ADA, "pro") == 200
    assert client.get("/").get_json()["plan"] == "pro"
    assert user_of(app, ADA).limits["messages"] == 5000


def test_a_payment_may_come_before_the_account(app: Flask, sign_in: SignIn, post: Post) -> None:
    assert pay(app, EVE, "pro") == 200
    client = app.test_client()
    assert sign_in(client, EVE).status_code == 200
    post(client, "/welcome", {"name": "Eve"})
    assert client.get("/").get_json()["plan"] == "pro"
    assert user_of(app, EVE).meta["bot"]


def test_a_colleague_works_in_the_account_of_the_team(
    app: Flask, join: Callable[..., FlaskClient], post: Post, sign_in: SignIn, chatbotkit_sandbox: Sandbox
) -> None:
    ada = join(ADA)
    link = post(ada, "/invitations", {"email": BEN}).get_json()["link"]
    ben = app.test_client()
    assert f'value="{BEN}"' in ben.get(link).text
    sign_in(ben, BEN)
    post(ben, "/welcome", {"name": "Ben"})
    assert post(ben, "/invitations", {"email": EVE}).status_code == 403
    talk = post(ben, "/conversations").get_json()["id"]
    assert '"result"' in post(ben, f"/conversations/{talk}", HELLO).text
    call = next(each for each in reversed(chatbotkit_sandbox.requests) if each.path.endswith("/complete"))
    assert call.account == user_of(app, ADA).id
    assert len(chatbotkit_sandbox.bots) == 1
    assert ada.get(f"/conversations/{talk}").status_code == 404
    assert ada.get("/conversations").get_json() == []


def test_an_invitation_stays_with_the_team_that_made_it(
    app: Flask, product: Any, join: Callable[..., FlaskClient], post: Post
) -> None:
    for email in (ADA, EVE):
        assert post(join(email), "/invitations", {"email": BEN}).status_code == 200
    with app.app_context():
        assert product.db.session.get(product.Invitation, BEN).team == user_of(app, ADA).id


def test_a_conversation_is_read_again_and_deleted(join: Callable[..., FlaskClient], post: Post) -> None:
    ada = join(ADA)
    talk = post(ada, "/conversations").get_json()["id"]
    post(ada, f"/conversations/{talk}", HELLO)
    assert [each["type"] for each in ada.get(f"/conversations/{talk}").get_json()] == ["user", "bot"]
    token = ada.get("/auth/session").get_json()["csrf_token"]
    ada.delete(f"/conversations/{talk}", headers={"X-CSRFToken": token})
    assert ada.get("/conversations").get_json() == []


def test_a_used_up_plan_is_told(app: Flask, join: Callable[..., FlaskClient], post: Post) -> None:
    ada = join(ADA)
    talk = post(ada, "/conversations").get_json()["id"]
    with app.app_context():
        current_auth.admin.update(user_of(app, ADA), limits={"messages": 0})
    assert post(ada, f"/conversations/{talk}", HELLO).get_json()["code"] == "limits_reached"


def test_the_area_of_administrators_is_theirs(app: Flask, join: Callable[..., FlaskClient], post: Post) -> None:
    ada, ben = join(ADA), join(BEN)
    made_admin(app, ADA)
    assert ben.get("/admin").status_code == 404
    assert {each["email"] for each in ada.get("/admin").get_json()["users"]} == {ADA, BEN}
    id = user_of(app, BEN).id
    assert post(ben, f"/admin/{id}/suspend").status_code == 404
    assert post(ada, f"/admin/{id}/suspend").status_code == 200
    assert ben.get("/").status_code == 302
    assert post(ada, f"/admin/{id}/resume").status_code == 200
    assert ben.get("/").status_code == 200


def test_a_key_opens_until_its_owner_is_suspended(app: Flask, join: Callable[..., FlaskClient], post: Post) -> None:
    ada = join(ADA)
    bearer = {"Authorization": f"Bearer {post(ada, '/keys').get_json()['key']}"}
    stranger = app.test_client()
    assert stranger.get("/api/me", headers=bearer).get_json() == {"email": ADA}
    assert stranger.get("/api/me", headers={"Authorization": "Bearer key-x"}).status_code == 401
    assert ada.get("/api/me").status_code == 401
    with app.app_context():
        current_auth.suspend(user_of(app, ADA))
    assert stranger.get("/api/me", headers=bearer).status_code == 401


def test_a_job_works_for_people_by_their_ids(app: Flask, join: Callable[..., FlaskClient], post: Post) -> None:
    ada = join(ADA)
    post(ada, "/keys")
    post(ada, "/conversations")
    assert app.test_cli_runner().invoke(args=["digest"]).output == f"{ADA} 1\n"


def test_an_export_holds_what_is_theirs(join: Callable[..., FlaskClient], post: Post) -> None:
    ada = join(ADA)
    post(ada, f"/conversations/{post(ada, '/conversations').get_json()['id']}", HELLO)
    export = ada.get("/export").get_json()
    assert export["profile"]["email"] == ADA
    assert export["conversations"][0]["messages"][0]["text"] == "Hello"


def test_an_account_is_deleted_once_the_plan_is_cancelled(
    app: Flask, product: Any, join: Callable[..., FlaskClient], post: Post, mail_code: Callable[..., str]
) -> None:
    ada = join(ADA)
    key = post(ada, "/keys").get_json()["key"]
    for plan, status in (("pro", 403), ("free", 200)):
        pay(app, ADA, plan)
        post(ada, "/auth/account/delete/code")
        answer = post(ada, "/auth/account/delete", {"confirm": ADA, "code": mail_code(ADA)})
        assert answer.status_code == status, answer.text
    assert ada.get("/").status_code == 302
    assert app.test_client().get("/api/me", headers={"Authorization": f"Bearer {key}"}).status_code == 401
    with app.app_context():
        assert product.ApiKey.query.all() == []
