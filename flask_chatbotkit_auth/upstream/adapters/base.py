"""The user directory: what the flow needs to know of accounts, whatever they are upstream."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ...exceptions import APIStatusError, Conflict, EmailTaken, InvalidEmail, SignUpDisabled
from ...identifier import normalize_identifier
from ...user import Kind, User

FIELDS = frozenset(("name", "image", "email", "meta", "limits", "email_verified"))
"""What :meth:`UserAdapter.update` can change."""

Fields = Mapping[str, Any]

Users = list[User]

Page = tuple[Users, str | None]
"""Accounts, and what to pass as ``after`` for those that follow; ``None`` at the end."""


class UserAdapter(ABC):
    """Finds, makes and changes accounts. Subclass it to keep them elsewhere.

    Every method may raise :exc:`~flask_chatbotkit_auth.exceptions.APIError`. The switches guard what happens by itself, at
    sign-in; ``create``, ``update`` and ``delete`` do what they are told, so that an administrator always can.

    :param auto_create: whether :meth:`resolve` makes an account for an unknown address.
    :param auto_update: whether :meth:`resolve` adds what is missing to an account, and whether
        :meth:`current_auth.update_user <flask_chatbotkit_auth.state.AuthState.update_user>` is allowed.
    :param auto_delete: whether
        :meth:`current_auth.delete_user <flask_chatbotkit_auth.state.AuthState.delete_user>` is allowed.
    """

    kind: Kind = "partner"
    """What the accounts are upstream; an adapter of one's own keeps the default unless they are contacts."""

    def __init__(self, *, auto_create: bool = False, auto_update: bool = True, auto_delete: bool = False) -> None:
        self.auto_create = auto_create
        self.auto_update = auto_update
        self.auto_delete = auto_delete

    @abstractmethod
    def get(self, id: str) -> User | None:
        """Return the account, or ``None`` when there is none (any more), it is not ours to see, or the id cannot be one."""

    @abstractmethod
    def get_by_email(self, email: str) -> User | None:
        """Return the account of one address, or ``None``. Whatever the API answers, the account's address is ``email``.

        :param email: an identifier, normalised.
        """

    @abstractmethod
    def create(
        self,
        email: str,
        *,
        name: str | None = None,
        image: str | None = None,
        meta: Mapping[str, Any] | None = None,
        limits: Mapping[str, Any] | None = None,
    ) -> User:
        """Make an account whose owner has not proved the address yet, and return it as the API has it.

        :param email: an address, in any form; it is stored in normal form.
        :param image: URL of a picture.
        :param meta: an object that JSON can say, for the application's own use.
        :param limits: what a sub-account may use, in one step with its creation.
        :raises InvalidEmail: that is no address.
        :raises EmailTaken: it has an account already.
        """

    @abstractmethod
    def update(self, id: str, **fields: Any) -> User:
        """Change the given fields of an account: ``name``, ``image``, ``email``, ``meta``, ``limits``; others stay.

        ``meta`` is merged key by key; ``limits`` replaces what there was. ``None`` or ``""`` blanks a name or a picture.
        With a new ``email`` the account's ``email_verified`` is none until its owner proves that address; a flow that has
        proved it passes ``email_verified``, an aware time.

        :returns: the account as it is afterwards.
        :raises NotFound: there is no such account.
        :raises InvalidEmail: that is no address.
        :raises EmailTaken: another account has the address.
        """

    @abstractmethod
    def delete(self, id: str) -> None:
        """Delete an account and all that is in it, for good. One that is gone already is no error."""

    @abstractmethod
    def list(self, **filters: Any) -> Iterator[User]:
        """Yield every account, fetched page by page.

        :param filters: further names of the API's query, such as ``order="asc"``, ``take=50``, the size of a page, or
            ``**{"meta.admin": True}``. The API compares the type as well: a filter is a text or a boolean.
        """

    def page(self, *, after: str | None = None, take: int = 50) -> Page:
        """Return one page of accounts, the newest first, and what to pass as ``after`` for the next one.

        :param after: what the page before answered; ``None`` for the first page.
        :param take: 1 to 100.
        :returns: the accounts, and ``None`` instead of a next page at the end.
        """
        users: Users = []
        skipping = after is not None
        for user in self.list():
            if skipping:
                skipping = user.id != after
            elif len(users) == take:
                return users, users[-1].id
            else:
                users.append(user)
        return users, None

    def refresh(self, id: str) -> User | None:
        """Return the account of a session that goes on: :meth:`get`, in one try, and slow to say that there is none."""
        return self.get(id)

    def resolve(
        self,
        email: str,
        approve: Callable[[User | None], object] = lambda user: None,
        fields: Callable[[], Fields] = dict,
    ) -> tuple[User, bool]:
        """Return the account of a person who has proved an address: the step behind every sign-in.

        However many callers arrive together, one account is made and all of them get it.

        :param approve: called with **every** account before it is returned, however it was found, and with ``None`` before
            one is made; it raises to refuse, and then nothing is made or changed.
        :param fields: called before an account is made: its ``name``, ``image``, ``limits`` and ``meta``, sent in the one
            call that makes it.
        :returns: the account, and whether this call made it.
        :raises SignUpDisabled: there is none, and auto create is off.
        """
        user, created = self.get_by_email(email), False
        if user is None:
            if not self.auto_create:
                raise SignUpDisabled
            approve(None)
            user, created = self.sign_up(email, fields())
        if not created:
            approve(user)
            user = self.refine(user) if self.auto_update else user
        return user, created

    def sign_up(self, email: str, fields: Fields) -> tuple[User, bool]:
        """Make the account of a person who has just proved the address; where somebody else was first, find theirs.

        :returns: the account, and whether this call made it.
        """
        try:
            return self.create(email, **fields), True
        except (Conflict, EmailTaken):
            user = self.get_by_email(email)
            if user is None:
                raise
            return user, False

    def refine(self, user: User) -> User:
        """Add upstream what a sign-in has proved and the account lacks; return the account as it is then."""
        return user


def require_fields(fields: Fields) -> None:
    """Refuse fields that no account has.

    :raises TypeError: there is one.
    """
    for name in fields:
        if name not in FIELDS:
            raise TypeError(f"a user has no field {name!r} to update")


def require_other_field(error: APIStatusError) -> None:
    """Raise :exc:`InvalidEmail` where the API's refusal is about the address.

    :raises InvalidEmail: it is.
    """
    if error.status == 400 and error.field == "email":
        raise InvalidEmail("the ChatBotKit API refuses the address") from error


def only_text(value: object) -> str | None:
    """Return ``value`` if it is a text with something in it: any field of an answer may be missing, null or blank."""
    return value if isinstance(value, str) and value.strip() else None


def stored_email(value: object) -> str:
    """Return the address of a record in normal form, as it stands where it has none, or ``""``."""
    email = only_text(value) or ""
    try:
        return normalize_identifier(email, special_domains=True)
    except InvalidEmail:
        return email
