"""The operations on conversations. Every message gets the same kind of answer, whole or token by token."""

from __future__ import annotations

import re
from typing import Any

from .calls import Call, Problem, Record, Reply
from .contacts import ensured
from .fields import apply, checked
from .records import Records, forget, new_id, page

BOT_TEXTS = ("botId", "model", "backstory", "datasetId", "skillsetId")
FLAGS = ("privacy", "moderation")
CREATION = ("contactId", "contact", "expiresAt", "messages")
LINKS = ("botId", "contactId", "taskId")
COMPLETION = ("attachments", "contactId", "functions", "extensions", "limits", "messages", "namespace", "debug")
CONTINUATION = ("text", "entities", "functions", "extensions", "limits", "debug")
MESSAGE_TYPES = frozenset(("user", "bot", "reasoning", "context", "instruction", "backstory", "activity", "checkpoint"))
MODEL = "sandbox"

_TOKEN = re.compile(r"\s*\S+|\s+$")


def create_conversation(records: Records, call: Call) -> Reply:
    texts = ("name", "description", "taskId", "spaceId", *BOT_TEXTS)
    settings = checked(call.body, texts=texts, objects=("meta",), flags=FLAGS, unchecked=CREATION)
    contact_id = _contact_id(records, call)
    _require_bot(records, call, 400)
    messages = _messages(records, call.body.get("messages", []))
    records.spend(call.account, "conversations")
    conversation = records.stamp()
    apply(records, conversation, {**settings, "contactId": contact_id})
    records.conversations[conversation["id"]] = conversation
    records.messages[conversation["id"]] = messages
    records.own(conversation, call.account)
    return Reply({"id": conversation["id"], "messages": messages})


def list_conversations(records: Records, call: Call) -> Reply:
    wanted = {name: call.listing.query[name] for name in LINKS if name in call.listing.query}
    own = records.owned(records.conversations, call.account)
    return page((each for each in own if all(each.get(name) == value for name, value in wanted.items())), call)


def fetch_conversation(records: Records, call: Call, conversation_id: str) -> Reply:
    return Reply(records.one(records.conversations, conversation_id, call.account, "Conversation"))


def delete_conversation(records: Records, call: Call, conversation_id: str) -> Reply:
    records.one(records.conversations, conversation_id, call.account, "Conversation")
    forget(records, conversation_id)
    return Reply({"id": conversation_id})


def list_messages(records: Records, call: Call, conversation_id: str) -> Reply:
    records.one(records.conversations, conversation_id, call.account, "Conversation")
    return page(records.messages.get(conversation_id, []), call, order="asc")


def list_contact_conversations(records: Records, call: Call, contact_id: str) -> Reply:
    records.one(records.contacts, contact_id, call.account, "Contact")
    own = records.owned(records.conversations, call.account)
    return page((conversation for conversation in own if conversation.get("contactId") == contact_id), call)


def complete(records: Records, call: Call) -> Reply:
    checked(call.body, texts=BOT_TEXTS, flags=FLAGS, unchecked=COMPLETION)
    messages = _messages(records, call.body.get("messages"))
    if not messages:
        raise Problem(400, '"messages" must contain at least 1 items')
    _contact_id(records, call)
    _require_bot(records, call, 403)
    records.spend(call.account, "messages")
    return _counted(records, call, _reply(messages, {}))


def complete_conversation(records: Records, call: Call, conversation_id: str) -> Reply:
    records.one(records.conversations, conversation_id, call.account, "Conversation")
    checked(call.body, unchecked=CONTINUATION)
    text = call.body.get("text")
    if "text" in call.body and not (isinstance(text, str) and text.strip()):
        raise Problem(400, '"text" is not allowed to be empty')
    records.spend(call.account, "messages")
    messages = records.messages.setdefault(conversation_id, [])
    if text is not None:
        messages.append({**records.stamp(), "type": "user", "text": text.strip()})
    reply = _reply(messages, {"id": new_id()})
    messages.append({**records.stamp(), "id": reply.document["id"], "type": "bot", "text": reply.document["text"]})
    return _counted(records, call, reply)


def _counted(records: Records, call: Call, reply: Reply) -> Reply:
    records.spend(call.account, "tokens", reply.document["usage"]["token"])
    return reply


def _contact_id(records: Records, call: Call) -> str | None:
    contact = call.body.get("contact") or call.body.get("contactId") or call.contact_id
    if isinstance(contact, dict):
        return str(ensured(records, call, contact)["id"])
    if contact is None:
        return None
    if not isinstance(contact, str):
        raise Problem(400, '"contactId" must be one of [string, object]')
    if contact not in records.contacts or records.owners.get(contact) != call.account:
        raise Problem(400, '"contactId" is not a contact of this account')
    return contact


def _require_bot(records: Records, call: Call, status: int) -> None:
    """Raise if the bot belongs to another account and is private. An id that the sandbox does not know is accepted.

    :param status: a saved conversation checks the bot with the other fields, a completion later.
    """
    bot = records.bots.get(call.body.get("botId") or "")
    if bot is None or records.owners.get(bot["id"]) == call.account:
        return
    if bot.get("visibility") not in ("protected", "public"):
        raise Problem(status, "You are not authorized to use this bot")


def _messages(records: Records, sent: Any) -> list[Record]:
    if not isinstance(sent, list) or not all(isinstance(message, dict) for message in sent):
        raise Problem(400, '"messages" must be an array of {type, text}')
    return [{**records.stamp(), **_message(message)} for message in sent]


def _message(message: Record) -> Record:
    # Front ends keep some of these beside a message. The platform accepts and ignores them.
    beside = ("id", "createdAt", "name", "description")
    fields = checked(message, texts=("type", "text"), objects=("meta",), unchecked=beside)
    type, text = fields.get("type"), fields.get("text")
    if not isinstance(text, str) or type not in MESSAGE_TYPES:
        raise Problem(400, '"messages" must be an array of {type, text}')
    if type == "activity" and not fields.get("meta"):
        raise Problem(400, '"meta" is required')
    return {key: value for key, value in fields.items() if value is not None}


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
