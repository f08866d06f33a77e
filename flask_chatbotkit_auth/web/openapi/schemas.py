"""The bodies of requests and answers, as JSON Schema."""

from __future__ import annotations

from typing import Any

from ...identifier import MAX_LENGTH
from ...profile import MAX_IMAGE, MAX_NAME
from ...state import AuthState
from .errors import ERRORS, Error
from .operations import answered

Json = dict[str, Any]


def ref(kind: str, name: str) -> Json:
    """Return a reference to a schema of the document."""
    return {"$ref": f"#/components/{kind}/{name}"}


def schemas(auth: AuthState) -> Json:
    """Return the schemas by name. Those of errors are named ``error_`` and the code."""
    hooked, code, apps = auth.hooks.session is not None, _code(auth), auth.config.app_sessions
    held = _held(auth)
    redirect = {"redirect": _text("Where to go now.", examples=["/dashboard"])}
    user = {"user": ref("schemas", "User")}
    session = {
        "user": {"oneOf": [ref("schemas", "User"), {"type": "null"}]},
        "expires_at": _time(or_null=True),
        "challenge": {"oneOf": [ref("schemas", "Challenge"), {"type": "null"}]},
    }
    token = {"csrf_token": _text("For the header `X-CSRFToken`.")}
    return {
        "User": _object(
            {
                "id": _text(),
                "email": _text(examples=["ada@example.com"]),
                "name": _text(or_null=True, examples=["Ada"]),
                "image": _text("The address of a picture.", or_null=True),
                "email_verified": _time("When the address was first proved.", or_null=True),
                "created_at": _time("When the account was made.", or_null=True),
                "kind": {"enum": ["partner", "contact"]},
            }
        ),
        # A session_callback can add any field.
        "Session": _object(token, session, additionalProperties=True) if hooked else _object({**session, **token}),
        "Challenge": _object(
            {
                "email": _text("The address, masked.", examples=["a•••@example.com"]),
                "expires_in": _count("Seconds until the newest code stops working.", 1, 600),
                "resend_in": _count("Seconds until another code may be asked for.", 0, 30),
            },
            {"token": _text("For an app: send it as `challenge` with the next request.")} if apps else {},
        ),
        "ChallengeAnswer": _object({"challenge": ref("schemas", "Challenge")}),
        "SignedIn": _object({**user, **redirect, **token}),
        "Redirect": _object(redirect),
        "OwnSession": _object(
            {
                "id": _text(),
                "device": _text(or_null=True, examples=["Chrome on Android"]),
                "ip": _text(or_null=True, examples=["192.0.2.1"]),
                "created_at": _time(),
                "last_seen_at": _time(),
                "current": {"type": "boolean", "description": "Whether it is the session of this request."},
                **({"client": {"enum": ["browser", "app"]}, "name": _text(or_null=True)} if apps else {}),
            }
        ),
        "Account": _object(
            {
                **user,
                "sessions": {"type": "array", "items": ref("schemas", "OwnSession")},
                "can_update": {"const": auth.adapter.auto_update},
                "can_delete": {"const": auth.adapter.auto_delete},
                **({"passkeys": {"type": "array", "items": ref("schemas", "Passkey")}} if auth.config.passkeys else {}),
                **({"can_change_email": {"const": True}} if auth.config.email_change else {}),
            }
        ),
        **(_passkeys() if auth.config.passkeys else {}),
        **_of_the_address(auth),
        **(_activity() if auth.config.events else {}),
        **(_apps(code, user, hooked=hooked) if apps else {}),
        "UserAnswer": _object(user, _APP_TOKEN if apps else {}),
        **(_link() if auth.config.mail_link else {}),
        "OneEnded": _object({"ended": {"const": 1}}, redirect, description="`redirect`: it was this very session."),
        "Forgotten": _object({"forgotten": {"const": True}}),
        "Ended": _object({"ended": _count("How many there were.", 0, 2)}),
        "Deleted": _object({"deleted": {"const": True}, **redirect}),
        "SignIn": _request(
            {"email": _text(format="email", maxLength=MAX_LENGTH, examples=["ada@example.com"])},
            {"next": _text("A path on this host, to go to afterwards.", examples=["/dashboard"]), **_REMEMBER},
        ),
        "Code": _request({"code": code}, {**_REMEMBER, **held}),
        "Profile": _request(
            {},
            {
                "name": _text("Empty: none.", maxLength=MAX_NAME, examples=["Ada"]),
                "image": _text(
                    "An https address; empty: none.", maxLength=MAX_IMAGE, examples=["https://example.com/ada.png"]
                ),
            },
        ),
        "Deletion": _request(
            {"confirm": _text("The account's address.", examples=["ada@example.com"]), "code": code}, held
        ),
        "Nothing": _request({}),
        **{f"error_{name}": _error(ERRORS[name], name, apps=apps) for name in sorted(answered(auth.config))},
    }


def _apps(code: Json, user: Json, *, hooked: bool) -> Json:
    challenge = {"challenge": _text("The newest `token` of the challenge.")}
    name = {"name": _text("What the app calls itself: its owner sees it among the sessions.", maxLength=64)}
    return {
        "AppSignIn": _request(
            {"email": _text(format="email", maxLength=MAX_LENGTH, examples=["ada@example.com"])}, name
        ),
        "AppChallenge": _request(challenge),
        "AppCode": _request({**challenge, "code": code}),
        "AppSignedIn": _object({**user, **_APP_TOKEN}),
        "AppEnded": _object({"ended": {"const": 1}}),
        "AppSession": _object({}, additionalProperties=True) if hooked else _object({**user, "expires_at": _time()}),
    }


