"""The endpoints of the JSON API, and the error codes that each answers."""

from __future__ import annotations

from typing import NamedTuple

from ...config import Config


class Operation(NamedTuple):
    method: str
    path: str
    id: str
    summary: str
    answer: str
    """The schema of the answer with status 200."""

    errors: str = ""
    """The error codes of this endpoint only, separated by spaces."""

    body: str = "Nothing"
    """The schema of the request body."""

    next: str = ""
    """The operations that can follow the answer, separated by spaces."""

    switch: str = ""
    """The switch of the adapter that allows the operation; ``""`` for none."""

    needs: str = ""
    """The configuration field without which the endpoint does not exist; ``""`` for none."""

    @property
    def codes(self) -> list[str]:
        """All error codes of this endpoint."""
        codes = [*self.errors.split(), "store_unavailable"]
        codes += ["not_signed_in"] if self.path.startswith("/account") else []
        codes += ["lifecycle_disabled"] if self.switch else []
        if self.takes_no_cookie:
            return codes + (["too_large"] if self.method == "post" else [])
        return codes + (["csrf", "too_large"] if self.method == "post" else [])

    @property
    def takes_no_cookie(self) -> bool:
        """Whether the endpoint is for apps, which have no cookie."""
        return self.path.startswith("/app/")

    @property
    def takes_a_bearer(self) -> bool:
        """Whether the endpoint accepts the bearer token of an app."""
        return self.path.startswith(("/account", "/app/session", "/app/sign-out"))


