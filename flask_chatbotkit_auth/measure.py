"""How long the API, the store, the mail server and our own answers take, told to whoever counts it.

It knows nothing of Flask, so that every layer can use it. :mod:`~flask_chatbotkit_auth.signals` says who listens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

Tell = Callable[[str, str, float, str], object]
"""Takes the part, the name of what was done, the seconds, and the outcome."""

_listener: tuple[Callable[[], bool], Tell] | None = None
_telling: ContextVar[bool] = ContextVar("chatbotkit_auth_telling", default=False)


def tell_to(listens: Callable[[], bool], tell: Tell) -> None:
    """Have ``tell`` called with each measurement for as long as ``listens`` returns true."""
    global _listener
    _listener = listens, tell


def begin() -> float | None:
    """Return the time to give to :func:`end`, or ``None`` where nobody listens."""
    # A receiver that asks the store, or the API, is not told about that: it would never end.
    if _listener is None or not _listener[0]() or _telling.get():
        return None
    return perf_counter()


def end(began: float | None, part: str, name: str, outcome: str | BaseException | None = None) -> None:
    """Tell how long something took.

    :param began: what :func:`begin` returned; with ``None`` nothing is told.
    :param part: ``"api"``, ``"store"``, ``"mail"`` or ``"request"``.
    :param name: what was done, one of a few texts: no id and no address.
    :param outcome: what came of it, or the exception that did; by default ``"ok"``.
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


@contextmanager
def measured(part: str, name: str) -> Iterator[None]:
    """Measure what runs inside, as :func:`end` tells it. An exception goes on its way."""
    began = begin()
    try:
        yield
    except BaseException as error:
        end(began, part, name, error)
        raise
    end(began, part, name)
