"""The OpenAPI 3.1 document of the JSON API, made for the settings of the application that serves it."""

from __future__ import annotations

from importlib.metadata import version

from ...mail.compose import site_name
from ...state import AuthState
from .errors import ERRORS
from .operations import Operation, codes_of, operations
from .schemas import Json, ref, schemas

_VERSION = version("flask-chatbotkit-auth")  # imported here, since it is read from a file, which is slow

_ABOUT = """\
Passwordless sign-in: an address, a code that is mailed to it, a session in a cookie.

A request counts as JSON when its `Content-Type` is `application/json`, or when its `Accept` names that before or beside \
a wildcard; any other is answered with a page. Every POST carries the token of `GET {prefix}/session`, which belongs to the \
browser's session: after signing out, fetch it again; signing in answers the new one. A page on another origin must be in \
`CHATBOTKIT_AUTH_TRUSTED_ORIGINS`. In the body of a request, what is not named here is ignored, and what is no text counts \
as missing."""

_TOKEN = {
    "name": "X-CSRFToken",
    "in": "header",
    "required": True,
    "description": "The `csrf_token` of the session.",
    "schema": {"type": "string"},
}
_PARAMETERS: dict[str, Json] = {
    name: {
        "name": name,
        "in": "path",
        "required": True,
        "description": f"The `id` of one of the account's `{plural}`.",
        "schema": {"type": "string"},
    }
    for name, plural in (("session_id", "sessions"), ("passkey_id", "passkeys"))
}
_TOKEN_OF_BROWSER = {
    **_TOKEN,
    "required": False,
    "description": "The `csrf_token` of the session. A browser must send it; an app with a bearer token need not.",
}
_BEARER = {
    "type": "http",
    "scheme": "bearer",
    "description": "The `token` of `verifyAppCode`. With it no cookie counts, and no CSRF token is asked for.",
}
_RETRY_AFTER = {
    "required": True,
    "description": "Seconds to wait, as `retry_after` in the body.",
    "schema": {"type": "integer", "minimum": 1},
}


def document(auth: AuthState, *, cookie: str, root: str) -> Json:
    """Return the document.

    :param cookie: the name of the application's session cookie.
    :param root: the path that the application is mounted at, ``""`` for the whole of its host.
    """
    prefix, apps = auth.config.url_prefix, auth.config.app_sessions
    paths: dict[str, Json] = {}
    for each in operations(auth.config):
        paths.setdefault(prefix + each.path, {})[each.method] = _operation(each, auth)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{site_name(auth.config)}: sign-in",
            "version": _VERSION,
            "description": _ABOUT.format(prefix=prefix),
        },
        "servers": [{"url": root or "/"}],
        "security": [{"session": []}],
        "paths": paths,
        "components": {
            "schemas": schemas(auth),
            "parameters": {"token": _TOKEN, **({"token_of_browser": _TOKEN_OF_BROWSER} if apps else {})},
            "headers": {"Retry-After": _RETRY_AFTER},
            "securitySchemes": {
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": cookie,
                    "description": "Comes with the first answer. Browsers send it by themselves; scripts cannot read it.",
                },
                **({"bearer": _BEARER} if apps else {}),
            },
        },
    }


def _operation(operation: Operation, auth: AuthState) -> Json:
    post, own = operation.method == "post", operation.path.startswith("/account")
    made: Json = {
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": ["account" if own else "app" if operation.takes_no_cookie else "sign-in"],
        "responses": {
            "200": _answer("Done.", ref("schemas", operation.answer)),
            **_refusals(codes_of(operation, auth.config)),
        },
    }
    if operation.switch and not getattr(auth.adapter, operation.switch):
        made["description"] = "Turned off here: the answer is `lifecycle_disabled`."
    if operation.next:
        made["responses"]["200"]["links"] = {id: _link(id) for id in operation.next.split()}
    if parameters := [_PARAMETERS[name] for name in _PARAMETERS if f"{{{name}}}" in operation.path]:
        made["parameters"] = parameters
    bearer = auth.config.app_sessions and operation.takes_a_bearer
    if bearer:
        made["security"] = [{"bearer": []}] if operation.takes_no_cookie else [{"session": []}, {"bearer": []}]
    elif operation.takes_no_cookie:
        made["security"] = [{}]
    if post:
        if not operation.takes_no_cookie:
            token = ref("parameters", "token_of_browser" if bearer else "token")
            made["parameters"] = [*made.get("parameters", ()), token]
        content = {"application/json": {"schema": ref("schemas", operation.body)}}
        made["requestBody"] = {"required": operation.body != "Nothing", "content": content}
    elif "security" not in made:
        # A browser without a cookie can ask as well.
        made["security"] = [{"session": []}] if own else [{}, {"session": []}]
    return made


def _link(id: str) -> Json:
    if id == "endSession":
        return {"operationId": id, "parameters": {"session_id": "$response.body#/sessions/0/id"}}
    return {"operationId": id}


def _refusals(codes: list[str]) -> Json:
    """Return the error answers of an operation, by status."""
    refusals = {}
    for status in sorted({ERRORS[code].status for code in codes}):
        here = [code for code in codes if ERRORS[code].status == status]
        kinds = [ref("schemas", f"error_{code}") for code in here]
        description = " or ".join(f"`{code}`" for code in here)
        refusals[str(status)] = _answer(description, kinds[0] if len(kinds) == 1 else {"oneOf": kinds})
        if status == 429:
            refusals[str(status)]["headers"] = {"Retry-After": ref("headers", "Retry-After")}
    return refusals


def _answer(description: str, schema: Json) -> Json:
    return {"description": description, "content": {"application/json": {"schema": schema}}}
