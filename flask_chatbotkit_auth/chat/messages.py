"""The messages that a browser sends: what is taken of them, and what is refused."""

from __future__ import annotations

import json
from typing import Any

from .answers import InvalidMessages

MAX_MESSAGES = 200
"""The most messages that one conversation may bring along."""

MAX_BYTES = 256 * 1024
"""The most bytes that all of its messages may have, as JSON."""

_TYPES = frozenset(("user", "bot", "reasoning", "context", "activity", "checkpoint"))
_RULES = frozenset(("backstory", "instruction"))


def checked(messages: Any) -> list[dict[str, Any]]:
    """Return the messages of a conversation, with nothing in them but what the API knows.

    :raises InvalidMessages: they are none.
    """
    if isinstance(messages, dict):
        messages = messages.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidMessages('Send the conversation as "messages": a list with at least one message.')
    if len(messages) > MAX_MESSAGES:
        raise InvalidMessages(f"This conversation is too long: it may have {MAX_MESSAGES} messages. Begin a new one.")
    found = [_checked(message) for message in messages]
    if len(json.dumps(found)) > MAX_BYTES:
        raise InvalidMessages(f"This conversation is too long: it may have {MAX_BYTES // 1024} KB. Begin a new one.")
    return found


def newest(messages: Any) -> str:
    """Return what the person says now: the text of the last message. The ones before it are in the API already.

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
    # Nothing else that the front end keeps with a message, such as when it was written, is the API's to know.
    return {"type": type, "text": text, **({"meta": meta} if isinstance(meta, dict) else {})}
