"""The looks at the ChatBotKit API: whether the secret works and has the rights that the adapter needs, and its clock."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import requests

from ...exceptions import (
    APIError,
    APIStatusError,
    ConfigurationError,
    Conflict,
    NotAuthenticated,
    NotAuthorized,
    TooManyRequests,
)
from ...state import current_auth
from ...upstream.client import ChatBotKitClient
from ...upstream.urls import path_segment
from .findings import Look
from .skews import told

_OWN_ADAPTER = "the application brings an adapter of its own"


def api() -> Look:
    """Check the rights that sign-in needs: read a list, filter it, and ask for an account that cannot be created."""
    client = current_auth.optional_client
    if client is None:
        return "ok", f"not used: {_OWN_ADAPTER}"
    kinds, path = ("sub-accounts", "/user") if current_auth.kind == "partner" else ("contacts", "/contact")
    try:
        answer = client.get(f"{path}/list", {"take": 1})
        ignored = _ignores_the_filter(client, path)
        allowed = _may_create(client, path, _first(answer))
    except ConfigurationError as error:
        return "failure", str(error)
    except NotAuthenticated:
        return "failure", f"{client.url} refuses CHATBOTKIT_API_SECRET. Copy it from the ChatBotKit dashboard again."
    except NotAuthorized:
        return "failure", f"CHATBOTKIT_API_SECRET may not list {kinds}. Use a secret of the top-level account."
    except TooManyRequests as error:
        return "failure", f"{error}. The API throttles this account: call it less often, or wait."
    except APIStatusError as error:
        cure = ". Wait, and look at the status page of ChatBotKit." if error.status >= 500 else ""
        return "failure", f"{error}{cure}"
    except APIError as error:
        cure = (
            ""
            if "CHATBOTKIT_API_URL" in str(error)
            else ". Check CHATBOTKIT_API_URL and that this machine may reach it."
        )
        return "failure", f"{error}{cure}"
    if not allowed:
        return "failure", (
            f"CHATBOTKIT_API_SECRET may not create {kinds}: it is a sub-account's. Use a secret of the top-level account, or "
            'set CHATBOTKIT_AUTH_ADAPTER to "contact".'
            if path == "/user"
            else "CHATBOTKIT_API_SECRET may not create contacts. Use a secret of the account itself."
        )
    if ignored:
        return "warning", (
            f"{client.url} ignores the filter by email: each sign-in reads the list of all {kinds} page by page, which is "
            "slow, and its time tells who has an account. Update that deployment."
        )
    return "ok", f"{client.url} answers and takes the secret"


def clock() -> Look:
    """Compare this machine's clock with the API's, to one second."""
    client = current_auth.optional_client
    if client is None:
        return "ok", f"not compared: {_OWN_ADAPTER}"
    before = datetime.now(UTC)  # the machine's, and no other
    try:
        with requests.Session() as session:
            # .netrc is not read. A proxy from the environment is used, as the client does.
            session.auth = _no_credentials
            timeout = current_auth.config.api_timeout
            with session.get(client.url, timeout=timeout, allow_redirects=False, stream=True) as response:
                theirs = _date(response.headers.get("Date"))
    except requests.RequestException:
        return "warning", "not compared: the API cannot be reached"
    if theirs is None:
        return "warning", "not compared: the API does not say what time it is"
    # The header names whole seconds, and was written between the two moments.
    ahead = max(before - theirs - timedelta(seconds=1), timedelta(0))
    behind = max(theirs - datetime.now(UTC), timedelta(0))
    return told(ahead - behind, "the API")


def _first(answer: Mapping[str, Any]) -> str | None:
    """Return the address of the first item of a list, or ``None``."""
    items = answer.get("items")
    first = items[0] if isinstance(items, list) and items and isinstance(items[0], dict) else {}
    email = first.get("email")
    return email if isinstance(email, str) and email else None


def _ignores_the_filter(client: ChatBotKitClient, path: str) -> bool:
    nobody = f"doctor-{secrets.token_hex(16)}@example.invalid"
    query = {"email" if path == "/user" else "meta.email": nobody, "take": 1}
    return bool(client.get(f"{path}/list", query).get("items"))


def _may_create(client: ChatBotKitClient, path: str, taken: str | None) -> bool:
    """Return whether the secret can create accounts.

    It asks for one with a taken address or an unknown field, which is refused.
    """
    # Several contacts can have one address: for contacts, only the unknown field is sure to be refused.
    body = {"email": taken} if taken and path == "/user" else {"doctor": "this field does not exist"}
    try:
        made = client.post(f"{path}/create", body)
    except NotAuthorized:
        return False
    except Conflict:
        return True
    except APIStatusError as error:
        if error.status == 400:
            return True
        raise
    # The account with that address was deleted meanwhile, or the deployment accepts any field: delete what was made.
    if isinstance(id := made.get("id"), str):
        client.post(f"{path}/{path_segment(id)}/delete")
    return True


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _date(header: str | None) -> datetime | None:
    try:
        date = parsedate_to_datetime(header or "")
    except ValueError:
        return None
    return date if date.tzinfo is not None else None
