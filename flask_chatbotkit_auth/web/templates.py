"""Template loading: the application's own templates first, and then ours, also if both have the same name."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from flask import Flask
from jinja2 import BaseLoader, ChoiceLoader, Environment, FileSystemLoader, PrefixLoader, Template

from ..proxies import running_app

_OURS = "flask_chatbotkit_auth:"
_KEY = "chatbotkit_auth_templates"


def template(name: str) -> Template:
    """Return the template ``chatbotkit_auth/<name>``: the application's, or else ours.

    A template of the application can extend or include its own name, and gets ours. In Jinja this would be an endless loop.
    """
    app = running_app()
    if _KEY not in app.extensions:
        app.extensions[_KEY] = _overlay(app)
    return cast(Environment, app.extensions[_KEY]).get_template(f"chatbotkit_auth/{name}")


def _overlay(app: Flask) -> Environment:
    # It shares filters, globals and extensions with the application's environment, which is not changed.
    environment = app.jinja_env.overlay()
    usual = environment.join_path
    ours = FileSystemLoader(Path(__file__).parents[1] / "templates")
    theirs = cast(BaseLoader, environment.loader)
    environment.loader = ChoiceLoader([PrefixLoader({_OURS[:-1]: ours}, delimiter=":"), theirs])

    def join_path(template: str, parent: str) -> str:
        return _OURS + template if template == parent else usual(template, parent)

    environment.join_path = join_path  # type: ignore[method-assign]
    return environment
