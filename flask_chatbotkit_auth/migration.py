"""For applications with their own table of users: finds the row of the person who has just signed in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, scoped_session

from .exceptions import SignInDenied
from .identifier import mask, same_identifier
from .user import User

_log = logging.getLogger("flask_chatbotkit_auth")


def person_of(
    user: User,
    session: Session | scoped_session[Any],
    model: type[Any],
    *,
    key: str = "chatbotkit_id",
    email: str = "email",
    confirmed: str | None = None,
    forget: Mapping[str, object] | None = None,
    create: Callable[[User], Any] | None = None,
) -> Any:
    """Return the row of ``user`` in your own table. Link an existing row, or create one. This commits the session.

    A row is linked by its address, in any capitalisation, if it is not linked to another account yet. Of several rows, one
    with a confirmed address comes first, then the oldest. If the address was not confirmed, somebody else may have
    registered it: then ``forget`` removes the password of the row.

    :param user: the user who has signed in, as a :meth:`~flask_chatbotkit_auth.ChatBotKitAuth.user_callback` receives it.
    :param session: your SQLAlchemy session, such as ``db.session``.
    :param model: your table's class.
    :param key: the attribute with the ChatBotKit id. It must be nullable, and should be unique.
    :param email: the attribute with the address.
    :param confirmed: the attribute that is true, or a time, if the owner has confirmed the address. With ``None``, no row
        counts as confirmed.
    :param forget: the values to set on a row whose address was not confirmed, such as ``{"password_hash": None}``.
    :param create: returns a new row for ``user``; by default ``model`` with the two attributes above.
    :raises SignInDenied: the row with this address is linked to another account, for example since an account was deleted and
        created again. Nothing is changed, and the log says so. An administrator must decide which account the row belongs to.
    """
    linked, address = getattr(model, key), getattr(model, email)
    rows_of_user = sa.select(model).where(linked == user.id)
    person = session.scalar(rows_of_user)
    while person is None:
        candidates = _candidates(session, model, address, user.email)
        free = [each for each in candidates if getattr(each, key) is None]
        if person := next((each for each in candidates if getattr(each, key) == user.id), None):
            break  # another request was faster
        if candidates and not free:
            raise _refused(user)
        if not free:
            session.add(create(user) if create else model(**{key: user.id, email: user.email}))
        elif not _link(
            session, model, min(free, key=lambda row: not _is_true(row, confirmed)), key, user, confirmed, forget
        ):
            session.rollback()  # another request has linked the row: look again
            continue
        try:
            session.commit()
        except IntegrityError:  # the person signed in twice at the same moment, and the other request was first
            session.rollback()
            person = session.scalar(rows_of_user)
            if person is None:
                raise _refused(user) from None
            return person
        person = session.scalar(rows_of_user)
    return person


def _candidates(session: Any, model: type[Any], address: Any, identifier: str) -> Sequence[Any]:
    """Return the rows with this address, the oldest first."""
    local, _, domain = identifier.rpartition("@")
    spellings = {identifier, f"{local}@{_unicode(domain)}"}
    rows = sa.select(model).where(sa.func.lower(sa.func.trim(address)).in_(spellings))
    found = session.scalars(rows.order_by(*sa.inspect(model).primary_key)).all()
    return [row for row in found if same_identifier(getattr(row, address.key), identifier)]


def _link(
    session: Any,
    model: type[Any],
    row: Any,
    key: str,
    user: User,
    confirmed: str | None,
    forget: Mapping[str, object] | None,
) -> bool:
    """Link the row to ``user`` unless it is linked already. Return whether it was linked now."""
    values = {key: user.id, **({} if _is_true(row, confirmed) else forget or {})}
    columns = sa.inspect(model).primary_key
    identity = sa.inspect(row).identity
    here = [column == value for column, value in zip(columns, identity, strict=True)]
    update = sa.update(model).where(*here, getattr(model, key).is_(None)).values(values)
    return bool(session.execute(update).rowcount == 1)


def _refused(user: User) -> SignInDenied:
    _log.error("the row of %s belongs to another account than %s", mask(user.email), user.id)
    return SignInDenied()


def _is_true(row: Any, attribute: str | None) -> bool:
    return attribute is not None and bool(getattr(row, attribute))


def _unicode(domain: str) -> str:
    try:
        return domain.encode("ascii").decode("idna")
    except UnicodeError:
        return domain
