"""The stand-in's chat: a friendly answer to whatever is said, whole or token by token."""

from __future__ import annotations

import re
from typing import Any

from .contacts import ensured
from .records import Call, Problem, Record, Records, Reply, apply, checked, new_id, page

MESSAGE_TYPES = frozenset(("user", "bot", "reasoning", "context", "instruction", "backstory", "activity", "checkpoint"))
MODEL = "sandbox"

_TOKEN = re.compile(r"\s*\S+|\s+$")


def create_conversation(records: Records, call: Call) -> Reply:
    texts = ("name", "description", "taskId", "spaceId", "botId", "model", "backstory", "datasetId", "skillsetId")
    settings = checked(call.body, texts=texts, objects=("meta",), flags=("privacy", "moderation"))
    contact_id = _contact_id(records, call)
    messages = _messages(call.body.get("messages", []))
    conversation = records.stamp()
    apply(conversation, {**settings, "contactId": contact_id})
    records.conversations[conversation["id"]] = conversation
    records.messages[conversation["id"]] = messages
    records.own(conversation, call.account)
    return Reply({"id": conversation["id"], "messages": messages})


def list_contact_conversations(records: Records, call: Call, contact_id: str) -> Reply:
    records.one(records.contacts, contact_id, call.account, "Contact")
    mine = records.owned(records.conversations, call.account)
    return page((conversation for conversation in mine if conversation.get("contactId") == contact_id), call)


def complete(records: Records, call: Call) -> Reply:
    messages = _messages(call.body.get("messages"))
    _contact_id(records, call)
    return _reply(messages, {})


def complete_conversation(records: Records, call: Call, conversation_id: str) -> Reply:
    records.one(records.conversations, conversation_id, call.account, "Conversation")
    text = checked(call.body, texts=("text",)).get("text")
    messages = records.messages.setdefault(conversation_id, [])
    if text is not None:
        messages.append({"type": "user", "text": text})
    reply = _reply(messages, {"id": new_id()})
    messages.append({"type": "bot", "text": reply.document["text"]})
    return reply


def _contact_id(records: Records, call: Call) -> str | None:
    given = call.body.get("contactId") or call.contact_id
    if isinstance(given, dict):
        return str(ensured(records, call, given)["id"])
    if given is None:
        return None
    if not isinstance(given, str):
        raise Problem(400, "contactId must be an id or a contact")
    records.one(records.contacts, given, call.account, "Contact")
    return given


def _messages(given: Any) -> list[Record]:
    if not isinstance(given, list) or not all(_is_message(message) for message in given):
        raise Problem(400, "messages must be a list of {type, text}")
    return [{"type": message["type"], "text": message["text"]} for message in given]


def _is_message(message: Any) -> bool:
    if not isinstance(message, dict) or not isinstance(message.get("text"), str):
        return False
    return isinstance(message.get("type"), str) and message["type"] in MESSAGE_TYPES


def _reply(messages: list[Record], identity: Record) -> Reply:
    said = next((message["text"] for message in reversed(messages) if message["type"] == "user"), None)
    count = "1 message" if len(messages) == 1 else f"{len(messages)} messages"
    text = f"Nice to hear from you! You said: {said}" if said is not None else "Hello! What is on your mind?"
    text = f"{text} (I have seen {count}.)"
    tokens = _TOKEN.findall(text)
    heard = sum(len(_TOKEN.findall(message["text"])) for message in messages)
    usage = {"model": MODEL, "inputTokensUsed": heard, "outputTokensUsed": len(tokens)}
    result = {**identity, "text": text, "usage": {"token": heard + len(tokens)}, "end": {"reason": "stop"}}
    events = [
        *({"type": "token", "data": {"token": token}} for token in tokens),
        {"type": "message", "data": {"type": "bot", "text": text}},
        {"type": "usage", "data": usage},
        {"type": "result", "data": result},
    ]
    return Reply(result, events, paced=True)
