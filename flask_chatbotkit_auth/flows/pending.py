"""The pending challenge of a browser: its purpose, where the person goes next, and whether this browser typed its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from flask import session

from ..exceptions import NoChallenge
from ..identifier import has_special_domain, normalize_identifier, same_identifier
from ..login import renew
from ..proxies import this_request
from ..state import current_state
from ..stores.base import Challenge, State
from ..stores.records import Purpose
from . import challenges, counting, proof
from .challenges import refusals_told
from .delivery import Recipient, deliver

LookUp = Callable[[str], Recipient]
"""Returns the recipient of a code for an address. It can raise ``APIError``."""


class Holder(Protocol):
    """The holder of a challenge: a browser with its Flask session, or an app with a signed token."""

    def read(self) -> Mapping[str, Any]:
        """Return what was written last; an empty mapping if nothing was."""

    def write(self, entry: Mapping[str, Any]) -> None:
        """Write new data in place of the old."""

    def renew(self) -> None:
        """Invalidate copies of the holder's earlier data, if possible."""


class Browser:
    """The browser of this request. It holds its challenge in its signed Flask session."""

    _KEY = "chatbotkit_auth"

    def read(self) -> Mapping[str, Any]:
        entry = session.get(self._KEY)
        return entry if isinstance(entry, dict) else {}

    def write(self, entry: Mapping[str, Any]) -> None:
        if entry:
            session[self._KEY] = dict(entry)
        else:
            session.pop(self._KEY, None)

    def renew(self) -> None:
        renew()


HOLDER = "flask_chatbotkit_auth.holder"
"""The key of the WSGI environment with the holder of a request that is not from a browser."""


def current_holder() -> Holder:
    """Return the holder of the challenge in this request: its browser, unless another one was set."""
    holder: Holder = this_request().environ.get(HOLDER) or Browser()
    return holder


