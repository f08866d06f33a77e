"""What answers a person whom a view of the application does not let in, where the ``LoginManager`` is ours."""

from __future__ import annotations

from typing import Any

from flask import current_app, request
from flask_login import LoginManager, login_url
from flask_login.signals import user_needs_refresh, user_unauthorized
from werkzeug.utils import redirect

from ..exceptions import NotFresh
from ..languages import gettext as _
from .errors import failed, json_problem
from .forms import wants_json
from .redirects import came_from


def sign_in_manager() -> Any:
    """Return a ``LoginManager`` that answers as our own pages do."""
    return _SignInManager()


class _SignInManager(LoginManager):  # type: ignore[misc]  # Flask-Login has no type information
    """Flask-Login's, but JSON is answered in JSON, and a form that was sent leads back to the page that it is on."""

    def unauthorized(self) -> Any:
        """Answer a request that needs somebody to be signed in."""
        if self.unauthorized_callback is None and wants_json():
            user_unauthorized.send(current_app._get_current_object())  # type: ignore[attr-defined]
            return failed(401, "not_signed_in", _("You are not signed in, or no longer. Sign in to go on."))
        if self.unauthorized_callback is None and request.method not in ("GET", "HEAD"):
            user_unauthorized.send(current_app._get_current_object())  # type: ignore[attr-defined]
            view = self.blueprint_login_views.get(request.blueprint, self.login_view)
            return redirect(login_url(view, next_url=came_from()), 303)
        return super().unauthorized()

    def needs_refresh(self) -> Any:
        """Answer a request that needs a fresh proof of who is signed in."""
        if self.needs_refresh_callback is None and wants_json():
            user_needs_refresh.send(current_app._get_current_object())  # type: ignore[attr-defined]
            return json_problem(NotFresh())
        return super().needs_refresh()
