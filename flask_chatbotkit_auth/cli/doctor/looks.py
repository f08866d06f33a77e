"""The list of looks. A look that raises an exception becomes a finding, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...exceptions import ChatBotKitAuthError
from .api import api, clock
from .application import configuration, cookies, proxy, user_loader
from .findings import Finding, Look
from .mail import mail
from .store import limits, server, store

LOOKS: dict[str, Callable[[], Look]] = {
    "configuration": configuration,
    "api": api,
    "clock": clock,
    "store": store,
    "server": server,
    "limits": limits,
    "mail": mail,
    "cookies": cookies,
    "proxy": proxy,
    "user_loader": user_loader,
}


def examine(more: dict[str, Callable[[], Look]] | None = None) -> Iterator[Finding]:
    """Yield the finding of each look at the current application.

    :param more: further looks by name, which come last.
    """
    for name, look in {**LOOKS, **(more or {})}.items():
        try:
            state, text = look()
        except ChatBotKitAuthError as error:
            state, text = "failure", str(error)
        except Exception as error:  # noqa: BLE001  # whatever a driver or an application's own part raises is a finding
            # Without its text, which may quote a password or an address.
            state, text = "failure", f"this look failed with {type(error).__name__} {_place(error)}"
        yield Finding(name, state, " ".join(text.split()))


def _place(error: BaseException) -> str:
    """Return the place in the code that the error came from, since no traceback is printed."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f"in {last.tb_frame.f_globals.get('__name__')}, line {last.tb_lineno}" if last is not None else ""
