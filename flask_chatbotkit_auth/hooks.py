"""The callables that an application registers on its ``ChatBotKitAuth``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any

import flask_mail
from flask import current_app

from .exceptions import ConfigurationError
from .user import User

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


@dataclass
class Hooks:
    """The registered callables, each ``None`` by default. All applications of one ``ChatBotKitAuth`` share them."""

    send_verification_request: Callable[..., object] | None = None
    queue_mail: Callable[[flask_mail.Message], object] | None = None
    send_notice: Callable[..., object] | None = None
    sign_in: Callable[[str, User], Any] | None = None
    sign_up: Callable[[str], Any] | None = None
    new_user: Callable[[str], Mapping[str, Any] | None] | None = None
    provision: Callable[[User], Mapping[str, Any] | None] | None = None
    delete: Callable[[User], Any] | None = None
    session: Callable[[dict[str, Any], User], dict[str, Any] | None] | None = None
    user: Callable[[User], Any] | None = None


def in_sync(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs ``callback`` to its end, also if it is an ``async def`` function.

    Called like any other, such a function would do nothing, and what it returns would refuse nobody.
    """
    if not inspect.iscoroutinefunction(callback):
        return callback

    @wraps(callback)
    def call(*values: Any, **named: Any) -> Any:
        return current_app.ensure_sync(callback)(*values, **named)

    return call


def by_keyword(hook: str, callback: Callable[..., Any], *offered: str) -> Callable[..., Any]:
    """Return a function that takes every keyword of ``offered``, and passes those to ``callback`` that it accepts.

    :raises ConfigurationError: ``callback`` needs a keyword that the hook does not offer.
    """
    callback = in_sync(callback)
    try:
        parameters = inspect.signature(callback).parameters.values()
    except (TypeError, ValueError):  # a function written in C has no signature
        return callback
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return callback
    names = {each.name for each in parameters if each.kind in _NAMED and each.name in offered}
    for each in parameters:
        wanted = each.default is inspect.Parameter.empty and each.kind is not inspect.Parameter.VAR_POSITIONAL
        if wanted and each.name not in names:
            name = getattr(callback, "__name__", "the function")
            raise ConfigurationError(
                f"@auth.{hook}: {name} wants {each.name!r}. It is called with keywords; take any of {', '.join(offered)}."
            )

    def call(**values: Any) -> Any:
        return callback(**{name: value for name, value in values.items() if name in names})

    return call
