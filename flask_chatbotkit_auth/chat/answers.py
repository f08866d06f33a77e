"""What a browser is told where a chat cannot go on."""

from __future__ import annotations

from flask import Response, jsonify, make_response
from werkzeug.exceptions import BadRequest, NotFound

from ..exceptions import APIError, APIStatusError, ChatBotKitAuthError, LimitsReached, TooManyRequests

_BUSY = "The chat is busy. Wait a moment, then try again."
_USED_UP = "The chat has used up what its plan allows. Ask the people who run this site."
_AWAY = "The chat cannot be reached just now. Try again in a moment."
_REFUSED = "The chat is not set up right. Tell the people who run this site."
_UNKNOWN = "This conversation does not exist any more. Begin a new one."
BROKEN_OFF = "The answer broke off. Try again in a moment."


class InvalidMessages(ChatBotKitAuthError, BadRequest, ValueError):
    """What a browser sent is no conversation; the text says why.

    A view that does not catch it answers 400, with ``invalid_messages`` in the form of :func:`stream_completion`'s errors.
    """

    error_code = "invalid_messages"
    http_status = 400

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.response: Response = problem(400, self.error_code, sentence)


class UnknownConversation(ChatBotKitAuthError, NotFound, LookupError):
    """There is no such conversation, or it is somebody else's; which of the two is not told.

    A view that does not catch it answers 404, with ``unknown_conversation`` in the form of :func:`stream_completion`'s
    errors.
    """

    error_code = "unknown_conversation"
    http_status = 404

    def __init__(self) -> None:
        super().__init__(_UNKNOWN)
        self.response: Response = problem(404, self.error_code, _UNKNOWN)


def refusal(error: APIError) -> Response:
    """Return the answer about a completion that failed before it had begun."""
    if isinstance(error, LimitsReached):
        return problem(429, "limits_reached", _USED_UP)
    if isinstance(error, TooManyRequests):
        response = problem(429, "rate_limited", _BUSY)
        if error.retry_after is not None:
            response.headers["Retry-After"] = str(-int(-error.retry_after // 1))
        return response
    if isinstance(error, APIStatusError) and error.status in (400, 409, 422):
        # An option that the API does not know, or a contact that is gone: its own words are in the log.
        return problem(503, "chat_refused", _REFUSED)
    return problem(503, error.error_code, _AWAY)


def problem(status: int, code: str, sentence: str) -> Response:
    """Return JSON about an error, for our own clients and for the hook of ``@chatbotkit/react`` alike."""
    # Twice: as every error of ours, and as the API's own, which is where the hook looks.
    response = make_response(jsonify(error={"code": code, "message": sentence}, code=code, message=sentence), status)
    response.headers["Cache-Control"] = "no-store"
    return response
