"""The messages that a browser sends: which parts are used, and which are refused."""

from __future__ import annotations

import json
from typing import Any

from .answers import InvalidMessages

MAX_MESSAGES = 200
"""The most messages in one request."""

MAX_BYTES = 256 * 1024
"""The most bytes of all messages in a request, as JSON."""

_TYPES = frozenset(("user", "bot", "reasoning", "context", "activity", "checkpoint"))
_RULES = frozenset(("backstory", "instruction"))


def checked(messages: Any) -> list[dict[str, Any]]:
    """Return the messages of a conversation, with only the fields that the API knows.

    :raises InvalidMessages: they are not messages.
    """
    if isinstance(messages, dict):
        messages = messages.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidMessages('Send the conversation as "messages": a list with at least one message.')
    if len(messages) > MAX_MESSAGES:
        raise InvalidMessages(f"This conversation is too long: it may have {MAX_MESSAGES} messages. Begin a new one.")
    found = [_checked(message) for message in messages]
    try:
        size = len(json.dumps(found, allow_nan=False))
    except ValueError:
        raise InvalidMessages("A number in these messages cannot be written as JSON.") from None
    if size > MAX_BYTES:
        raise InvalidMessages(f"This conversation is too long: it may have {MAX_BYTES // 1024} KB. Begin a new one.")
    return found


def newest(messages: Any) -> str:
    """Return the text of the last message, which is new. The API already has the ones before it.

    :raises InvalidMessages: there is no such message.
    """
    if isinstance(messages, dict):
        messages = messages.get("messages")
    if isinstance(messages, list):
        messages = messages[-1:]
    (last,) = checked(messages)
    if last["type"] != "user" or not last["text"].strip():
        raise InvalidMessages('The last message must be of the type "user" and have a text.')
    return str(last["text"])


def _checked(message: Any) -> dict[str, Any]:
    type, text = (message.get("type"), message.get("text")) if isinstance(message, dict) else (None, None)
    if not isinstance(type, str) or not isinstance(text, str):
        raise InvalidMessages('Each message is an object with a "type" and a "text", both texts.')
    if type in _RULES:
        raise InvalidMessages(f'A message of the type "{type}" is for the server alone to say.')
    if type not in _TYPES:
        raise InvalidMessages(f'"{type[:40]}" is no type of message: use "user" or "bot".')
    meta = message.get("meta")
    if type == "activity" and not (isinstance(meta, dict) and meta):
        raise InvalidMessages('A message of the type "activity" needs a "meta" object that says what happened.')
    # Other fields of the front end, such as the time of a message, are not sent to the API.
    return {"type": type, "text": text, **({"meta": meta} if isinstance(meta, dict) else {})}
