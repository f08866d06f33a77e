"""Finds the operation for a request: its path, its secret, and the account that it acts for."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

from . import contacts, conversations, users
from .calls import Call, Problem, Reply
from .extras import Extras
from .paging import Listing
from .records import GHOST_MILLISECONDS, Records
from .resources import Resource
from .routes import PREFIX, opens
from .server import Request

USER_NAMES = ("partner/user", "user")

Operation = Callable[..., Reply]

_TABLE: list[tuple[str, str, Operation]] = [
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
    ("GET", "conversation/list", conversations.list_conversations),
    ("GET", "conversation/{}/fetch", conversations.fetch_conversation),
    ("POST", "conversation/{}/delete", conversations.delete_conversation),
    ("GET", "conversation/{}/message/list", conversations.list_messages),
    ("POST", "conversation/complete", conversations.complete),
    ("POST", "conversation/{}/complete", conversations.complete_conversation),
]
for _resource in (Resource("bot"), Resource("dataset", "database.datasets")):
    _TABLE += [
        ("GET", f"{_resource.name}/list", _resource.list),
        ("GET", f"{_resource.name}/{{}}/fetch", _resource.fetch),
        ("POST", f"{_resource.name}/create", _resource.create),
        ("POST", f"{_resource.name}/{{}}/update", _resource.update),
        ("POST", f"{_resource.name}/{{}}/delete", _resource.delete),
    ]
_ROUTES = [(method, re.compile(path.replace("{}", "([^/]+)")), operation) for method, path, operation in _TABLE]


class NoRoute(Exception):
    """The API serves nothing at this path, as at a wrong origin or under the other name of the sub-account resource."""


def perform(
    records: Records, request: Request, secret: str, knows: tuple[str, ...], listing: Listing, extras: Extras
) -> Reply:
    """Carry out a request.

    :raises NoRoute: the path does not exist.
    :raises Problem: the API refuses.
    """
    if not request.path.startswith(PREFIX):
        raise NoRoute
    rest = request.path[len(PREFIX) :]
    own = extras.route(request.method, rest)
    known = None if own else _route(rest, knows)
    answer = None if own or known else extras.answer(request.path)
    if known and request.method != known[0]:
        raise Problem(405, f"Use {known[0]}")
    account, contact_id = _acting(records, secret, request)
    # The record of a call is frozen for its readers.
    object.__setattr__(request, "account", account)
    if own:
        return own(request)
    if answer:
        return answer
    if not known:
        raise Problem(
            404,
            f"The sandbox does not know {request.method} {request.path}: tell it what to answer by "
            f'sandbox.answer("{request.path}", {{...}})',
        )
    if request.method == "POST" and not isinstance(request.json, dict):
        raise Problem(400, "The body must be a JSON object")
    body = request.json if request.method == "POST" else {}
    return known[1](records, Call(account, contact_id, body, listing), *known[2])


def _route(rest: str, knows: tuple[str, ...]) -> tuple[str, Operation, tuple[str, ...]] | None:
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
    return None


def _acting(records: Records, secret: str, request: Request) -> tuple[str | None, str | None]:
    """Return the acting sub-account (None for the account of the secret), and the contact that the token is bound to."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    account, contact_id = None, None
    if not scheme:
        raise Problem(403 if request.method == "POST" else 401, "Not authenticated")
    if scheme.lower() != "bearer":
        raise Problem(401, "Send the secret as a bearer token")
    if bearer.strip() != secret:
        token = records.tokens.get(bearer.strip())
        if token is None or (token.expires_at is not None and token.expires_at <= records.now()):
            raise Problem(401, "The secret is not valid")
        if token.routes is not None and not opens(token.routes, request.path):
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
    gone_at = records.ghosts.get(user_id or "") if account is None else None
    cached = gone_at is not None and records.now() - gone_at < GHOST_MILLISECONDS
    if user_id not in children and not cached:
        raise Problem(401, "The user is not a child of this account")
    return user_id
