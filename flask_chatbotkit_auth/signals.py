"""What an application can listen to. The sender of each signal is the Flask application.

Within a request each signal also carries ``ip``, the client's address, and ``user_agent``. A receiver gets those keywords
that it takes. Receivers run in the request, before the answer. One that raises never changes the answer: the exception is
logged and the flow goes on.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import Parameter, signature
from typing import Any

from blinker import NamedSignal, Namespace
from flask import has_app_context, has_request_context, request

from . import measure
from .proxies import running_app
from .remote import client_address, client_program

_signals = Namespace()
_log = logging.getLogger("flask_chatbotkit_auth")

code_sent: NamedSignal = _signals.signal("chatbotkit-auth-code-sent")
"""A code was handed to the mail server, the queue or the hook. Carries ``identifier`` and ``expires_at``; never the code."""

code_failed: NamedSignal = _signals.signal("chatbotkit-auth-code-failed")
"""A request for a code, or a typed code, was refused, for example by a rate limit. Carries ``stage``, ``"request"`` or
``"verify"``, ``identifier`` (``""`` where there was none) and ``error``, the exception."""

user_signed_in: NamedSignal = _signals.signal("chatbotkit-auth-user-signed-in")
"""A person is signed in. Carries ``user``, ``created``, whether the account was made just now, and ``method``: ``"code"``,
``"link"``, ``"passkey"`` or ``"application"``."""

sign_in_failed: NamedSignal = _signals.signal("chatbotkit-auth-sign-in-failed")
"""The code or the passkey was right, but the sign-in failed: your application refused it, no account exists, or the API
could not be reached. Carries ``identifier`` (``None`` if the account of a passkey could not be fetched), ``user_id``
(``None`` if no account was found) and ``error``, the exception."""

user_signed_out: NamedSignal = _signals.signal("chatbotkit-auth-user-signed-out")
"""A person signed out of this browser. Carries ``user``, the :class:`~flask_chatbotkit_auth.User` whose session it was."""

session_ended: NamedSignal = _signals.signal("chatbotkit-auth-session-ended")
"""Sessions ended for another reason than signing out. Carries ``user_id`` and ``reason``: ``"ended"`` (by the person or the
application), ``"gone"`` (the account no longer exists at ChatBotKit), ``"deleted"`` (through this package),
``"address_changed"`` (the account has another address at ChatBotKit now) or ``"denied"`` (your ``sign_in_callback``
refuses the person now)."""

user_created: NamedSignal = _signals.signal("chatbotkit-auth-user-created")
"""An account was created at ChatBotKit. Carries ``user``."""

user_updated: NamedSignal = _signals.signal("chatbotkit-auth-user-updated")
"""An account was changed at ChatBotKit. Carries ``user``, as it is now, and ``fields``, the names that were changed."""

user_deleted: NamedSignal = _signals.signal("chatbotkit-auth-user-deleted")
"""An account was deleted, here or at ChatBotKit. Carries ``user_id``; ``user``, its last known state, or ``None``; and
``reason``: ``"deleted"`` (through this package) or ``"gone"`` (ChatBotKit does not know it any more, which a wrong secret
can cause as well)."""

failure: NamedSignal = _signals.signal("chatbotkit-auth-failure")
"""A request was answered 5xx. Carries ``error``, the exception, whose text says the cause and the cure. Sent each time,
while the log has one line a minute."""

limit_reached: NamedSignal = _signals.signal("chatbotkit-auth-limit-reached")
"""A rate limit refused its first request in its window. Carries ``limit``, such as ``"request:email"``, ``retry_after``
in seconds, and ``identifier``, ``""`` where the limit is about no address."""

passkey_added: NamedSignal = _signals.signal("chatbotkit-auth-passkey-added")
"""A person added a passkey. Carries ``user`` and ``passkey``."""

passkey_removed: NamedSignal = _signals.signal("chatbotkit-auth-passkey-removed")
"""A passkey was removed. Carries ``user_id`` and ``passkey``."""

passkey_refused: NamedSignal = _signals.signal("chatbotkit-auth-passkey-refused")
"""A passkey was refused. Carries ``error``, the exception."""

link_used: NamedSignal = _signals.signal("chatbotkit-auth-link-used")
"""The link of a mail signed a person in. Carries ``user``."""

app_session_added: NamedSignal = _signals.signal("chatbotkit-auth-app-session-added")
"""A session was opened for an app, which holds its token. Carries ``user``, ``session_id``, as ``current_auth.sessions``
tells it, and ``name``, what the app calls itself, or ``None``."""

email_changed: NamedSignal = _signals.signal("chatbotkit-auth-email-changed")
"""A person proved another address and has it now. Carries ``user`` and ``before``, the address until now."""

notice_sent: NamedSignal = _signals.signal("chatbotkit-auth-notice-sent")
"""A notice was mailed to a person. Carries ``kind``, such as ``"new_sign_in"``, and ``user``."""

notice_failed: NamedSignal = _signals.signal("chatbotkit-auth-notice-failed")
"""A notice could not be mailed. Carries ``kind``, ``user`` and ``error``, the exception."""


measured: NamedSignal = _signals.signal("chatbotkit-auth-measured")
"""A call of the API, a use of the store, a mail or an answer of ours is over. Carries ``part`` (``"api"``, ``"store"``,
``"mail"`` or ``"request"``), ``name`` (what was done, one of a few texts such as ``"GET /user/list"``, without ids and
addresses), ``duration`` in seconds and ``outcome``: ``"ok"``, the error's code or type, for ``"request"`` the status. Without
a receiver nothing is measured."""


def emit(signal: NamedSignal, sender: object, /, **data: Any) -> None:
    """Send ``signal`` to each receiver; log what a receiver raises and go on to the next."""
    if not signal.receivers:
        return
    if has_request_context():
        data.setdefault("ip", client_address(request.remote_addr))
        data.setdefault("user_agent", client_program(request.user_agent.string))
    for receiver in signal.receivers_for(sender):
        try:
            receiver(sender, **_taken(receiver, data))
        except Exception:  # noqa: BLE001  # a receiver is the application's code: anything may come
            _log.exception("a receiver of %s failed", signal.name)


def _taken(receiver: Callable[..., object], data: dict[str, Any]) -> dict[str, Any]:
    # So that a receiver which names its keywords goes on working when a signal carries one more.
    try:
        parameters = signature(receiver).parameters.values()
    except (TypeError, ValueError):
        return data  # a callable written in C does not tell
    if any(each.kind is Parameter.VAR_KEYWORD for each in parameters):
        return data
    names = {each.name for each in parameters}
    return {name: value for name, value in data.items() if name in names}


def _tell(part: str, name: str, duration: float, outcome: str) -> None:
    app = running_app() if has_app_context() else None
    emit(measured, app, part=part, name=name, duration=duration, outcome=outcome)


measure.tell_to(lambda: bool(measured.receivers), _tell)