class Pending:
    """The pending challenge of a holder, for one purpose. A holder has one challenge, and a new one replaces it.

    :param purpose: the purpose. A challenge for another one is ignored.
    :param user_id: the account that the challenge must be about, in the flow of a signed-in person.
    :param email: the address that the challenge must be about, if it is known.
    """

    def __init__(
        self, purpose: Purpose, *, user_id: str | None = None, email: str | None = None, holder: Holder | None = None
    ) -> None:
        self._purpose = purpose
        self._user_id = user_id
        self._email = email
        self._holder: Holder = holder or current_holder()

    def request_code(self, email: str, look_up: LookUp, *, next: str | None = None) -> Challenge:
        """Create a pending challenge for ``email``, and send its first code.

        :param next: the checked path to go to afterwards.
        :raises InvalidEmail: it is not an address.
        :raises RateLimited: too many requests for this address or from this client.
        :raises APIError: the account could not be looked up. No challenge was created.
        :raises MailError: the code could not be sent. The challenge stays, and :meth:`resend_code` works at once.
        """
        with refusals_told("request", ""):
            identifier = _identifier(email)
        with refusals_told("request", identifier):
            counted = counting.count("request", identifier)
        with counting.request_refunded(counted):
            recipient = look_up(identifier)
            challenge, code = challenges.create(identifier, self._purpose, self._user_id)
            self._begin(challenge, next)
            deliver(challenge, code, challenge.expires_at, recipient, in_browser=self._in_browser)
        return challenge

    def resend_code(self, look_up: LookUp) -> Challenge:
        """Send another code. If the challenge has expired, create a new one with the same address and ``next``.

        :raises NoChallenge: the holder has no challenge, or it was used.
        :raises TooManyAttempts: too many wrong codes have ended the challenge.
        :raises RateLimited: it is too soon after the last code, or there were too many.
        :raises APIError: the account could not be looked up.
        :raises MailError: the code could not be sent. Another can be sent at once.
        """
        challenge = self.latest()
        if challenge is not None and challenges.expired(challenge) and challenge.state is not State.COMPLETED:
            return self.request_code(challenge.identifier, look_up, next=self.next)
        with refusals_told("request", challenge.identifier if challenge else ""):
            if challenge is None:
                raise _none_error()
            challenges.require_open(challenge)
            if self.proved(challenge):
                return challenge
            if challenge.state is not State.OPEN:
                raise challenges.used_error()
            challenges.require_resend(challenge)
            counted = counting.count("request", challenge.identifier)
            with counting.request_refunded(counted):
                recipient = look_up(challenge.identifier)
                code, expires_at = challenges.add_code(challenge)
                deliver(challenge, code, expires_at, recipient, in_browser=self._in_browser)
        return self.latest() or challenge

    def prove(self, typed: str) -> Challenge:
        """Return the challenge, after this holder has proved it: with the code ``typed``, or earlier.

        :returns: the challenge in the state that it had before: open, if this call has verified it.
        :raises NoChallenge: the holder has no challenge, or it was used.
        :raises InvalidCode: the code is wrong, and counted; one of another length than codes have is not counted.
        :raises CodeExpired: the challenge has expired.
        :raises TooManyAttempts: too many wrong codes have ended the challenge.
        :raises RateLimited: too many wrong codes for this address or from this client, over all challenges.
        """
        challenge = self.latest()
        with refusals_told("verify", challenge.identifier if challenge else ""):
            if challenge is None:
                raise _none_error()
            challenges.require_open(challenge)
            if not self.proved(challenge):
                proof.try_code(challenge, typed)
                self._holder.write({**self._holder.read(), "proved": True})
                self._holder.renew()
        return challenge

    def accept(self) -> Challenge:
        """Return the challenge, after this holder has proved it without a code: with the link in the mail, or earlier.

        :returns: the challenge in the state that it had before: open, if this call has verified it.
        :raises NoChallenge: the holder has no challenge, or it was used.
        :raises CodeExpired: the challenge has expired.
        :raises TooManyAttempts: too many wrong codes have ended the challenge.
        """
        challenge = self.latest()
        with refusals_told("verify", challenge.identifier if challenge else ""):
            if challenge is None:
                raise _none_error()
            challenges.require_open(challenge)
            if not self.proved(challenge):
                proof.accept(challenge)
                self._holder.write({**self._holder.read(), "proved": True})
                self._holder.renew()
        return challenge

    def find_open(self) -> Challenge:
        """Return the challenge if it is open, or can be completed without another code.

        :raises NoChallenge: the holder has no challenge, or it was used.
        :raises CodeExpired: the challenge has expired.
        :raises TooManyAttempts: too many wrong codes have ended the challenge.
        """
        challenge = self.latest()
        if challenge is None:
            raise _none_error()
        return challenges.require_open(challenge)

    def latest(self) -> Challenge | None:
        """Return the challenge in any state, for a page about an error, or ``None``."""
        id = self._holder.read().get("challenge")
        auth = current_state()
        if not isinstance(id, str):
            return None
        challenge = auth.registry.look_twice_for_code(partial(auth.store.get_challenge, id))
        return challenge if challenge is not None and self._fits(challenge) else None

    def proved(self, challenge: Challenge) -> bool:
        """Return whether this holder has typed the code of the challenge, and needs no other one.

        It is not enough that the challenge is verified: another browser with a copy of the cookie may have done that. An
        attacker who plants their cookie in somebody's browser, where that person types the code, must not be signed in
        while the API is slow.
        """
        return challenge.state in (State.VERIFIED, State.CLAIMED) and bool(self._holder.read().get("proved"))

    @property
    def _in_browser(self) -> bool:
        return isinstance(self._holder, Browser)

    @property
    def next(self) -> str | None:
        """The checked path to go to afterwards."""
        return self._holder.read().get("next")

    def forget(self) -> None:
        """Remove the challenge from the holder."""
        self._holder.write({})

    def _begin(self, challenge: Challenge, next: str | None) -> None:
        self._holder.write({"challenge": challenge.id, **({"next": next} if next else {})})

    def _fits(self, challenge: Challenge) -> bool:
        # The purpose and the account of a challenge are in the store, where nobody else can change them.
        return (
            challenge.purpose == self._purpose
            and challenge.user_id == self._user_id
            and (self._email is None or same_identifier(self._email, challenge.identifier))
        )


def _identifier(email: str) -> str:
    auth = current_state()
    identifier = normalize_identifier(email, special_domains=auth.special_domains)
    if auth.config.special_domains is None and has_special_domain(identifier):
        auth.warn_once(
            "an address has a domain such as .local or .test. It is taken in debug mode and in tests, and refused in "
            "production unless CHATBOTKIT_AUTH_SPECIAL_DOMAINS is true."
        )
    return identifier


def _none_error() -> NoChallenge:
    return NoChallenge("this browser has no challenge, or one that was over long ago")
