"""The one challenge that a browser has pending: for which purpose, where the person goes next, and who typed its code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Protocol

from flask import request, session

from ..exceptions import NoChallenge
from ..identifier import has_special_domain, normalize_identifier, same_identifier
from ..login import renew
from ..sessions import look_twice
from ..state import current_auth, current_state
from ..stores.base import Challenge, State
from ..stores.records import Purpose
from . import challenges, counting
from .challenges import Recipient, refusals_told

LookUp = Callable[[str], Recipient]
"""Returns whom a code for this address goes to; it may raise ``APIError``."""


class Holder(Protocol):
    """Who has the challenge: a browser by its Flask session, an app by a signed token."""

    def read(self) -> Mapping[str, Any]:
        """Return what was written last, or an empty mapping."""

    def write(self, entry: Mapping[str, Any]) -> None:
        """Replace what was written."""

    def renew(self) -> None:
        """Make a copy of what the holder had until now worthless, where that can be done."""


class Browser:
    """This request's browser, which holds one challenge in its signed Flask session."""

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
"""The key of the WSGI environment under which a request that is no browser's has its holder."""


def current_holder() -> Holder:
    """Return who holds the challenge of this request: its browser, unless something else was set before."""
    holder: Holder = request.environ.get(HOLDER) or Browser()
    return holder


class Pending:
    """What a holder has pending for one purpose. It has one challenge: beginning another ends the flow before.

    :param purpose: what the challenge is for; one of another purpose counts as none.
    :param user_id: whose challenge it must be, where the flow is a signed-in person's.
    :param email: which address it must be about, where that is known before.
    """

    def __init__(
        self, purpose: Purpose, *, user_id: str | None = None, email: str | None = None, holder: Holder | None = None
    ) -> None:
        self._purpose = purpose
        self._user_id = user_id
        self._email = email
        self._holder: Holder = holder or current_holder()

    def request_code(self, email: str, look_up: LookUp, *, next: str | None = None) -> Challenge:
        """Make a challenge for ``email`` the pending one, and send its first code.

        :param next: a checked path to go to afterwards.
        :raises InvalidEmail: it is not one address.
        :raises RateLimited: too many requests for this address or from this client.
        :raises APIError: the account could not be looked up; no challenge was made.
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
            challenges.deliver(challenge, code, challenge.expires_at, recipient, in_browser=self._in_browser)
        return challenge

    def resend_code(self, look_up: LookUp) -> Challenge:
        """Send another code; where the challenge has expired, begin a new one for the same address and ``next``.

        :raises NoChallenge: the holder has none, or it has been used.
        :raises TooManyAttempts: too many wrong codes have ended it.
        :raises RateLimited: too soon after the last code, or too many of them.
        :raises APIError: the account could not be looked up.
        :raises MailError: the code could not be sent; this works again at once.
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
                challenges.deliver(challenge, code, expires_at, recipient, in_browser=self._in_browser)
        return self.latest() or challenge

    def prove(self, typed: str) -> Challenge:
        """Return the challenge, proved by this holder: by the code ``typed``, or earlier.

        :returns: it as it was found: open where this call has verified it.
        :raises NoChallenge: the holder has none, or it has been used.
        :raises InvalidCode: the code is wrong, and counted; one of another length than codes have is not counted.
        :raises CodeExpired: the challenge is past its lifetime.
        :raises TooManyAttempts: too many wrong codes have ended it.
        :raises RateLimited: too many wrong codes for this address or from this client, over all challenges.
        """
        challenge = self.latest()
        with refusals_told("verify", challenge.identifier if challenge else ""):
            if challenge is None:
                raise _none_error()
            challenges.require_open(challenge)
            if not self.proved(challenge):
                challenges.try_code(challenge, typed)
                self._holder.write({**self._holder.read(), "proved": True})
                self._holder.renew()
        return challenge

    def accept(self) -> Challenge:
        """Return the challenge, proved by this holder without a code: by the link in the mail, or earlier.

        :returns: it as it was found: open where this call has verified it.
        :raises NoChallenge: the holder has none, or it has been used.
        :raises CodeExpired: the challenge is past its lifetime.
        :raises TooManyAttempts: too many wrong codes have ended it.
        """
        challenge = self.latest()
        with refusals_told("verify", challenge.identifier if challenge else ""):
            if challenge is None:
                raise _none_error()
            challenges.require_open(challenge)
            if not self.proved(challenge):
                challenges.accept(challenge)
                self._holder.write({**self._holder.read(), "proved": True})
                self._holder.renew()
        return challenge

    def find_open(self) -> Challenge:
        """Return the challenge if a code, or a second try without one, can still do something.

        :raises NoChallenge: the holder has none, or it has been used.
        :raises CodeExpired: it is past its lifetime.
        :raises TooManyAttempts: too many wrong codes have ended it.
        """
        challenge = self.latest()
        if challenge is None:
            raise _none_error()
        return challenges.require_open(challenge)

    def latest(self) -> Challenge | None:
        """Return the challenge whatever has become of it, for a page about an error; ``None`` without one."""
        id = self._holder.read().get("challenge")
        challenge = look_twice(partial(current_auth.store.get_challenge, id)) if isinstance(id, str) else None
        return challenge if challenge is not None and self._fits(challenge) else None

    def proved(self, challenge: Challenge) -> bool:
        """Return whether this holder has typed the challenge's code, and needs none to go on.

        That the challenge is verified is not enough: another browser, with a copy of this one's cookie, may have done it.
        An attacker who plants their cookie in somebody's browser, and has them type the code there, must not come in
        while the API is slow.
        """
        return challenge.state in (State.VERIFIED, State.CLAIMED) and bool(self._holder.read().get("proved"))

    @property
    def _in_browser(self) -> bool:
        return isinstance(self._holder, Browser)

    @property
    def next(self) -> str | None:
        """The checked path that the flow is to end at."""
        return self._holder.read().get("next")

    def forget(self) -> None:
        """Have the holder forget the challenge."""
        self._holder.write({})

    def _begin(self, challenge: Challenge, next: str | None) -> None:
        self._holder.write({"challenge": challenge.id, **({"next": next} if next else {})})

    def _fits(self, challenge: Challenge) -> bool:
        # What a challenge is for, and whose, stands in the store, where nobody can change it.
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
