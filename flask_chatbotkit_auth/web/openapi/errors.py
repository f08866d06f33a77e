"""The error codes of the JSON API: the status of each, and what a front end does about it."""

from __future__ import annotations

from typing import NamedTuple


class Error(NamedTuple):
    status: int
    cure: str
    detail: str = ""
    """The field that the error has besides its code and message; ``""`` for none."""


ERRORS = {
    "invalid_email": Error(400, "Correct the address."),
    "invalid_code": Error(400, "Try again.", "attempts_left"),
    "code_expired": Error(400, "Start again."),
    "no_challenge": Error(400, "Start again: this browser has no sign-in under way, or its code was used."),
    "invalid_passkey": Error(400, "Try again, or sign in with a code."),
    "passkey_expired": Error(400, "Ask for new options, and try again."),
    "invalid_profile": Error(400, "Correct the fields.", "fields"),
    "invalid_confirmation": Error(400, "Type the account's address."),
    "not_signed_in": Error(401, "Sign in."),
    "invalid_token": Error(401, "Forget the token, then sign in again."),
    "csrf": Error(403, "Fetch a new token from /auth/session, then send the request again."),
    "sign_in_denied": Error(403, "Show the message: your application refused."),
    "sign_up_disabled": Error(403, "Nothing: the account was deleted after the code was sent."),
    "not_fresh": Error(403, "Have the person sign in again, then send the request again."),
    "deletion_denied": Error(403, "Show the message: your application refused."),
    "lifecycle_disabled": Error(403, "Nothing: the configuration turns this off."),
    "unknown_passkey": Error(404, "Sign in with a code: this passkey is not known here any more."),
    "no_session": Error(404, "Nothing: that session has ended already."),
    "email_taken": Error(409, "Choose another address: this one has an account."),
    "too_many_passkeys": Error(409, "Remove another one first."),
    "too_large": Error(413, "Send less: a body can have 64 KB."),
    "rate_limited": Error(429, "Wait.", "retry_after"),
    "too_many_attempts": Error(429, "Wait, then start again.", "retry_after"),
    "mail_unavailable": Error(503, "Offer another code at /auth/resend."),
    "upstream_unavailable": Error(503, "Try again in a moment. A right code is remembered; nobody types it again."),
    "not_ready": Error(503, "Try again in a moment. The account is being set up; nobody types the code again."),
    "store_unavailable": Error(503, "Try again in a moment."),
}
