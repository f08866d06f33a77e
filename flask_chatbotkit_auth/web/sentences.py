"""How an error reads to a person: what happened, and what to do next."""

from __future__ import annotations

from flask import request

from ..exceptions import (
    APIError,
    APIStatusError,
    ChatBotKitAuthError,
    CodeExpired,
    DeletionDenied,
    EmailTaken,
    InvalidCode,
    InvalidEmail,
    InvalidPasskey,
    LifecycleDisabled,
    MailError,
    NoChallenge,
    NotFresh,
    NotReady,
    PasskeyExpired,
    RateLimited,
    SignInDenied,
    SignUpDisabled,
    StoreError,
    TooManyAttempts,
    TooManyPasskeys,
    UnknownPasskey,
)
from ..languages import N_, ngettext
from ..languages import gettext as _
from .forms import text


def explain(error: ChatBotKitAuthError) -> str:
    """Return the sentence that a page shows about an error: what happened, and what to do next."""
    if (request.endpoint or "").startswith("chatbotkit_auth.account"):
        return _explain_to_signed_in(error)
    return _explain(error)


def _explain(error: ChatBotKitAuthError) -> str:
    if isinstance(error, InvalidCode):
        if not text("code").strip():
            return _("Enter the code")
        if error.attempts_left == 0:
            return _("That code isn't right, and that was the last try.")
        return _("That code isn't right")
    if isinstance(error, RateLimited):
        return _rate_limit_sentence(error)
    if isinstance(error, SignInDenied):
        return error.reason or _("You can't sign in here. If that's a mistake, contact the people who run this site.")
    if isinstance(error, DeletionDenied) and error.reason:
        return error.reason
    if _refused(error):
        return _("This was refused, and trying again won't help. Contact the people who run this site.")
    if isinstance(error, APIError) and request.endpoint in _BEFORE_A_CODE:
        return _("We can't reach our servers right now. Try again in a moment.")  # nobody has typed a code yet
    for kind, sentence in SENTENCES:
        if isinstance(error, kind):
            return _(sentence)
    return _("Something went wrong on our side. Try again in a moment.")


def _explain_to_signed_in(error: ChatBotKitAuthError) -> str:
    """Return the sentence for a page of the account, where the person is already signed in."""
    if isinstance(error, InvalidCode) and error.attempts_left == 0:
        return _("That code isn't right, and that was the last try. Send a new code.")
    if isinstance(error, RateLimited) and error.limit == "resend:max":
        return _("That was the last code we can send for now. Use the newest one.")
    if isinstance(error, InvalidEmail) and request.endpoint == "chatbotkit_auth.account_email_post":
        return _explain(error)  # it is about what was typed
    for kind, sentence in ACCOUNT_SENTENCES:
        if isinstance(error, kind) and not _refused(error):
            return _(sentence)
    return _explain(error)


_BEFORE_A_CODE = ("chatbotkit_auth.sign_in_post", "chatbotkit_auth.app_sign_in")


def _refused(error: ChatBotKitAuthError) -> bool:
    """Return whether the API has refused the request itself, so that trying again does not help."""
    return isinstance(error, APIStatusError) and error.status in (400, 409, 422)


SENTENCES: tuple[tuple[type[ChatBotKitAuthError], str], ...] = (
    (InvalidEmail, N_("Enter a valid email address")),
    (NoChallenge, N_("This sign-in is over, or was started in another browser. Send a new code.")),
    (CodeExpired, N_("This code has expired")),
    (TooManyAttempts, N_("Too many wrong codes. Send a new code.")),
    (SignUpDisabled, N_("There's no account for this address. If you need one, contact the people who run this site.")),
    (LifecycleDisabled, N_("This is turned off here. If you need it, contact the people who run this site.")),
    (DeletionDenied, N_("This account can't be deleted right now. Contact the people who run this site.")),
    (NotFresh, N_("Confirm it's you: sign in again, then try once more.")),
    (NotReady, N_("We're still setting up your account. Try again in a moment.")),
    (EmailTaken, N_("This address has an account already. Use another one, or sign in with this one.")),
    (UnknownPasskey, N_("This passkey isn't known here any more. Sign in with a code, then you can create a new one.")),
    (PasskeyExpired, N_("This page was open for too long. Try again.")),
    (InvalidPasskey, N_("That didn't work. Try again, or sign in with a code.")),
    (TooManyPasskeys, N_("You have as many passkeys as you can have. Remove one first.")),
    (MailError, N_("We couldn't send the email. Wait a moment, then send a new code.")),
    (APIError, N_("We can't reach our servers right now. Your code is still good. Try again in a moment.")),
    (StoreError, N_("We can't sign anyone in right now. Try again in a moment.")),
)
ACCOUNT_SENTENCES: tuple[tuple[type[ChatBotKitAuthError], str], ...] = (
    (TooManyAttempts, N_("Too many wrong codes. Send a new code.")),
    (CodeExpired, N_("This code has expired")),
    (NoChallenge, N_("That code was for something else, or for another browser. Send a new code.")),
    (InvalidEmail, N_("Your account has no email address we can write to. Contact the people who run this site.")),
    (PasskeyExpired, N_("This page was open for too long. Try again.")),
    (InvalidPasskey, N_("That didn't work. Try again.")),
    (APIError, N_("We can't reach our servers right now. Try again in a moment.")),
)


def _rate_limit_sentence(error: RateLimited) -> str:
    if error.limit == "resend:max":
        return _("That was the last code we can send for now. Use the newest one.")
    if error.limit.startswith("verify"):
        return _("Too many wrong codes. Wait %(time)s.", time=_in_words(error.retry_after))
    if error.limit.startswith(("profile", "change")):
        return _("Too many changes. Wait %(time)s.", time=_in_words(error.retry_after))
    return _("You've asked for too many codes. Wait %(time)s.", time=_in_words(error.retry_after))


def _in_words(seconds: int) -> str:
    if seconds < 90:
        # Translators: in "Wait %(time)s."
        return ngettext("%(num)s second", "%(num)s seconds", seconds)
    if seconds <= 90 * 60:
        # Translators: in "Wait %(time)s."
        return ngettext("%(num)s minute", "%(num)s minutes", -(-seconds // 60))
    # Translators: in "Wait %(time)s."
    return ngettext("%(num)s hour", "%(num)s hours", -(-seconds // 3600))


def title_of(status: int) -> str:
    """Return the title of a page about an error with this status."""
    if status == 429:
        return _("Please wait")
    if status == 403:
        return _("You can't sign in")
    if status >= 500:
        return _("We'll be right back")
    return _("That didn't work")
