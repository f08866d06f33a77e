"""An application as strict type checkers see it: every public name used, every argument and answer of its type.

The gate checks it against the installed wheel; ``tests/test_public_api.py`` that it leaves no public name out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from flask import Flask, Response
from flask_login import LoginManager
from flask_mail import Mail

import flask_chatbotkit_auth as fca
from flask_chatbotkit_auth import ChatBotKitAuth, ChatBotKitClient, EmailCodeProvider, User, current_auth
from flask_chatbotkit_auth.chat import InvalidMessages, stream_completion
from flask_chatbotkit_auth.stores import SessionRecord
from flask_chatbotkit_auth.stores.redis import RedisStore
from flask_chatbotkit_auth.stores.sqlalchemy import SQLAlchemyStore
from flask_chatbotkit_auth.testing import Sandbox

auth = ChatBotKitAuth()


class Directory(fca.UserAdapter):
    """An adapter of one's own."""

    def get(self, id: str) -> User | None:
        return User(id=id, email="ada@example.com", kind="partner")

    def get_by_email(self, email: str) -> User | None:
        return None

    def create(
        self,
        email: str,
        *,
        name: str | None = None,
        image: str | None = None,
        meta: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> User:
        return User(id="1", email=email, name=name, image=image, meta=meta or {})

    def update(self, id: str, **fields: Any) -> User:
        raise fca.NotFound(404, "NOT_FOUND", "no such user")

    def delete(self, id: str) -> None:
        return None

    def list(self, **filters: Any) -> Iterator[User]:
        yield from ()


taken: fca.ChatBotKitAuthError = fca.EmailTaken()


@auth.send_verification_request
def send(identifier: str, code: str, expires_at: datetime, user: User | None) -> None:
    raise fca.MailError("no mail today")


@auth.sign_in_callback
def may_sign_in(identifier: str, user: User) -> bool | str:
    return user.email_verified is not None or "Prove your address first."


@auth.session_callback
def tell(session: dict[str, Any], user: User) -> dict[str, Any]:
    return {**session, "plan": user.meta.get("plan")}


@auth.user_callback
def own(user: User) -> User | None:
    return user if user.is_active else None


def create_app(client: ChatBotKitClient) -> Flask:
    """Hand everything in that can be."""
    app = Flask("consumer")
    provider = EmailCodeProvider(alphabet="0123456789", length=8, lifetime=timedelta(minutes=5), attempts=3)
    adapter: fca.UserAdapter = fca.PartnerAdapter(client, auto_create=True)
    store: fca.Store = fca.MemoryStore()
    ChatBotKitAuth(
        app,
        adapter=adapter,
        store=store,
        provider=provider,
        client=client,
        login_manager=LoginManager(),
        mail=Mail(),
    )
    auth.init_app(app)
    signals = (
        fca.code_failed,
        fca.code_sent,
        fca.failure,
        fca.app_session_added,
        fca.email_changed,
        fca.limit_reached,
        fca.link_used,
        fca.measured,
        fca.notice_failed,
        fca.notice_sent,
        fca.passkey_added,
        fca.passkey_refused,
        fca.passkey_removed,
        fca.session_ended,
        fca.sign_in_failed,
        fca.user_created,
        fca.user_deleted,
        fca.user_signed_in,
        fca.user_signed_out,
        fca.user_updated,
    )
    for signal in signals:
        signal.connect(lambda sender, **data: None, app)
    return app


def stores(url: str) -> Sequence[fca.Store]:
    return [SQLAlchemyStore(url), RedisStore(url), fca.MemoryStore()]


def adapters(client: ChatBotKitClient) -> Sequence[fca.UserAdapter]:
    return [fca.PartnerAdapter(client), fca.ContactAdapter(client, auto_delete=True), Directory()]


def administer(user: User) -> list[SessionRecord]:
    """Do with a user what an application can."""
    user.nmae  # type: ignore[attr-defined]  # noqa: B018  # what no user has is refused
    changed: User = current_auth.update_user(user, name="Ada")
    name: str | None = changed.name
    since: datetime | None = changed.created_at
    ended: int = current_auth.end_sessions(user)
    acting: ChatBotKitClient = current_auth.client_for(user)
    answer: dict[str, Any] = acting.get(
        f"/bot/{fca.path_segment('b1')}/fetch", {"name": name, "since": since, "ended": ended}
    )
    token: dict[str, Any] = current_auth.browser_token(user.id, seconds=60)
    current_auth.delete_user(answer["id"] or token["id"])
    where: str | None = fca.safe_next()
    protection: Any = token["csrf"]  # of Flask-WTF, which has no type information
    fca.exempt_app_requests(protection)
    return current_auth.sessions(user) if where is None else []


def chat(messages: object) -> Response:
    try:
        return stream_completion("u1", messages, backstory="You are brief.")
    except InvalidMessages as error:
        return error.response


def explain(error: fca.ChatBotKitAuthError) -> str:
    """Read what each exception carries."""
    if isinstance(error, fca.InvalidCode):
        return f"{error.attempts_left} left"
    if isinstance(error, (fca.TooManyAttempts, fca.RateLimited)):
        return f"again in {error.retry_after} s"
    if isinstance(error, fca.APIStatusError):
        return f"{error.status} {error.code}: {error.message}"
    return error.error_code


OTHERS: tuple[type[fca.ChatBotKitAuthError], ...] = (
    fca.APIConnectionError,
    fca.APIError,
    fca.APITimeout,
    fca.CodeExpired,
    fca.InvalidConfirmation,
    fca.ConfigurationError,
    fca.Conflict,
    fca.DeletionDenied,
    fca.InvalidEmail,
    fca.InvalidPasskey,
    fca.LifecycleDisabled,
    fca.LimitsReached,
    fca.NoChallenge,
    fca.NotAuthenticated,
    fca.NotAuthorized,
    fca.NotFresh,
    fca.NotReady,
    fca.PasskeyExpired,
    fca.SignInDenied,
    fca.SignUpDisabled,
    fca.StoreError,
    fca.TooManyPasskeys,
    fca.TooManyRequests,
    fca.UnknownPasskey,
    fca.VerificationError,
)


def rehearse(email: str) -> int:
    """Use the stand-in of the API."""
    with Sandbox(secret="sk-test", latency=0.1) as sandbox:
        sandbox.add_user(email, name="Ada")
        sandbox.fail("*/list", status=503, times=1)
        client = ChatBotKitClient("sk-test", sandbox.url, timeout=5, retries=1)
        return len(list(client.paginate("/user/list"))) + sandbox.requests[0].path.count("/")
