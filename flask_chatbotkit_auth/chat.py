"""Chat: a completion of ChatBotKit as a streamed answer of the application, on the signed-in person's behalf."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator
from typing import Any

from flask import Response, jsonify, make_response
from werkzeug.exceptions import BadRequest

from .exceptions import APIError, APIStatusError, ChatBotKitAuthError, LimitsReached, TooManyRequests
from .state import current_auth
from .user import User

_log = logging.getLogger("flask_chatbotkit_auth")

MAX_MESSAGES = 200
"""The most messages that one conversation may bring along."""

MAX_BYTES = 256 * 1024
"""The most bytes that all of its messages may have, as JSON."""

_TYPES = frozenset(("user", "bot", "reasoning", "context", "activity", "checkpoint"))
_RULES = frozenset(("backstory", "instruction"))

_BUSY = "The chat is busy. Wait a moment, then try again."
_USED_UP = "The chat has used up what its plan allows. Ask the people who run this site."
_AWAY = "The chat cannot be reached just now. Try again in a moment."
_REFUSED = "The chat is not set up right. Tell the people who run this site."
_BROKEN_OFF = "The answer broke off. Try again in a moment."


class InvalidMessages(ChatBotKitAuthError, BadRequest, ValueError):
    """What a browser sent is no conversation; the text says why.

    A view that does not catch it answers 400, with ``invalid_messages`` in the form of :func:`stream_completion`'s errors.
    """

    error_code = "invalid_messages"
    http_status = 400

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.response: Response = _problem(400, self.error_code, sentence)


def stream_completion(user: User | str, messages: Any, **options: Any) -> Response:
    """Return an answer that streams what ChatBotKit says next, as the ``useConversationManager({endpoint})`` hook of
    ``@chatbotkit/react`` expects it.

    ::

        @app.post("/chat")
        @login_required
        def chat():
            return stream_completion(current_user, request.get_json(), backstory="You are …")

    A sub-account's conversation runs as the sub-account, with its bots and on its limits; a contact's is on the account,
    under the contact's id. The body is ``application/jsonl``: the API's events unchanged, one ``{"type": …, "data": …}``
    to a line, each sent as it arrives. When the browser hangs up, the connection to the API is closed.

    The messages come from the browser, which can write into them what it likes, answers of the bot included. So what the
    bot *is* must be said here, in ``options``; messages of the types ``backstory`` and ``instruction``, which set the
    rules as well, are refused. The view is the application's own: guard it with ``@login_required`` and against CSRF.

    :param user: whom the conversation belongs to: the user or its id.
    :param messages: the conversation so far, or the JSON object of the request that holds it as ``"messages"``, just as it
        came from the browser: a list of 1 to 200 ``{"type": "user" or "bot", "text": …}``, 256 KB at most as JSON. Of the
        API's other types ``reasoning``, ``context``, ``activity`` and ``checkpoint`` may be among them, and each may have
        a ``meta`` object.
    :param options: further fields of the API's ``/conversation/complete``, such as ``botId``, or ``model`` and
        ``backstory``.
    :raises InvalidMessages: ``messages`` is anything else. It is a ``ValueError``, and answers 400 where it is not caught.
    :raises TypeError: ``options`` names a ``contactId``; whose conversation it is, the user says.

    Where the API fails before it has said anything, the answer is ``{"error": {"code", "message"}, "code", "message"}``:
    with 429 and ``rate_limited`` or ``limits_reached``, with 503 and ``upstream_unavailable``, or with 503 and
    ``chat_refused`` where trying again would not help, as for an option that the API does not know. Where it fails later, the
    stream ends in a line ``{"type": "error", "data": {"message": …}}``.
    """
    if "contactId" in options:
        raise TypeError("stream_completion takes the contactId from the user, not as an option")
    body = {**options, "messages": _checked(messages)}
    if current_auth.kind == "contact":
        body["contactId"] = user if isinstance(user, str) else user.get_id()
    try:
        events = current_auth.client_for(user).stream("/conversation/complete", body)
        first = next(events, None)
        if first is None:
            raise APIError("the ChatBotKit API ended a completion without a word")
    except APIError as error:
        _log.error("no completion: %s", error)
        return _refusal(error)
    response = Response(_lines(first, events), mimetype="application/jsonl")
    # A generator that was never started would not close what it holds, as when the browser is gone before the first line.
    response.call_on_close(events.close)
    response.headers["Cache-Control"] = "no-store"
    # nginx would gather the tokens and hand them over at the end.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _checked(messages: Any) -> list[dict[str, Any]]:
    if isinstance(messages, dict):
        messages = messages.get("messages")
    if not isinstance(messages, list) or not messages:
        raise InvalidMessages('Send the conversation as "messages": a list with at least one message.')
    if len(messages) > MAX_MESSAGES:
        raise InvalidMessages(f"This conversation is too long: it may have {MAX_MESSAGES} messages. Begin a new one.")
    checked = [_checked_message(message) for message in messages]
    if len(json.dumps(checked)) > MAX_BYTES:
        raise InvalidMessages(f"This conversation is too long: it may have {MAX_BYTES // 1024} KB. Begin a new one.")
    return checked


def _checked_message(message: Any) -> dict[str, Any]:
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


def _lines(first: dict[str, Any], events: Generator[dict[str, Any], None, None]) -> Generator[bytes, None, None]:
    yield _line(first)
    try:
        for event in events:
            yield _line(event)
    except APIError as error:
        _log.error("a completion broke off: %s", error)
        yield _line({"type": "error", "data": {"message": _BROKEN_OFF}})


def _line(event: dict[str, Any]) -> bytes:
    # In ASCII, so that a reader that decodes each piece by itself never meets half a character.
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _refusal(error: APIError) -> Response:
    if isinstance(error, LimitsReached):
        return _problem(429, "limits_reached", _USED_UP)
    if isinstance(error, TooManyRequests):
        response = _problem(429, "rate_limited", _BUSY)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(-int(-error.retry_after // 1))
        return response
    if isinstance(error, APIStatusError) and error.status in (400, 409, 422):
        # An option that the API does not know, or a contact that is gone: its own words are in the log.
        return _problem(503, "chat_refused", _REFUSED)
    return _problem(503, error.error_code, _AWAY)


def _problem(status: int, code: str, sentence: str) -> Response:
    # Twice: as every error of ours, and as the API's own, which is where the hook looks.
    response = make_response(jsonify(error={"code": code, "message": sentence}, code=code, message=sentence), status)
    response.headers["Cache-Control"] = "no-store"
    return response
