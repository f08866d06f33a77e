"""From a request to an operation: paths, secrets, and on whose behalf."""

from __future__ import annotations

import re
from collections.abc import Callable
from fnmatch import fnmatchcase
from urllib.parse import unquote

from . import contacts, conversations, users
from .paging import Listing
from .records import Call, Problem, Records, Reply
from .server import Request

PREFIX = "/api/v1/"
USER_NAMES = ("partner/user", "user")

Operation = Callable[..., Reply]

_TABLE: tuple[tuple[str, str, Operation], ...] = (
    ("GET", "user/list", users.list_users),
    ("GET", "user/{}/fetch", users.fetch_user),
    ("POST", "user/create", users.create_user),
    ("POST", "user/{}/update", users.update_user),
    ("POST", "user/{}/delete", users.delete_user),
    ("POST", "user/{}/session/create", users.create_session),
    ("POST", "user/{}/token/create", users.create_token),
    ("GET", "user/{}/token/list", users.list_tokens),
    ("POST", "user/{}/token/{}/delete", users.delete_token),
    ("GET", "contact/list", contacts.list_contacts),
    ("GET", "contact/{}/fetch", contacts.fetch_contact),
    ("POST", "contact/create", contacts.create_contact),
    ("POST", "contact/ensure", contacts.ensure_contact),
    ("POST", "contact/{}/update", contacts.update_contact),
    ("POST", "contact/{}/delete", contacts.delete_contact),
    ("GET", "contact/{}/conversation/list", conversations.list_contact_conversations),
    ("POST", "conversation/create", conversations.create_conversation),
    ("POST", "conversation/complete", conversations.complete),
    ("POST", "conversation/{}/complete", conversations.complete_conversation),
)
_ROUTES = [(method, re.compile(path.replace("{}", "([^/]+)")), operation) for method, path, operation in _TABLE]


class NoRoute(Exception):
    """Nothing is served at the path, as at a wrong origin."""


def perform(records: Records, request: Request, secret: str, knows: tuple[str, ...], listing: Listing) -> Reply:
    """Carry out a request.

    :raises NoRoute: the path is none of the API's.
    :raises Problem: the API refuses.
    """
    needed, operation, ids = _route(request.path, knows)
    if request.method != needed:
        raise Problem(405, f"Use {needed}")
    account, contact_id = _acting(records, secret, request)
    if request.method == "POST" and not isinstance(request.json, dict):
        raise Problem(400, "The body must be a JSON object")
    body = request.json if request.method == "POST" else {}
    return operation(records, Call(account, contact_id, body, listing), *ids)


def _route(path: str, knows: tuple[str, ...]) -> tuple[str, Operation, tuple[str, ...]]:
    if not path.startswith(PREFIX):
        raise NoRoute
    rest = path[len(PREFIX) :]
    for name in USER_NAMES:
        if rest.startswith(name + "/"):
            if name not in knows:
                raise NoRoute
            rest = "user/" + rest[len(name) + 1 :]
            break
    for method, pattern, operation in _ROUTES:
        match = pattern.fullmatch(rest)
        if match is not None:
            return method, operation, tuple(map(unquote, match.groups()))
    raise NoRoute


def _acting(records: Records, secret: str, request: Request) -> tuple[str | None, str | None]:
    """Return the acting sub-account, None for the secret's own account, and the contact a token is bound to."""
    scheme, _, given = request.headers.get("Authorization", "").partition(" ")
    account, contact_id = None, None
    if scheme.lower() != "bearer":
        raise Problem(401, "Send the secret as a bearer token")
    if given.strip() != secret:
        token = records.tokens.get(given.strip())
        if token is None or (token.expires_at is not None and token.expires_at <= records.now()):
            raise Problem(401, "The secret is not valid")
        # Globs may name the path as the hosted API has it, or from the resource on.
        path = request.path
        names = (path, path.removeprefix("/api"), path.removeprefix("/api/v1"), path.removeprefix(PREFIX))
        if token.routes and not any(fnmatchcase(name, route) for name in names for route in token.routes):
            raise Problem(403, "The token does not open this route")
        account, contact_id = token.user_id, token.contact_id
    return _run_as(records, account, request), contact_id


def _run_as(records: Records, account: str | None, request: Request) -> str | None:
    user_id, email = request.headers.get("x-runas-user-id"), request.headers.get("x-runas-child-user-email")
    if not user_id and not email:
        return account
    # Sub-accounts have no children of their own.
    children = records.users if account is None else {}
    if not user_id:
        user_id = next((key for key, user in children.items() if user.get("email") == email), None)
    if user_id not in children:
        raise Problem(401, "The user is not a child of this account")
    return user_id
