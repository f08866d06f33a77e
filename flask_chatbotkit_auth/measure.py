"""Measurements: how long the API, the store, the mail server and our own answers take.

This module does not import Flask, so that every layer can use it. :mod:`~flask_chatbotkit_auth.signals` connects the
listener.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from time import perf_counter

Tell = Callable[[str, str, float, str], object]
"""Takes the part, the name of what was done, the seconds, and the outcome."""

_listener: tuple[Callable[[], bool], Tell] | None = None
_telling: ContextVar[bool] = ContextVar("chatbotkit_auth_telling", default=False)


def tell_to(listens: Callable[[], bool], tell: Tell) -> None:
    """Set the listener: ``tell`` is called with each measurement while ``listens`` returns true."""
    global _listener
    _listener = listens, tell


def begin() -> float | None:
    """Return the time to pass to :func:`end`, or ``None`` if there is no listener."""
    # What a receiver itself asks of the store or the API is not measured, which would never end.
    if _listener is None or not _listener[0]() or _telling.get():
        return None
    return perf_counter()


def end(began: float | None, part: str, name: str, outcome: str | BaseException | None = None) -> None:
    """Report how long something took.

    :param began: the result of :func:`begin`. With ``None``, nothing is reported.
    :param part: ``"api"``, ``"store"``, ``"mail"`` or ``"request"``.
    :param name: what was done: one of a few texts, without ids and addresses.
    :param outcome: the result, or an exception; by default ``"ok"``.
    """
    if began is None or _listener is None:
        return
    duration = perf_counter() - began
    if isinstance(outcome, BaseException):
        outcome = str(getattr(outcome, "error_code", type(outcome).__name__))
    token = _telling.set(True)
    try:
        _listener[1](part, name, duration, outcome or "ok")
    finally:
        _telling.reset(token)


class measured:  # used as a function, and a class costs less than a generator
    """Measure what runs inside, and report it as :func:`end` does. An exception is not caught."""

    def __init__(self, part: str, name: str) -> None:
        self._part = part
        self._name = name

    def __enter__(self) -> None:
        self._began = begin()

    def __exit__(self, _type: object, error: BaseException | None, _traceback: object) -> None:
        if self._began is not None:
            end(self._began, self._part, self._name, error)
