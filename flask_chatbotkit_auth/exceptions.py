"""Every exception of the package, as one tree.

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

The text of an exception is for developers and logs. It never contains a code, a secret or a whole address. The pages show a
sentence of their own for each kind.
"""

from __future__ import annotations

import re


class ChatBotKitAuthError(Exception):
    """The root of the tree. Catch it to catch everything that this package raises on purpose."""

    error_code = "error"
    """The name of the error in JSON answers."""

    http_status = 500
    """The HTTP status of a page or JSON answer about the error."""


class ConfigurationError(ChatBotKitAuthError):
    """A setting is missing or wrong. The text names the key and the cure."""

    error_code = "configuration"


class InvalidEmail(ChatBotKitAuthError):
    """The text is not an email address that can receive mail."""

    error_code = "invalid_email"
    http_status = 400


class NoChallenge(ChatBotKitAuthError):
    """This browser has no pending challenge: none was started here, or it is over."""

    error_code = "no_challenge"
    http_status = 400


class InvalidConfirmation(ChatBotKitAuthError):
    """The text that a person typed to confirm the deletion is not the address of the account."""

    error_code = "invalid_confirmation"
    http_status = 400

    def __init__(self) -> None:
        super().__init__("the confirmation is not the account's address")


class VerificationError(ChatBotKitAuthError):
    """A code was not accepted."""

    error_code = "invalid_code"
    http_status = 400


class InvalidCode(VerificationError):
    """The code is wrong.

    :param attempts_left: how many more codes can be tried; 0 if the challenge has ended.
    """

    def __init__(self, attempts_left: int) -> None:
        super().__init__(f"the code is wrong, {attempts_left} attempts left")
        self.attempts_left = attempts_left


class CodeExpired(VerificationError):
    """Every code of this challenge has expired."""

    error_code = "code_expired"

    def __init__(self) -> None:
        super().__init__("every code of this challenge has expired")


class TooManyAttempts(VerificationError):
    """The challenge has ended after too many wrong codes. Even the right one is refused now.

    :param retry_after: seconds until the person can ask for another code.
    """

    error_code = "too_many_attempts"
    http_status = 429

    def __init__(self, retry_after: int = 1) -> None:
        super().__init__("too many wrong codes, the challenge has ended")
        self.retry_after = retry_after


class RateLimited(ChatBotKitAuthError):
    """A rate limit is reached.

    :param retry_after: whole seconds until the next request is allowed, at least 1.
    :param limit: the name of the limit, such as ``"request:email"``.
    :param first: whether this is the first request that the limit refuses in its window.
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

    Raise it in a :meth:`~flask_chatbotkit_auth.ChatBotKitAuth.sign_in_callback`. If you pass a reason, the page shows it.
    Otherwise, and if the callback returns ``False``, the page says only that the person cannot sign in.

    :param reason: a sentence for the person to read.
    """

    error_code = "sign_in_denied"
    http_status = 403

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or "the application refused the sign-in")
        self.reason = reason


class SignUpDisabled(ChatBotKitAuthError):
    """The address has no account, and ``CHATBOTKIT_AUTH_AUTO_CREATE`` is off."""

    error_code = "sign_up_disabled"
    http_status = 403

    def __init__(self) -> None:
        super().__init__("no such user, and CHATBOTKIT_AUTH_AUTO_CREATE is off")


class LifecycleDisabled(ChatBotKitAuthError):
    """The operation is turned off by ``CHATBOTKIT_AUTH_AUTO_UPDATE`` or ``CHATBOTKIT_AUTH_AUTO_DELETE``.

    :param switch: the configuration key that allows the operation.
    """

    error_code = "lifecycle_disabled"
    http_status = 403

    def __init__(self, switch: str) -> None:
        super().__init__(f"set {switch} to true to allow this")
        self.switch = switch


class DeletionDenied(ChatBotKitAuthError):
    """The application refused to delete an account.

    :param reason: a sentence for the person to read, if the ``delete_callback`` returned one.
    """

    error_code = "deletion_denied"
    http_status = 403

    def __init__(self, reason: str | None = None) -> None:
        super().__init__(reason or "the application refused the deletion")
        self.reason = reason


class NotFresh(ChatBotKitAuthError):
    """The person proved the address too long ago for this. They must sign in again."""

    error_code = "not_fresh"
    http_status = 403

    def __init__(self) -> None:
        super().__init__("the last proof of the address is too old for this; sign in again")


