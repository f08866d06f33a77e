"""What happens before and after each request of an application: one function each, since Flask has work with every one."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import urlsplit

from flask import Flask, Request, Response, session, url_for
from flask_login import login_fresh
from werkzeug.routing import BuildError

from .. import failures, skew
from ..exceptions import StoreError
from ..login import complete_cookie, current_session, follow_manager, follow_session_cookie, renew_cookie, was_read
from ..proxies import this_request
from ..state import current_state
from .blueprint import blueprint
from .origin import take_over

REFUSED = "chatbotkit_auth_refused"
"""The key of the Flask session that marks a signed-in person whom a page of the application has sent to the sign-in."""


def surround(app: Flask) -> None:
    """Register both functions for ``app``, which has a ``LoginManager`` and our pages already."""
    follow = follow_session_cookie(app)
    started = False

    def before() -> None:
        nonlocal started
        request = this_request()
        failures.begin(request)
        if not started:
            # Again at the first request, since an application may set its session cookie and its manager after init_app.
            follow()
            manager = follow_manager(app)
            if manager is not None and current_state().config.app_sessions:
                from .bearer import answer_apps  # only where they are on

                answer_apps(manager)
            started = True
        renew_cookie(app, request, current_state)
        take_over(app, blueprint)  # where CSRFProtect comes later

    def after(response: Response) -> Response:
        if not was_read():
            skew.look(app, this_request())
        complete_cookie(app, response)
        if response.status_code in (301, 302, 303):
            _notice_refusal(this_request(), response)
        return response

    # First of all: an application may read the current user in a function that it registered before init_app.
    app.before_request_funcs.setdefault(None, []).insert(0, before)
    # Functions after a request run in reverse order of registration, so this one runs after Flask-Login has written its
    # cookie.
    app.after_request_funcs.setdefault(None, []).insert(0, after)


def _notice_refusal(request: Request, response: Response) -> None:
    """Note that a page of the application has sent a signed-in person to the sign-in, since it refuses them.

    Sending them back would cause a redirect loop.
    """
    if request.blueprint == "chatbotkit_auth":
        return
    # Where the prefix has a variable, such as a language code, a page of the application may have no value for it.
    with suppress(StoreError, BuildError):
        if (
            urlsplit(response.location or "").path == url_for("chatbotkit_auth.sign_in")
            and current_session() is not None
            and login_fresh()
        ):
            session[REFUSED] = True
