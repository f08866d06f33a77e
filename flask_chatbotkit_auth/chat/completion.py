"""``stream_completion``: a completion of ChatBotKit, streamed as an answer of the application."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any

from flask import Response, has_request_context, stream_with_context

from ..exceptions import APIError
from ..user import User
from .answers import BROKEN_OFF, refusal
from .conversations import BOT, Place, check_options
from .messages import checked, newest

_log = logging.getLogger("flask_chatbotkit_auth")

_EACH_TURN = ("functions", "extensions", "limits", "debug")
_COMPLETE = (*BOT, *_EACH_TURN, "attachments", "namespace")
_CONTINUE = (*_EACH_TURN, "entities")


def stream_completion(
    user: User | str,
    messages: Any,
    *,
    conversation: str | None = None,
    on_finish: Callable[[dict[str, Any]], object] | None = None,
    run_as: str | None = None,
    **options: Any,
) -> Response:
    """Return an answer that streams the next message of ChatBotKit, as the ``useConversationManager({endpoint})`` hook of
    ``@chatbotkit/react`` expects it.

    ::

        @app.post("/chat")
        @login_required
        def chat():
            return stream_completion(current_user, request.get_json(), backstory="You are …")

    The conversation of a sub-account runs as the sub-account, with its bots and its limits. That of a contact runs in the
    account, with the contact's id. The body is ``application/jsonl``: the API's events, unchanged, one ``{"type": …,
    "data": …}`` on each line, sent as they arrive. When the browser closes the connection, the connection to the API is
    closed.

    The messages come from the browser, which can write anything into them, even answers of the bot. So the bot **must** be
    defined here, in ``options``. Messages of the types ``backstory`` and ``instruction``, which define it as well, are
    refused. The view is yours: protect it with ``@login_required`` and against CSRF.

    :param user: the owner of the conversation: the user or its id.
    :param messages: the conversation so far, or the JSON object of the request that holds it as ``"messages"``, just as it
        came from the browser: a list of 1 to 200 ``{"type": "user" or "bot", "text": …}``, 256 KB at most as JSON. Of the
        API's other types ``reasoning``, ``context``, ``activity`` and ``checkpoint`` may be among them, and each may have
        a ``meta`` object.
    :param conversation: the id of a conversation that ChatBotKit keeps (:func:`create_conversation`). Of ``messages`` only
        the last one is sent, since the others are kept already. The user must be its owner.
    :param on_finish: called with the result once the answer is complete, before its last line is sent: ``{"text", "usage":
        {"token": …}, "end": {"reason": …}}``, and with ``"id"`` in a kept conversation. It is not called if the answer
        breaks off or the browser closes the connection. An exception is logged.
    :param run_as: the id of another sub-account that the completion runs as, such as a workspace that several people share.
        Check that the user belongs there: there is no other check.
    :param options: further fields of the API's ``/conversation/complete``: ``botId``, or ``model``, ``backstory``,
        ``datasetId``, ``skillsetId``, ``privacy`` and ``moderation``; and ``functions``, ``extensions``, ``limits``,
        ``attachments``. The bot of a kept conversation is defined when the conversation is created.
    :raises InvalidMessages: ``messages`` is anything else. It is a ``ValueError``, and answers 400 if it is not caught.
    :raises UnknownConversation: there is no such conversation, or it is not the user's. It answers 404 if it is not caught.
    :raises TypeError: an option is none of these, or is ``contactId``, which follows from ``user``.

    If the API fails before it has sent anything, the answer is ``{"error": {"code", "message"}, "code", "message"}``:
    with 429 and ``rate_limited`` or ``limits_reached``, with 503 and ``upstream_unavailable``, or with 503 and
    ``chat_refused`` if trying again would not help, as for an option that the API does not know. If it fails later, the
    stream ends in a line ``{"type": "error", "data": {"message": …}}``.
    """
    if "contactId" in options:
        raise TypeError("stream_completion takes the contactId from the user, not as an option")
    if conversation is not None and (late := sorted(options.keys() & set(BOT))):
        raise TypeError(f"{late[0]!r} is said once: pass it to create_conversation")
    check_options("stream_completion", options, _COMPLETE if conversation is None else _CONTINUE)
    body = {**options, **({"messages": checked(messages)} if conversation is None else {"text": newest(messages)})}
    place = Place(user, run_as)
    if place.contact and not place.shared and conversation is None:
        body["contactId"] = place.user_id
    try:
        path = "/conversation" if conversation is None else place.find(conversation)
        events = place.client.stream(f"{path}/complete", body)
        first = next(events, None)
        if first is None:
            raise APIError("the ChatBotKit API ended a completion without a word")
    except APIError as error:
        return refusal(error)
    lines: Iterator[bytes] = _lines(first, events, on_finish)
    if on_finish is not None and has_request_context():
        lines = stream_with_context(lines)
    response = Response(lines, mimetype="application/jsonl")
    # Started here: a generator that was never started would not close the connection if the browser leaves first.
    response.call_on_close(events.close)
    response.headers["Cache-Control"] = "no-store"
    # Without this header, nginx would buffer the tokens and send them at the end.
    response.headers["X-Accel-Buffering"] = "no"
    return response


def _lines(
    first: dict[str, Any],
    events: Generator[dict[str, Any], None, None],
    on_finish: Callable[[dict[str, Any]], object] | None,
) -> Generator[bytes, None, None]:
    finish = on_finish
    try:
        for event in _chained(first, events):
            if finish is not None and event.get("type") == "result":
                # Before the last line, since a browser that has read it may ask for what the callback has stored.
                _tell(finish, event.get("data"))
                finish = None
            yield _line(event)
    except APIError as error:
        _log.error("a completion broke off: %s", error)
        yield _line({"type": "error", "data": {"message": BROKEN_OFF}})


def _chained(
    first: dict[str, Any], events: Generator[dict[str, Any], None, None]
) -> Generator[dict[str, Any], None, None]:
    yield first
    yield from events


def _tell(on_finish: Callable[[dict[str, Any]], object], result: object) -> None:
    try:
        on_finish(result if isinstance(result, dict) else {})
    except Exception:  # noqa: BLE001  # the application's own code, after the answer has begun
        _log.exception("on_finish failed")


def _line(event: dict[str, Any]) -> bytes:
    # In ASCII, so that a reader that decodes each chunk on its own never gets half a character.
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"
