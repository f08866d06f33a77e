"""The operations on sub-accounts and their tokens, with the API's own rules."""

from __future__ import annotations

import secrets

from . import meta
from .calls import Call, Problem, Record, Reply
from .fields import apply, checked, fit, too_long
from .records import Records, Token, forget, new_id, page

TEXTS = ("alias", "name", "description", "image", "email")
DEFAULT_SESSION_SECONDS = 900
LONGEST_SESSION_SECONDS = 10**10


def list_users(records: Records, call: Call) -> Reply:
    children = records.users.values() if call.account is None else ()
    return page(children, call, email_filter=True)


def fetch_user(records: Records, call: Call, user_id: str) -> Reply:
    return Reply(meta.shown(_child(records, call, user_id)))


def create_user(records: Records, call: Call) -> Reply:
    if call.account is not None:
        raise Problem(403, "Only a top-level account may create users")
    changes, alias = _changes(records, call.body)
    _refuse_taken_email(records, changes.get("email"), "")
    user = records.stamp()
    apply(records, user, changes)
    records.users[user["id"]] = user
    _alias(records, user["id"], alias)
    return Reply({"id": user["id"]})


def update_user(records: Records, call: Call, user_id: str) -> Reply:
    user = _child(records, call, user_id)
    changes, alias = _changes(records, call.body)
    _refuse_taken_email(records, changes.get("email"), user_id)
    apply(records, user, changes)
    # The platform removes an alias that an update leaves out.
    _alias(records, user_id, alias)
    user["updatedAt"] = records.tick()
    return Reply({"id": user_id})


def delete_user(records: Records, call: Call, user_id: str) -> Reply:
    _child(records, call, user_id)
    del records.users[user_id]
    records.aliases.pop(user_id, None)
    records.ghosts[user_id] = records.now()
    for secret in [secret for secret, token in records.tokens.items() if token.user_id == user_id]:
        del records.tokens[secret]
    for key in [key for key, owner in records.owners.items() if owner == user_id]:
        forget(records, key)
    return Reply({"id": user_id})


def create_session(records: Records, call: Call, user_id: str) -> Reply:
    _child(records, call, user_id)
    seconds = call.body.get("durationInSeconds")
    if seconds is None:
        seconds = DEFAULT_SESSION_SECONDS
    if type(seconds) is not int or not 0 < seconds < LONGEST_SESSION_SECONDS:
        raise Problem(400, '"durationInSeconds" must be a positive whole number')
    expires_at = records.now() + seconds * 1000
    session = {"id": new_id()}
    body = checked(call.body, objects=("config",), unchecked=("durationInSeconds",))
    secret = _grant(records, user_id, session, expires_at, body.get("config") or {})
    return Reply({"id": session["id"], "token": secret, "expiresAt": expires_at})


def create_token(records: Records, call: Call, user_id: str) -> Reply:
    _child(records, call, user_id)
    record = records.stamp()
    body = checked(call.body, texts=("name", "description"), objects=("meta", "config"))
    config = body.pop("config", None) or {}
    apply(records, record, body)
    secret = _grant(records, user_id, record, None, config)
    return Reply({"id": record["id"], "token": secret, "createdAt": record["createdAt"]})


def list_tokens(records: Records, call: Call, user_id: str) -> Reply:
    _child(records, call, user_id)
    listed = (token for token in records.tokens.values() if token.user_id == user_id and token.expires_at is None)
    return page((token.record for token in listed), call)


def delete_token(records: Records, call: Call, user_id: str, token_id: str) -> Reply:
    _child(records, call, user_id)
    for secret, token in records.tokens.items():
        if token.user_id == user_id and token.record["id"] == token_id:
            del records.tokens[secret]
            return Reply({"id": token_id})
    raise Problem(404, "Token not found")


def _child(records: Records, call: Call, user_id: str) -> Record:
    if user_id not in records.users:
        raise Problem(404, "User not found")
    if call.account is not None:
        raise Problem(403, "The user is not a child of this account")
    return records.users[user_id]


def _changes(records: Records, body: Record) -> tuple[Record, str | None]:
    changes = checked(body, texts=TEXTS, objects=("meta", "limits"))
    fit(records, changes, ("name", "email"))
    if too_long(records, changes.get("image")):
        # On the platform, only the database checks it.
        raise Problem(500, "Something went wrong")
    if changes.get("email") == "":
        changes["email"] = None
    return changes, changes.pop("alias", None)


def _alias(records: Records, user_id: str, alias: str | None) -> None:
    records.aliases.pop(user_id, None)
    if alias:
        records.aliases[user_id] = alias


def _refuse_taken_email(records: Records, email: str | None, user_id: str) -> None:
    if email is not None and any(user.get("email") == email and key != user_id for key, user in records.users.items()):
        raise Problem(409, "A user with this email exists")


def _grant(records: Records, user_id: str, record: Record, expires_at: int | None, config: Record) -> str:
    contact_id = checked(config, texts=("contactId",), unchecked=("allowedRoutes",)).get("contactId")
    routes = config.get("allowedRoutes")
    if routes is not None and (not isinstance(routes, list) or not all(isinstance(route, str) for route in routes)):
        raise Problem(400, '"allowedRoutes" must be an array of strings')
    secret = ("sk-" if expires_at is None else "") + secrets.token_hex(32)
    opened = None if routes is None else tuple(routes)
    records.tokens[secret] = Token(user_id, record, expires_at, opened, contact_id)
    return secret
