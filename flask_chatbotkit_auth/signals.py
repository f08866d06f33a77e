"""What an application can listen to. The sender of each signal is the Flask application.

A receiver that raises never breaks a sign-in: the exception is logged and the flow goes on.
"""

from __future__ import annotations

import logging
from typing import Any

from blinker import NamedSignal, Namespace

_signals = Namespace()
_log = logging.getLogger("flask_chatbotkit_auth")

code_sent: NamedSignal = _signals.signal("chatbotkit-auth-code-sent")
"""A code was handed to the mail server, the queue or the hook. Carries ``identifier`` and ``expires_at``; never the code."""

code_failed: NamedSignal = _signals.signal("chatbotkit-auth-code-failed")
"""A code that somebody typed was refused. Carries ``identifier`` and ``error``, the exception."""

user_signed_in: NamedSignal = _signals.signal("chatbotkit-auth-user-signed-in")
"""A person is signed in. Carries ``user`` and ``created``, whether the account was made just now."""

sign_in_failed: NamedSignal = _signals.signal("chatbotkit-auth-sign-in-failed")
"""The code was right, the sign-in failed all the same: refused by the application, no such account, or the API could not
be reached. Carries ``identifier`` and ``error``, the exception."""

user_signed_out: NamedSignal = _signals.signal("chatbotkit-auth-user-signed-out")
"""A person signed out of this browser. Carries ``user``, the :class:`~flask_chatbotkit_auth.User` whose session it was."""

session_ended: NamedSignal = _signals.signal("chatbotkit-auth-session-ended")
"""Sessions were ended other than by signing out. Carries ``user_id`` and ``reason``: ``"ended"`` (by the person or the
application), ``"gone"`` (the account was deleted or taken away upstream), ``"deleted"`` (through this package),
``"address_changed"`` (upstream the account has another address than the one that was proved) or ``"denied"`` (your
``sign_in_callback`` refuses the person by now)."""

user_created: NamedSignal = _signals.signal("chatbotkit-auth-user-created")
"""An account was made upstream. Carries ``user``."""

user_updated: NamedSignal = _signals.signal("chatbotkit-auth-user-updated")
"""An account was changed upstream. Carries ``user``, as it is now, and ``fields``, the names that were changed."""

user_deleted: NamedSignal = _signals.signal("chatbotkit-auth-user-deleted")
"""An account was deleted, or was found gone upstream. Carries ``user_id``, and ``user``, the last that was known of it, or
``None``."""

failure: NamedSignal = _signals.signal("chatbotkit-auth-failure")
"""A request was answered 5xx. Carries ``error``, the exception, whose text says the cause and the cure. Sent each time,
while the log has one line a minute."""


def emit(signal: NamedSignal, sender: object, /, **data: Any) -> None:
    """Send ``signal`` to each receiver; log what a receiver raises and go on to the next."""
    for receiver in signal.receivers_for(sender) if signal.receivers else ():
        try:
            receiver(sender, **data)
        except Exception:  # noqa: BLE001  # a receiver is the application's code: anything may come
            _log.exception("a receiver of %s failed", signal.name)
