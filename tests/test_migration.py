"""People who come with a table of users: each finds the own row, nobody another's, and no password of a stranger stays."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from flask_chatbotkit_auth import SignInDenied, User
from flask_chatbotkit_auth.migration import person_of


class Base(DeclarativeBase):
    pass


class Person(Base):
    __tablename__ = "person"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)
    password_hash: Mapped[str | None]
    confirmed_at: Mapped[datetime | None]
    chatbotkit_id: Mapped[str | None] = mapped_column(unique=True)


NOW = datetime(2026, 1, 1, tzinfo=UTC)
ADA = User(id="u1", email="ada@example.com", kind="partner")


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    engine = sa.create_engine(f"sqlite:///{tmp_path}/people.db")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        yield session
    engine.dispose()


def add(session: Session, email: str, **fields: object) -> int:
    row = Person(email=email, password_hash="a hash", **fields)
    session.add(row)
    session.commit()
    return row.id


def found(session: Session, user: User = ADA) -> Person:
    person: Person = person_of(user, session, Person, confirmed="confirmed_at", forget={"password_hash": None})
    return person


@pytest.mark.parametrize("email", ["ada@example.com", "Ada@Example.COM", " ada@example.com "])
def test_a_row_is_found_however_its_address_is_written(session: Session, email: str) -> None:
    id = add(session, email, confirmed_at=NOW)
    assert (found(session).id, found(session).chatbotkit_id) == (id, "u1")
    assert session.scalar(sa.select(sa.func.count()).select_from(Person)) == 1


def test_a_row_with_an_international_domain_is_found(session: Session) -> None:
    id = add(session, "Ada@bücher.example", confirmed_at=NOW)
    assert found(session, User(id="u1", email="ada@xn--bcher-kva.example", kind="partner")).id == id


def test_a_row_that_a_stranger_registered_loses_its_password(session: Session) -> None:
    id = add(session, "ada@example.com")
    assert (found(session).id, found(session).password_hash) == (id, None)


def test_a_row_whose_address_its_owner_confirmed_keeps_its_password(session: Session) -> None:
    add(session, "ada@example.com", confirmed_at=NOW)
    assert found(session).password_hash == "a hash"


def test_without_a_word_about_confirming_no_password_stays(session: Session) -> None:
    add(session, "ada@example.com", confirmed_at=NOW)
    assert person_of(ADA, session, Person, forget={"password_hash": None}).password_hash is None


def test_a_row_that_is_linked_is_never_linked_anew(session: Session) -> None:
    id = add(session, "ada@example.com", confirmed_at=NOW, chatbotkit_id="u0")
    with pytest.raises(SignInDenied):
        found(session)
    row = session.get(Person, id)
    assert row is not None
    assert (row.chatbotkit_id, row.password_hash) == ("u0", "a hash")


def test_of_two_spellings_the_confirmed_one_is_the_persons(session: Session) -> None:
    strangers = add(session, "Ada@example.com")
    own = add(session, "ada@example.com", confirmed_at=NOW)
    assert found(session).id == own
    row = session.get(Person, strangers)
    assert row is not None
    assert row.chatbotkit_id is None


def test_whoever_has_no_row_gets_one_and_keeps_it_with_a_new_address(session: Session) -> None:
    add(session, "grace@example.com", confirmed_at=NOW)
    id = found(session).id
    assert session.get(Person, id).email == "ada@example.com"  # type: ignore[union-attr]
    assert found(session, User(id="u1", email="ada@new.example", kind="partner")).id == id


def test_a_row_may_be_made_by_the_application(session: Session) -> None:
    made = person_of(ADA, session, Person, create=lambda user: Person(email=user.email, chatbotkit_id=user.id, id=77))
    assert made.id == 77


@pytest.mark.parametrize("there", [True, False], ids=["linked", "made"])
def test_several_requests_at_once_agree(session: Session, there: bool) -> None:
    if there:
        add(session, "Ada@example.com", confirmed_at=NOW)
    engine = session.get_bind()
    barrier = threading.Barrier(8)

    def request(_: int) -> int:
        with Session(engine) as own:
            barrier.wait()
            return found(own).id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(request, range(8)))) == 1
    assert session.scalar(sa.select(sa.func.count()).select_from(Person)) == 1
