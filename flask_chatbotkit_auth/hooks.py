"""The callables that an application registers on its ``ChatBotKitAuth``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, NamedTuple

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

    def session_answer(self, answer: dict[str, Any], user: Any) -> dict[str, Any]:
        """Return what a page is told about the session of ``user``: ``answer``, or what the hook makes of it."""
        return answer if self.session is None else self.session(answer, user) or answer


class Returns(NamedTuple):
    """What a hook may return beside ``None``: the check, and the words for it."""

    fits: Callable[[Any], bool]
    words: str


MAPPING = Returns(lambda answer: isinstance(answer, Mapping), "a dictionary or None")
USER = Returns(
    lambda answer: hasattr(answer, "is_active") and hasattr(answer, "get_id"),
    "a Flask-Login user, such as one of a class with UserMixin, or None to keep ours",
)


def in_sync(callback: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs ``callback`` to its end, also if it is an ``async def`` function.

    Called like any other, such a function would do nothing, and what it returns would refuse nobody.
    """
    function: Any = callback
    if not inspect.iscoroutinefunction(function):
        function = function.__call__  # of an object
    if not inspect.iscoroutinefunction(function):
        return callback

    @wraps(callback)
    def call(*values: Any, **named: Any) -> Any:
        return current_app.ensure_sync(function)(*values, **named)

    return call


def by_position(
    hook: str, callback: Callable[..., Any] | None, *given: str, returns: Returns | None = None
) -> Callable[..., Any] | None:
    """Return a function that calls ``callback`` with values for ``given``, and checks what it returns.

    :param callback: ``None`` for no hook any more.
    :param returns: what it must return; by default anything.
    :raises ConfigurationError: ``callback`` cannot be called with these.
    """
    if callback is None:
        return None
    callback = _callable(hook, callback)
    try:
        signature = inspect.signature(callback)
    except (TypeError, ValueError):  # a function written in C has no signature
        return _checked(hook, callback, returns)
    try:
        signature.bind(*given)
    except TypeError:
        parameters = ", ".join(signature.parameters)
        raise ConfigurationError(
            f"@auth.{hook}: {_name(callback)} takes ({parameters}). It is called with ({', '.join(given)})."
        ) from None
    return _checked(hook, callback, returns)


def by_keyword(hook: str, callback: Callable[..., Any] | None, *offered: str) -> Callable[..., Any] | None:
    """Return a function that takes every keyword of ``offered``, and passes those to ``callback`` that it accepts.

    :param callback: ``None`` for no hook any more.
    :raises ConfigurationError: ``callback`` needs a keyword that the hook does not offer.
    """
    if callback is None:
        return None
    callback = _callable(hook, callback)
    try:
        parameters = inspect.signature(callback).parameters.values()
    except (TypeError, ValueError):  # a function written in C has no signature
        return _checked(hook, callback)
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters):
        return _checked(hook, callback)
    called = callback
    names = {each.name for each in parameters if each.kind in _NAMED and each.name in offered}
    for each in parameters:
        wanted = each.default is inspect.Parameter.empty and each.kind is not inspect.Parameter.VAR_POSITIONAL
        if wanted and each.name not in names:
            raise ConfigurationError(
                f"@auth.{hook}: {_name(callback)} wants {each.name!r}. It is called with keywords; take any of "
                f"{', '.join(offered)}."
            )

    def call(**values: Any) -> Any:
        return called(**{name: value for name, value in values.items() if name in names})

    return _checked(hook, call)


def _callable(hook: str, callback: Callable[..., Any]) -> Callable[..., Any]:
    if not callable(callback):
        raise ConfigurationError(f"@auth.{hook} was given {_a(callback)}. Give it a function.")
    return in_sync(callback)


def _checked(hook: str, callback: Callable[..., Any], returns: Returns | None = None) -> Callable[..., Any]:
    def call(*values: Any, **named: Any) -> Any:
        answer = callback(*values, **named)
        # A promise would count as a yes.
        if inspect.isawaitable(answer):
            if inspect.iscoroutine(answer):
                answer.close()
            raise TypeError(
                f"auth.{hook} returned {_a(answer)}, and nobody would wait for it. Return the answer itself."
            )
        if returns is not None and answer is not None and not returns.fits(answer):
            raise TypeError(f"auth.{hook} returned {_a(answer)}. Return {returns.words}.")
        return answer

    return call


def _name(callback: Callable[..., Any]) -> str:
    return getattr(callback, "__name__", None) or type(callback).__name__


def _a(answer: object) -> str:
    name = type(answer).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"
