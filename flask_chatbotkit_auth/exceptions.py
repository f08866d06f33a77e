"""Everything that can go wrong, as one tree.

::

    ChatBotKitAuthError
    ├── ConfigurationError
    ├── InvalidEmail
    ├── NoChallenge
    ├── InvalidConfirmation
    ├── VerificationError
    │   ├── InvalidCode(attempts_left)
    │   ├── CodeExpired
    │   └── TooManyAttempts(retry_after)
    ├── RateLimited(retry_after)
    ├── SignInDenied(reason)
    ├── SignUpDisabled
    ├── LifecycleDisabled
    ├── DeletionDenied(reason)
    ├── NotFresh
    ├── NotReady
    ├── EmailTaken
    ├── InvalidPasskey
    │   ├── PasskeyExpired
    │   └── UnknownPasskey
    ├── TooManyPasskeys
    ├── MailError
    ├── StoreError
    └── APIError
        ├── APIConnectionError
        ├── APITimeout
        └── APIStatusError(status, code, message)
            ├── NotFound
            ├── NotAuthenticated
            ├── NotAuthorized
            ├── Conflict
            ├── TooManyRequests(retry_after)
            └── LimitsReached

The text of an exception is for developers and logs. It never holds a code, a secret or a whole address. What a person
reads is written in the pages, chosen by :attr:`ChatBotKitAuthError.error_code`.
"""

from __future__ import annotations

import re


class ChatBotKitAuthError(Exception):
    """The root: catch it to catch everything this package raises on purpose."""

    error_code = "error"
    """The machine-readable name of the error in JSON answers."""

    http_status = 500
    """The HTTP status of a page or JSON answer about it."""


class ConfigurationError(ChatBotKitAuthError):
    """A setting is missing or wrong. The text names the key and the cure."""

    error_code = "configuration"


class InvalidEmail(ChatBotKitAuthError):
    """What was typed is not one e-mail address that a mail can be sent to."""

    error_code = "invalid_email"
    http_status = 400


class NoChallenge(ChatBotKitAuthError):
    """This browser has no sign-in under way: none was started here, or it has been used up."""

    error_code = "no_challenge"
    http_status = 400


class InvalidConfirmation(ChatBotKitAuthError):
    """What a person typed to confirm the deletion of the account is not its address."""

    error_code = "invalid_confirmation"
    http_status = 400

    def __init__(self) -> None:
        super().__init__("the confirmation is not the account's address")


class VerificationError(ChatBotKitAuthError):
    """A code was not accepted."""

    error_code = "invalid_code"
    http_status = 400


class InvalidCode(VerificationError):
    """The code is not the one that was sent.

    :param attempts_left: how many more codes this challenge accepts, 0 when it has ended.
    """

    def __init__(self, attempts_left: int) -> None:
        super().__init__(f"the code is wrong, {attempts_left} attempts left")
        self.attempts_left = attempts_left


class CodeExpired(VerificationError):
    """Every code of this challenge is past its lifetime."""

    error_code = "code_expired"

    def __init__(self) -> None:
        super().__init__("every code of this challenge has expired")


class TooManyAttempts(VerificationError):
    """The challenge has ended after too many wrong codes; even the right one is refused now.

    :param retry_after: seconds until another code may be asked for.
    """

    error_code = "too_many_attempts"
    http_status = 429

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__("too many wrong codes, the challenge has ended")
        self.retry_after = retry_after


class RateLimited(ChatBotKitAuthError):
    """A limit on requests or attempts is reached.

    :param retry_after: whole seconds until the next one is allowed, at least 1.
    :param limit: the name of the limit, such as ``"request:email"``.
    :param first: whether this is the first one that the limit refuses in its window.
    """

    error_code = "rate_limited"
    http_status = 429

    def __init__(self, retry_after: int, limit: str = "", *, first: bool = False) -> None:
        super().__init__(f"limit {limit or 'unnamed'} reached, retry in {retry_after} seconds")
        self.retry_after = retry_after
        self.limit = limit
        self.first = first


class SignInDenied(ChatBotKitAuthError):
    """The application refused this person's sign-in.

    Raise it in a :meth:`~flask_chatbotkit_auth.ChatBotKitAuth.sign_in_callback` with a reason for the person to read;
    without one, or where the callback returns ``False``, the page says only that sign-in is not allowed.
    """

    error_code = "sign_in_denied"
    http_status = 403

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or "the application refused the sign-in")
        self.reason = reason


class SignUpDisabled(ChatBotKitAuthError):
    """Nobody has this address and ``CHATBOTKIT_AUTH_AUTO_CREATE`` is off."""

    error_code = "sign_up_disabled"
    http_status = 403

    def __init__(self) -> None:
        super().__init__("no such user, and CHATBOTKIT_AUTH_AUTO_CREATE is off")


