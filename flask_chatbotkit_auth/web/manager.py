"""The answers of ``login_required`` and ``fresh_login_required``, if the ``LoginManager`` is ours."""

from __future__ import annotations

from typing import Any

from flask import request
from flask_login import LoginManager, login_url
from flask_login.signals import user_needs_refresh, user_unauthorized
from werkzeug.utils import redirect

from ..exceptions import NotFresh
from ..languages import gettext as _
from ..proxies import running_app
from .errors import failed, json_problem
from .forms import wants_json
from .redirects import came_from


def sign_in_manager() -> Any:
    """Return a ``LoginManager`` that answers like our own pages."""
    return _SignInManager()


class _SignInManager(LoginManager):  # type: ignore[misc]  # Flask-Login has no type information
    """Flask-Login's manager, but it answers JSON with JSON, and after a form it leads back to the page of the form."""

    def unauthorized(self) -> Any:
        """Answer a request that needs a signed-in person."""
        if self.unauthorized_callback is None and wants_json():
            user_unauthorized.send(running_app())
            return failed(401, "not_signed_in", _("You are not signed in, or no longer. Sign in to go on."))
        if self.unauthorized_callback is None and request.method not in ("GET", "HEAD"):
            user_unauthorized.send(running_app())
            view = self.blueprint_login_views.get(request.blueprint, self.login_view)
            return redirect(login_url(view, next_url=came_from()), 303)
        return super().unauthorized()

    def needs_refresh(self) -> Any:
        """Answer a request that needs a fresh sign-in."""
        if self.needs_refresh_callback is None and wants_json():
            user_needs_refresh.send(running_app())
            return json_problem(NotFresh())
        return super().needs_refresh()
