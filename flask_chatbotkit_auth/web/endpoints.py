"""What the extension adds to an application's URLs: the blueprint, and the endpoints of each capability that is on."""

from __future__ import annotations

from typing import Any

from flask import Flask

from ..clock import utcnow
from ..exceptions import APIError, NotReady, StoreError
from ..state import AuthState
from . import account  # noqa: F401  # account adds its pages to the blueprint
from .application import api_problem
from .blueprint import HOST, blueprint
from .errors import problem
from .origin import take_over
from .sign_in import openapi


def add_endpoints(app: Flask, state: AuthState) -> None:
    """Register the pages, and the error handlers, which also apply to an application's own views.

    :raises ConfigurationError: a capability is on, and the store or the adapter lacks what it needs.
    """
    prefix = state.config.url_prefix
    app.register_blueprint(blueprint, url_prefix=prefix)
    take_over(app, blueprint)
    _add_capabilities(app, state, prefix)
    app.register_error_handler(StoreError, problem)
    app.register_error_handler(NotReady, problem)
    app.register_error_handler(APIError, api_problem)


def _add_capabilities(app: Flask, state: AuthState, prefix: str) -> None:
    # What is off is not imported.
    config = state.config
    if config.openapi:
        host: dict[str, Any] = {"host": f"<{HOST}>"} if app.url_map.host_matching else {}
        app.add_url_rule(f"{prefix}/openapi.json", "chatbotkit_auth.openapi", openapi, **host)
    if config.passkeys:
        from . import passkeys

        passkeys.register(app, prefix, state.store)
    if config.email_change:
        from . import address

        address.register(app, prefix, state.adapter)
    if config.app_sessions:
        from . import apps

        apps.register(app, prefix)
    if config.mail_link:
        from . import link

        link.register(app, prefix)
    if config.events:
        from .. import events
        from . import activity

        state.trail = events.start(app, state.store, utcnow, config.events_keep)
        activity.register(app, prefix)