class LifecycleDisabled(ChatBotKitAuthError):
    """The operation is switched off by ``CHATBOTKIT_AUTH_AUTO_UPDATE`` or ``CHATBOTKIT_AUTH_AUTO_DELETE``.

    :param switch: the configuration key that allows it.
    """

    error_code = "lifecycle_disabled"
    http_status = 403

    def __init__(self, switch: str) -> None:
        super().__init__(f"set {switch} to true to allow this")
        self.switch = switch


class DeletionDenied(ChatBotKitAuthError):
    """The application refused to delete an account.

    :param reason: a sentence for the person to read, where the ``delete_callback`` gave one.
    """

    error_code = "deletion_denied"
    http_status = 403

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or "the application refused the deletion")
        self.reason = reason


class NotFresh(ChatBotKitAuthError):
    """The person has not proved the address lately enough for this. Signing in again is the proof."""

    error_code = "not_fresh"
    http_status = 403

    def __init__(self) -> None:
        super().__init__("the last proof of the address is too old for this; sign in again")


class NotReady(ChatBotKitAuthError):
    """The account is still being prepared by the application's ``provision`` hook, or that has failed. It is tried again."""

    error_code = "not_ready"
    http_status = 503


class InvalidPasskey(ChatBotKitAuthError):
    """A browser's answer about a passkey proves nothing. The text says why, for the log alone."""

    error_code = "invalid_passkey"
    http_status = 400


class PasskeyExpired(InvalidPasskey):
    """The browser took longer than ten minutes, or its answer has been used before."""

    error_code = "passkey_expired"

    def __init__(self) -> None:
        super().__init__("the challenge of this passkey has expired, or was used before")


class UnknownPasskey(InvalidPasskey):
    """No account here has this passkey, or not any more."""

    error_code = "unknown_passkey"
    http_status = 404

    def __init__(self) -> None:
        super().__init__("no account has this passkey")


class TooManyPasskeys(ChatBotKitAuthError):
    """The account has as many passkeys as one may have."""

    error_code = "too_many_passkeys"
    http_status = 409

    def __init__(self) -> None:
        super().__init__("this account has as many passkeys as one may have")


class EmailTaken(ChatBotKitAuthError):
    """The address has an account already; one address is one account."""

    error_code = "email_taken"
    http_status = 409

    def __init__(self) -> None:
        super().__init__("this address has an account already")


class MailError(ChatBotKitAuthError):
    """The mail could not be handed to the mail server.

    :param for_everybody: whether no mail can be sent at all now (no connection, a failed login), and not only this one.
    """

    error_code = "mail_unavailable"
    http_status = 503

    def __init__(self, message: str = "the mail could not be sent", *, for_everybody: bool = False) -> None:
        super().__init__(message)
        self.for_everybody = for_everybody


class StoreError(ChatBotKitAuthError):
    """The store of challenges and sessions could not be reached or did not answer."""

    error_code = "store_unavailable"
    http_status = 503


class APIError(ChatBotKitAuthError):
    """The ChatBotKit API did not give a usable answer (also: one that is malformed, truncated or oversized)."""

    error_code = "upstream_unavailable"
    http_status = 503


class APIConnectionError(APIError):
    """No connection to the API, or it broke before the whole answer was read.

    :param maybe_sent: whether the request may have reached the API, so that a write must not be repeated blindly.
    """

    def __init__(self, message: str, *, maybe_sent: bool = True) -> None:
        super().__init__(message)
        self.maybe_sent = maybe_sent


class APITimeout(APIError):
    """The API did not answer in time.

    :param maybe_sent: whether the request may have reached the API.
    """

    def __init__(self, message: str, *, maybe_sent: bool = True) -> None:
        super().__init__(message)
        self.maybe_sent = maybe_sent


class APIStatusError(APIError):
    """The API answered with an error.

    :param status: the HTTP status of the API's answer.
    :param code: the ``code`` of the API's error object, such as ``"NOT_FOUND"``; empty when the body had none.
    :param message: the API's sentence.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"the ChatBotKit API answered {status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message

    @property
    def field(self) -> str | None:
        """The field that a 400 or a 409 is about, where the API's sentence begins with its name."""
        match = re.match(r'"([\w.-]+)"', self.message) if self.status in (400, 409) else None
        return match[1] if match else None


class NotFound(APIStatusError):
    """404: no such user or contact (or, with an HTML body, no ChatBotKit API at this address)."""


class NotAuthenticated(APIStatusError):
    """401: the secret is wrong or revoked."""


class NotAuthorized(APIStatusError):
    """403: the secret is right but may not do this, such as touch somebody else's sub-account."""


class Conflict(APIStatusError):
    """409: it exists already."""


class TooManyRequests(APIStatusError):
    """429: the API asks to slow down, of lists (``rate/poll``) or completions (``rate/message``).

    :param retry_after: seconds to wait, where that is known; a minute for the platform's own rates.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(status, code, message)
        self.retry_after = retry_after


class LimitsReached(APIStatusError):
    """429 ``LIMITS_REACHED`` about the plan: it is used up; trying again does not help. About a rate it is
    :exc:`TooManyRequests`."""