def _passkeys() -> Json:
    credential = {
        "type": "object",
        "description": "The `PublicKeyCredential` of the browser, with base64url for bytes, as its `toJSON()` has it.",
    }
    public_key = {"publicKey": {"type": "object", "description": "The options, with base64url for bytes."}}
    accepted = _object(
        {
            "rpId": _text(),
            "userId": _text(),
            "allAcceptedCredentialIds": {"type": "array", "items": _text()},
        },
        description="For `PublicKeyCredential.signalAllAcceptedCredentials`.",
    )
    next = {"next": _text("A path on this host, to go to afterwards.", examples=["/dashboard"])}
    return {
        "Passkey": _object(
            {
                "id": _text(),
                "name": _text(examples=["My phone"]),
                "provider": _text("Who keeps it, for display only.", or_null=True, examples=["iCloud Keychain"]),
                "synced": {"type": "boolean", "description": "Whether it is copied to the person's other devices."},
                "created_at": _time(),
                "used_at": _time(or_null=True),
            }
        ),
        "PasskeyOptions": _object(public_key),
        "PasskeyAnswer": _request({"credential": credential}, {**next, **_REMEMBER}),
        "PasskeyOffer": _request({}, {"offer": {"type": "boolean", "description": "Whether for this device only."}}),
        "NewPasskey": _request({"credential": credential}, {"name": _text(maxLength=64)}),
        "PasskeyName": _request({"name": _text(maxLength=64, examples=["My phone"])}),
        "PasskeyKept": _object({"passkey": ref("schemas", "Passkey")}),
        "PasskeyRemoved": _object({"removed": {"const": 1}, "accepted": accepted}),
    }


def _code(auth: AuthState) -> Json:
    alphabet, length = auth.provider.alphabet, auth.provider.length
    return _text(
        f"{length} characters out of {alphabet}. Spaces and dashes do not matter.",
        examples=[(alphabet * length)[:length]],
    )


def _link() -> Json:
    return {"Link": _request({"t": _text("That of the link.", minLength=22, maxLength=22)})}


def _activity() -> Json:
    event = _object(
        {
            "id": _text(),
            "at": _time(),
            "kind": _text(examples=["sign_in"]),
            "device": _text(or_null=True, examples=["Chrome on Android"]),
            "ip": _text(or_null=True, examples=["192.0.2.1"]),
            "method": _text("How the person signed in.", or_null=True, examples=["code"]),
        }
    )
    return {"Activity": _object({"activity": {"type": "array", "items": event}})}


def _held(auth: AuthState) -> Json:
    return {"challenge": _text("For an app: the `token` of its challenge.")} if auth.config.app_sessions else {}


def _of_the_address(auth: AuthState) -> Json:
    if not auth.config.email_change:
        return {}
    email = _text("The new address.", format="email", maxLength=MAX_LENGTH, examples=["ada@example.org"])
    return {"NewAddress": _request({"email": email}), "AddressCode": _request({"code": _code(auth)}, _held(auth))}


def _error(error: Error, code: str, *, apps: bool) -> Json:
    """Return the schema of ``{"error": {"code", "message", …}}``."""
    message = _text("A sentence for the person; it may be shown as it is.", examples=["What happened, and what to do."])
    detail = {error.detail: _DETAILS[error.detail]} if error.detail else {}
    check = {"check": _text("In debug mode: which check refused.")} if code == "csrf" else {}
    if apps:
        check["challenge"] = ref("schemas", "Challenge")
    error_object = _object({"code": {"const": code}, "message": message, **detail}, check)
    return _object({"error": error_object}, description=error.cure)


def _object(required: Json, optional: Json | None = None, **more: Any) -> Json:
    properties = {**required, **(optional or {})}
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
        **more,
    }


def _text(description: str = "", *, or_null: bool = False, **more: Any) -> Json:
    about = {"description": description} if description else {}
    return {"type": ["string", "null"] if or_null else "string", **about, **more}


def _count(description: str, minimum: int, example: int) -> Json:
    return {"type": "integer", "minimum": minimum, "description": description, "examples": [example]}


def _request(required: Json, optional: Json | None = None) -> Json:
    return _object(required, optional, additionalProperties=True)


def _time(description: str = "", *, or_null: bool = False) -> Json:
    return _text(description, or_null=or_null, format="date-time", examples=["2026-01-01T12:00:00+00:00"])


_REMEMBER: Json = {
    "remember": {
        "type": "boolean",
        "default": True,
        "description": "Whether the browser stays signed in when it is closed.",
    }
}
_DETAILS = {
    "attempts_left": _count("How many more wrong codes are taken; 0: the challenge has ended.", 0, 4),
    "fields": {**_object({}, {"name": _text(), "image": _text()}), "description": "A sentence for each field."},
    "retry_after": _count("Seconds to wait, as in the header `Retry-After`.", 1, 30),
}

_APP_TOKEN = {
    "token": _text("For the header `Authorization: Bearer`. Nobody can ask for it again.", examples=["cba-…"]),
    "expires_at": _time("When the session ends unless it is used."),
}