class NotReady(ChatBotKitAuthError):
    """The application's ``provision`` hook is still running for this account, or has failed. It is called again."""

    error_code = "not_ready"
    http_status = 503


class InvalidPasskey(ChatBotKitAuthError):
    """A browser's answer about a passkey is invalid. The text says why; it is only for the log."""

    error_code = "invalid_passkey"
    http_status = 400


class PasskeyExpired(InvalidPasskey):
    """The browser took longer than ten minutes, or its answer was used before."""

    error_code = "passkey_expired"

    def __init__(self) -> None:
        super().__init__("the challenge of this passkey has expired, or was used before")


class UnknownPasskey(InvalidPasskey):
    """No account has this passkey, or it was removed."""

    error_code = "unknown_passkey"
    http_status = 404

    def __init__(self) -> None:
        super().__init__("no account has this passkey")


class TooManyPasskeys(ChatBotKitAuthError):
    """The account has the maximum number of passkeys."""

    error_code = "too_many_passkeys"
    http_status = 409

    def __init__(self) -> None:
        super().__init__("this account has as many passkeys as one may have")


class EmailTaken(ChatBotKitAuthError):
    """The address already has an account."""

    error_code = "email_taken"
    http_status = 409

    def __init__(self) -> None:
        super().__init__("this address has an account already")


class MailError(ChatBotKitAuthError):
    """The mail could not be handed to the mail server.

    :param for_everybody: whether no mail can be sent at all (no connection, a failed login), and not only this one.
    """

    error_code = "mail_unavailable"
    http_status = 503

    def __init__(self, message: str = "the mail could not be sent", *, for_everybody: bool = False) -> None:
        super().__init__(message)
        self.for_everybody = for_everybody


class StoreError(ChatBotKitAuthError):
    """The store could not be reached, did not answer, or refused. The text names the cause and the cure."""

    error_code = "store_unavailable"
    http_status = 503


class APIError(ChatBotKitAuthError):
    """The ChatBotKit API did not answer, or its answer is an error, malformed, truncated or too large."""

    error_code = "upstream_unavailable"
    http_status = 503


class APIConnectionError(APIError):
    """There was no connection to the API, or it broke before the whole answer was read.

    :param maybe_sent: whether the request may have reached the API. If so, a write must not simply be repeated.
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


_CURES = {
    401: "check CHATBOTKIT_API_SECRET",
    402: "choose a plan for the account in the ChatBotKit dashboard",
    403: "use a secret of the account that owns the users",
}
"""What an operator can do about an answer of the API, by its status."""


class APIStatusError(APIError):
    """The API answered with an error.

    :param status: the HTTP status of the API's answer.
    :param code: the ``code`` of the API's error object, such as ``"NOT_FOUND"``; empty if the body had none.
    :param message: the API's sentence.
    """

    def __init__(self, status: int, code: str, message: str) -> None:
        cure = _CURES.get(status)
        super().__init__(f"the ChatBotKit API answered {status} {code}: {message}{f' ({cure})' if cure else ''}")
        self.status = status
        self.code = code
        self.message = message

    @property
    def field(self) -> str | None:
        """The field that a 400 or a 409 is about, if the API's sentence begins with its name; else ``None``."""
        match = re.match(r'"([\w.-]+)"', self.message) if self.status in (400, 409) else None
        return match[1] if match else None


class NotFound(APIStatusError):
    """404: no such user or contact (or, with an HTML body, no ChatBotKit API at this address)."""


class NotAuthenticated(APIStatusError):
    """401: the secret is wrong or revoked."""


class NotAuthorized(APIStatusError):
    """403: the secret is valid, but must not do this, such as change the sub-account of another account."""


class Conflict(APIStatusError):
    """409: a record with a value that must be unique exists already."""


class TooManyRequests(APIStatusError):
    """429: a rate limit of the API is reached, for lists (``rate/poll``) or completions (``rate/message``).

    :param retry_after: seconds to wait, if known; 60 for the platform's own rate limits.
    """

    def __init__(self, status: int, code: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(status, code, message)
        self.retry_after = retry_after


class LimitsReached(APIStatusError):
    """429 ``LIMITS_REACHED``: a limit of the plan is reached, and trying again does not help.

    For a rate limit the exception is :exc:`TooManyRequests`.
    """