_CODE_ERRORS = "no_challenge invalid_code code_expired too_many_attempts rate_limited"
OPERATIONS = (
    Operation("get", "/session", "getSession", "Tells who is signed in, and the CSRF token.", "Session"),
    Operation(
        "post",
        "/sign-in",
        "requestCode",
        "Begins a sign-in: sends a code to an address.",
        "ChallengeAnswer",
        "invalid_email rate_limited mail_unavailable upstream_unavailable",
        "SignIn",
        "verifyCode resendCode",
    ),
    Operation(
        "get",
        "/verify",
        "getChallenge",
        "Tells the sign-in that waits for its code in this browser, as after a reload.",
        "ChallengeAnswer",
        "no_challenge",
        next="verifyCode resendCode",
    ),
    Operation(
        "post",
        "/verify",
        "verifyCode",
        "Signs the person in, if the code is right. After `upstream_unavailable` an empty code is enough.",
        "SignedIn",
        f"{_CODE_ERRORS} sign_in_denied sign_up_disabled upstream_unavailable not_ready",
        "Code",
        "getAccount signOut",
    ),
    Operation(
        "post",
        "/resend",
        "resendCode",
        "Sends another code. The earlier ones keep working, and wrong codes stay counted. After expiry: a new challenge.",
        "ChallengeAnswer",
        "no_challenge too_many_attempts rate_limited mail_unavailable upstream_unavailable",
        next="verifyCode",
    ),
    Operation(
        "get",
        "/link",
        "getLink",
        "Tells the sign-in that the link of a mail belongs to; the query's `t` is the link's.",
        "ChallengeAnswer",
        "no_challenge code_expired too_many_attempts",
        next="useLink",
        needs="mail_link",
    ),
    Operation(
        "post",
        "/link",
        "useLink",
        "Signs the person in by the link of the mail, in the browser that asked for it.",
        "SignedIn",
        "no_challenge code_expired too_many_attempts sign_in_denied sign_up_disabled not_ready upstream_unavailable",
        "Link",
        needs="mail_link",
    ),
    Operation("post", "/sign-out", "signOut", "Ends the session of this browser.", "Redirect"),
    Operation(
        "get",
        "/account",
        "getAccount",
        "Tells the profile and the sessions.",
        "Account",
        next="changeProfile endSession endOtherSessions forgetDevice requestDeletionCode",
    ),
    Operation(
        "post",
        "/account/profile",
        "changeProfile",
        "Changes what is sent of the profile.",
        "UserAnswer",
        "invalid_profile rate_limited upstream_unavailable",
        "Profile",
        switch="auto_update",
    ),
    Operation(
        "post",
        "/account/sessions/{session_id}/end",
        "endSession",
        "Ends one session. That of another browser needs a fresh proof.",
        "OneEnded",
        "no_session not_fresh",
    ),
    Operation(
        "post",
        "/account/sessions/end-others",
        "endOtherSessions",
        "Ends all sessions but this one. It needs a fresh proof.",
        "Ended",
        "not_fresh",
    ),
    Operation(
        "get",
        "/account/activity",
        "getActivity",
        "Tells what has happened to the account, the newest first. The query's `before`, an `id`, asks for older ones.",
        "Activity",
        needs="events",
    ),
    Operation(
        "get",
        "/account/email",
        "getAddressChallenge",
        "Tells the change of address that waits for its code in this browser, as after a reload.",
        "ChallengeAnswer",
        "no_challenge",
        next="changeAddress",
        needs="email_change",
    ),
    Operation(
        "post",
        "/account/email",
        "requestAddressCode",
        "Begins a change of address: sends a code to the new one, or another code to the same.",
        "ChallengeAnswer",
        "invalid_email not_fresh rate_limited mail_unavailable",
        "NewAddress",
        "changeAddress",
        needs="email_change",
    ),
    Operation(
        "post",
        "/account/email/verify",
        "changeAddress",
        "Changes the address, if the code is right, and ends all other sessions. After `upstream_unavailable` an empty code "
        "is enough.",
        "UserAnswer",
        f"{_CODE_ERRORS} email_taken sign_in_denied upstream_unavailable",
        "AddressCode",
        needs="email_change",
    ),
    Operation(
        "post",
        "/account/device/forget",
        "forgetDevice",
        "Takes the device cookie away: this browser counts as a new one. The session goes on.",
        "Forgotten",
    ),
    Operation(
        "post",
        "/account/delete/code",
        "requestDeletionCode",
        "Sends the code that deleting takes.",
        "ChallengeAnswer",
        "invalid_email rate_limited mail_unavailable",
        next="deleteAccount",
        switch="auto_delete",
    ),
    Operation(
        "post",
        "/account/delete",
        "deleteAccount",
        "Deletes the account for good, and ends all its sessions.",
        "Deleted",
        f"invalid_confirmation {_CODE_ERRORS} deletion_denied upstream_unavailable",
        "Deletion",
        switch="auto_delete",
    ),
    Operation(
        "post",
        "/passkey/options",
        "getPasskeyOptions",
        "Answers new options for `navigator.credentials.get`.",
        "PasskeyOptions",
        needs="passkeys",
    ),
    Operation(
        "post",
        "/passkey",
        "signInByPasskey",
        "Signs the owner of a passkey in. After `upstream_unavailable` the same body can be sent again.",
        "SignedIn",
        "invalid_passkey passkey_expired unknown_passkey sign_in_denied rate_limited upstream_unavailable not_ready",
        "PasskeyAnswer",
        "getAccount signOut",
        needs="passkeys",
    ),
    Operation(
        "post",
        "/account/passkeys/options",
        "getPasskeyCreationOptions",
        "Answers new options for `navigator.credentials.create`.",
        "PasskeyOptions",
        "not_fresh too_many_passkeys",
        "PasskeyOffer",
        needs="passkeys",
    ),
    Operation(
        "post",
        "/account/passkeys",
        "addPasskey",
        "Keeps the passkey that the browser has made.",
        "PasskeyKept",
        "invalid_passkey passkey_expired not_fresh too_many_passkeys",
        "NewPasskey",
        needs="passkeys",
    ),
    Operation(
        "post",
        "/account/passkeys/{passkey_id}/name",
        "renamePasskey",
        "Renames a passkey.",
        "PasskeyKept",
        "invalid_profile unknown_passkey",
        "PasskeyName",
        needs="passkeys",
    ),
    Operation(
        "post",
        "/account/passkeys/{passkey_id}/remove",
        "removePasskey",
        "Removes a passkey.",
        "PasskeyRemoved",
        "not_fresh unknown_passkey",
        needs="passkeys",
    ),
    Operation(
        "post",
        "/app/sign-in",
        "requestAppCode",
        "Begins the sign-in of an app: sends a code to an address.",
        "ChallengeAnswer",
        "invalid_email rate_limited mail_unavailable upstream_unavailable",
        "AppSignIn",
        "verifyAppCode resendAppCode",
        needs="app_sessions",
    ),
    Operation(
        "post",
        "/app/verify",
        "verifyAppCode",
        "Signs the app in, if the code is right. After `upstream_unavailable`: send the challenge token of the error, and an "
        "empty code.",
        "AppSignedIn",
        f"{_CODE_ERRORS} sign_in_denied sign_up_disabled upstream_unavailable not_ready",
        "AppCode",
        "getAppSession signOutApp",
        needs="app_sessions",
    ),
    Operation(
        "post",
        "/app/resend",
        "resendAppCode",
        "Sends another code. After expiry: a new challenge.",
        "ChallengeAnswer",
        "no_challenge too_many_attempts rate_limited mail_unavailable upstream_unavailable",
        "AppChallenge",
        "verifyAppCode",
        needs="app_sessions",
    ),
    Operation(
        "get",
        "/app/session",
        "getAppSession",
        "Tells who the app is signed in as.",
        "AppSession",
        "not_signed_in",
        needs="app_sessions",
    ),
    Operation(
        "post",
        "/app/session",
        "postAppSession",
        "Does the same as `getAppSession`.",
        "AppSession",
        "not_signed_in",
        needs="app_sessions",
    ),
    Operation(
        "post",
        "/app/sign-out",
        "signOutApp",
        "Ends the session of this app.",
        "AppEnded",
        "not_signed_in",
        needs="app_sessions",
    ),
)


def operations(config: Config) -> list[Operation]:
    """Return the endpoints that exist with these settings."""
    return [each for each in OPERATIONS if not each.needs or getattr(config, each.needs)]


def answered(config: Config) -> set[str]:
    """Return the error codes that at least one endpoint answers."""
    return {code for each in operations(config) for code in codes_of(each, config)}


def codes_of(operation: Operation, config: Config) -> list[str]:
    """Return the error codes of an endpoint with these settings."""
    if not config.app_sessions or not operation.takes_a_bearer:
        return operation.codes
    more = ("invalid_token", "sign_in_denied", "upstream_unavailable")
    return [*operation.codes, *(code for code in more if code not in operation.codes)]
