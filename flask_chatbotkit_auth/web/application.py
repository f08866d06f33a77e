"""The answer if a call of the ChatBotKit API fails in a view of the application that does not catch the error."""

from __future__ import annotations

import logging

from flask import jsonify, make_response, request, url_for
from werkzeug.wrappers import Response

from ..exceptions import APIError, APIStatusError, LimitsReached, TooManyRequests
from ..failures import report
from ..languages import gettext as _
from .errors import message_page
from .flash import Flash
from .forms import wants_json

_log = logging.getLogger("flask_chatbotkit_auth")


def api_problem(error: APIError) -> Response:
    """Answer with JSON or a page: 404 for what does not exist or belongs to somebody else, 429 for a limit, 503 otherwise.

    A 503 is logged as a failure, with the API's own text. For another answer, catch :exc:`~flask_chatbotkit_auth.APIError`
    in your view, or register your own error handler for it.
    """
    status, code, sentence = _explained(error)
    retry_after = error.retry_after if isinstance(error, TooManyRequests) else None
    if status == 503:
        report(error)
    else:
        # The rule, not the path, into which a client can write anything.
        _log.warning("%s answers %d: %s", request.url_rule, status, error)
    if wants_json():
        response: Response = make_response(jsonify(error={"code": code, "message": sentence}), status)
    else:
        response = message_page(_page(status, code, sentence))
    if retry_after is not None:
        response.headers["Retry-After"] = str(-int(-retry_after // 1))
    response.headers["Cache-Control"] = "no-store"
    return response


def _explained(error: APIError) -> tuple[int, str, str]:
    if isinstance(error, APIStatusError) and error.code in ("NOT_FOUND", "NOT_AUTHORIZED"):
        # The answer does not say which of the two. A 404 of a gateway has no code of the platform, and is an outage.
        return 404, "not_found", _("There's nothing here. It may have been deleted.")
    if isinstance(error, TooManyRequests):
        return 429, "rate_limited", _("That was too much at once. Wait a minute, then try again.")
    if isinstance(error, LimitsReached):
        return 429, "limits_reached", _("Your plan's limit is used up. Contact the people who run this site.")
    if isinstance(error, APIStatusError) and error.status in (400, 409, 422):
        sentence = _("This was refused, and trying again won't help. Contact the people who run this site.")
        return 503, error.error_code, sentence
    return 503, error.error_code, _("We can't reach our servers right now. Try again in a moment.")


def _page(status: int, code: str, sentence: str) -> Flash:
    # Without the current user: loading it may be what has failed.
    url, label = url_for("chatbotkit_auth.account"), _("Back to your account")
    if request.method == "GET" and status != 404:
        url, label = f"{request.script_root}/{request.full_path.strip('/?')}", _("Try again")
    title = _("Not found") if status == 404 else ""
    return Flash(status, sentence, code, title=title, action_url=url, action_label=label)
