"""The tables of release 0.1, and the statements that it runs on them: what an upgrade must leave working."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

MINUTE = 60_000
NOW = 1_767_268_800_000
"""2026-01-01 12:00 UTC, in milliseconds."""

SNAPSHOT = (
    '{"id":"usr_1","email":"ada@example.com","name":"Ada","image":null,"email_verified":null,"created_at":null,'
    '"meta":{"plan":"pro"},"kind":"partner"}'
)

metadata = sa.MetaData()
_OPTIONS: dict[str, Any] = {
    f"{dialect}_{name}": value
    for dialect in ("mysql", "mariadb")
    for name, value in {"charset": "utf8mb4", "collate": "utf8mb4_bin"}.items()
}

challenges = sa.Table(
    "chatbotkit_auth_challenges",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("identifier", sa.String(254), nullable=False),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("sends", sa.Integer, nullable=False),
    sa.Column("sent_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    *(
        column
        for slot in (1, 2, 3, 4)
        for column in (
            sa.Column(f"digest_{slot}", sa.String(64)),
            sa.Column(f"digest_{slot}_expires_at", sa.BigInteger),
        )
    ),
    **_OPTIONS,
)
sessions = sa.Table(
    "chatbotkit_auth_sessions",
    metadata,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("user_id", sa.String(191), nullable=False, index=True),
    sa.Column("snapshot", sa.Text, nullable=False),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("seen_at", sa.BigInteger, nullable=False),
    sa.Column("refreshed_at", sa.BigInteger, nullable=False),
    sa.Column("claimed_until", sa.BigInteger, nullable=False),
    sa.Column("ends_at", sa.BigInteger, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    sa.Column("ip", sa.String(45)),
    sa.Column("user_agent", sa.String(400)),
    **_OPTIONS,
)
limits = sa.Table(
    "chatbotkit_auth_limits",
    metadata,
    sa.Column("key", sa.String(191), primary_key=True),
    sa.Column("hits", sa.Integer, nullable=False),
    sa.Column("expires_at", sa.BigInteger, nullable=False, index=True),
    **_OPTIONS,
)


def add_challenge(connection: sa.Connection, id: str, *, state: str = "open", codes: int = 1) -> None:
    """Ask for a code: ``code 1``, and with more of them the newest is ``code 1``, too."""
    row: dict[str, Any] = {"id": id, "identifier": "ada@example.com", "state": state, "attempts": 0, "sends": codes}
    for slot in range(1, codes + 1):
        row.update({f"digest_{slot}": f"code {slot}", f"digest_{slot}_expires_at": NOW + 10 * MINUTE})
    connection.execute(sa.insert(challenges), {**row, "sent_at": NOW, "expires_at": NOW + 10 * MINUTE})


def try_code(connection: sa.Connection, id: str, digest: str) -> bool:
    """Run the gate; return whether the code was right."""
    right = sa.or_(
        *(
            sa.and_(challenges.c[f"digest_{slot}"] == digest, challenges.c[f"digest_{slot}_expires_at"] > NOW)
            for slot in (1, 2, 3, 4)
        )
    )
    gate = sa.update(challenges).where(challenges.c.id == id, challenges.c.state == "open", challenges.c.attempts < 5)
    connection.execute(
        gate.values(
            state=sa.case((right, "verified"), else_="open"),
            attempts=challenges.c.attempts + sa.case((right, 0), else_=1),
        )
    )
    row = connection.execute(sa.select(challenges.c.state).where(challenges.c.id == id)).one()
    return bool(row.state == "verified")


def complete(connection: sa.Connection, id: str, session_id: str) -> bool:
    """Use up a verified challenge for a session."""
    verified = sa.update(challenges).where(challenges.c.id == id, challenges.c.state == "verified")
    if not connection.execute(verified.values(state="completed")).rowcount:
        return False
    add_session(connection, session_id)
    return True


def add_session(connection: sa.Connection, id: str) -> None:
    """Remember a signed-in browser."""
    times = dict.fromkeys(("created_at", "seen_at", "refreshed_at"), NOW)
    ends = {"ends_at": NOW + 43_200 * MINUTE, "expires_at": NOW + 10_080 * MINUTE, "claimed_until": 0}
    connection.execute(sa.insert(sessions), {"id": id, "user_id": "usr_1", "snapshot": SNAPSHOT, **times, **ends})


def get_session(connection: sa.Connection, id: str) -> str | None:
    """Return whose session it is."""
    row = connection.execute(sa.select(sessions).where(sessions.c.id == id, sessions.c.expires_at > NOW)).first()
    return row.user_id if row else None


def touch_session(connection: sa.Connection, id: str) -> None:
    """Note that a session was used a day later."""
    later = NOW + 1440 * MINUTE
    statement = sa.update(sessions).where(sessions.c.id == id, sessions.c.expires_at > later)
    connection.execute(statement.values(seen_at=later, expires_at=later + 10_080 * MINUTE))


def make_tables(connection: sa.Connection) -> None:
    """Do what 0.1 does at its first use: make tables and indexes that are missing."""
    metadata.create_all(connection)
    for table in metadata.tables.values():
        for index in table.indexes:
            index.create(connection, checkfirst=True)
