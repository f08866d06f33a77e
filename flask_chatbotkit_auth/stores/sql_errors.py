"""What an error of the database means: whether a transaction can run again, and the message for the operator."""

from __future__ import annotations

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..exceptions import StoreError

Code = str | int | None

# A transaction failed because of another one: serialization failure and deadlock of PostgreSQL, deadlock and "record has
# changed" of MySQL and MariaDB. It was rolled back and has changed nothing, so it can safely run again.
_CONFLICTS = {"40001", "40P01", 1213, 1020}

# The server accepts no writes, for example since a primary has become a replica. Nothing was changed.
_READ_ONLY: set[Code] = {"25006", 1290, 1792, 1836}
_READ_ONLY_FILE: set[Code] = {"SQLITE_READONLY", "SQLITE_READONLY_DBMOVED", "SQLITE_READONLY_DIRECTORY"}

# A node of Galera has lost the majority. It does not know whether its last COMMIT succeeded.
_NO_QUORUM: set[Code] = {1047}

# Another process may have changed the same table. PostgreSQL: the table, column, index or its type exists already; the
# catalogue was updated concurrently; a lock was not obtained. MySQL: the table, column or index exists already, or does not
# exist; the definition is being modified (1684); a lock was not obtained. SQLite has one code for every error in a statement.
_MADE = {"42P07", "42701", "42710", "23505", "XX000", "55P03", "42704", 1050, 1060, 1061, 1091, 1684, 1205}
_MADE |= {"SQLITE_ERROR", "SQLITE_BUSY", "SQLITE_LOCKED"}

_NO_TABLE = {"42P01", "42703", 1146, 1054}

_MAY_NOT = {"42501", 1044, 1142, 1143, 1227}

_CURES = (
    (
        {"3D000", 1049},
        "there is no such database on that server; create it, or correct the name at the end of CHATBOTKIT_AUTH_STORE_URL",
    ),
    (
        {"28P01", "28000", 1045, 1698},
        "the server refuses the user or the password; correct them in CHATBOTKIT_AUTH_STORE_URL",
    ),
    (
        {"53300", 1040, 1203, 1226},
        "the server has too many connections; raise its max_connections, or lower CHATBOTKIT_AUTH_STORE_POOL or the number "
        "of workers",
    ),
    (
        {*_READ_ONLY, *_READ_ONLY_FILE},
        "the database is read-only; give CHATBOTKIT_AUTH_STORE_URL the primary and not a replica, and let the application "
        "write to a file of SQLite and its folder",
    ),
    (
        _NO_QUORUM,
        "this node of Galera has lost the majority of its cluster and takes nothing; look at wsrep_cluster_status",
    ),
    (
        _MAY_NOT,
        "the user of CHATBOTKIT_AUTH_STORE_URL may not do this; it needs SELECT, INSERT, UPDATE and DELETE on the tables "
        "chatbotkit_auth_*",
    ),
    (
        {"3F000"},
        "there is no schema for the tables, or the user may not use it; create it, or set the user's search_path",
    ),
    (
        {"53100", "53200", 1021, 1114, "SQLITE_FULL"},
        "the database has no room left; make some on its disk",
    ),
    (
        {"SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_BUSY_SNAPSHOT"},
        "the file of SQLite has been locked for five seconds by another transaction: commit or roll back what the "
        "application has written before it waits for the sign-in store (a hook that flushes, too), or use another database",
    ),
    ({"SQLITE_CANTOPEN"}, "the file of SQLite cannot be opened; let the application write to its folder"),
    ({"SQLITE_CORRUPT", "SQLITE_NOTADB"}, "the file is damaged, or no database of SQLite; restore it from a backup"),
    ({"55P03", 1205}, "a row has been locked for five seconds by another transaction; find out which, and end it"),
    (
        {"08P01"},  # so PgBouncer answers, whatever keeps it from the database
        "the pooler in front of the database has no connection to it; check that the database runs, and read the log of the "
        "pooler",
    ),
    ({"57P03", "57P01", "57P02", 1053}, "the database server starts or stops; try again in a moment"),
)

# What a server says when it refuses a connection. Some drivers give no code then.
_TEXTS = (
    ("too many connections", "53300"),  # "… for role "shop"", too
    ('role "', "28000"),
    ("does not exist", "3D000"),
    ("no such database", "3D000"),  # PgBouncer, as below
    ("no such user", "28000"),
    ("password authentication failed", "28P01"),
    ("no password supplied", "28P01"),
    ("no pg_hba.conf entry", "28000"),
    ("too many clients", "53300"),
    ("remaining connection slots", "53300"),
    ("no more connections allowed", "53300"),
    ("the database system is", "57P03"),
    ("query_wait_timeout", "08P01"),
    ("server login has been failing", "08P01"),
)

_SILENT = ("no answer", "timeout expired", "(timed out)")
"""What the drivers say of a server that takes a connection or a statement, and keeps quiet."""


def is_conflict(error: DBAPIError) -> bool:
    """Return whether a transaction failed because of another one, and can run again."""
    return code(error) in _CONFLICTS


def made_by_another(error: DBAPIError) -> bool:
    """Return whether a statement that creates a table may have failed since another process has just created it."""
    return code(error) in _MADE | _CONFLICTS


def no_table(error: DBAPIError) -> bool:
    """Return whether a table or a column is missing."""
    return code(error) in _NO_TABLE or str(error.orig).startswith(
        ("no such table", "no such column", "table chatbotkit")
    )


def is_read_only(error: DBAPIError) -> bool:
    """Return whether the server refused a change since it is read-only. The connection is of no use any more."""
    return code(error) in _READ_ONLY


def may_have_failed_over(error: BaseException) -> bool:
    """Return whether another server may have replaced the one that this error comes from."""
    return isinstance(error, DBAPIError) and code(error) in _READ_ONLY | _NO_QUORUM


def too_many_connections(error: DBAPIError) -> bool:
    """Return whether the server has no free connection."""
    return code(error) in {"53300", 1040, 1203, 1226}


def code(error: DBAPIError) -> Code:
    """Return the code that the database gave an error: SQLSTATE, a number of MySQL, or a name of SQLite (Python 3.11)."""
    original = error.orig
    number = original.args[0] if original is not None and original.args else None
    if isinstance(number, int):
        return number
    for name in ("sqlstate", "pgcode", "sqlite_errorname"):
        if found := getattr(original, name, None):
            return str(found)
    text = str(original)
    return next((found for part, found in _TEXTS if part in text), None)


def store_error(error: SQLAlchemyError, *, making: bool = False) -> StoreError:
    """Return a ``StoreError`` for an error of SQLAlchemy.

    :param making: whether tables were being created or changed.
    """
    # The driver's own text may quote values. This text can be logged; the original exception is for a debugger.
    name = type(error).__name__
    if isinstance(error, DBAPIError):
        name = " ".join(str(part) for part in (type(error.orig).__name__, code(error)) if part)
    cures = [] if making and isinstance(error, DBAPIError) and code(error) in _MAY_NOT else [_cure(error)]
    if making and isinstance(error, DBAPIError) and _init_db_cures(error):
        cures.append(
            "the tables of the sign-in store are missing or of an older release, and could not be made now: run `flask "
            "chatbotkit-auth init-db` once with an account that may create and alter tables"
        )
    cure = "; ".join(cures)
    return StoreError(f"the database of the sign-in store failed ({name}): {cure}")


def _init_db_cures(error: DBAPIError) -> bool:
    """Return whether another account could create the tables. A server that was not even reached ran no statement."""
    found = code(error)
    known = any(found in codes for codes, _ in _CURES)
    return error.statement is not None and (not known or found in _MAY_NOT | _READ_ONLY | _READ_ONLY_FILE)


def _cure(error: SQLAlchemyError) -> str:
    if isinstance(error, PoolTimeout):
        return (
            "every connection of the pool has been in use for five seconds; raise CHATBOTKIT_AUTH_STORE_POOL, or find out "
            "what makes the database slow"
        )
    if isinstance(error, DBAPIError):
        if no_table(error):
            return (
                "a table or a column of the store is missing; run `flask chatbotkit-auth init-db`, or your migrations"
            )
        found = code(error)
        for codes, cure in _CURES:
            if found in codes:
                return cure
        if any(text in str(error.orig) for text in _SILENT):
            return (
                "the server does not answer in time; look whether it, or the database behind a pooler, is frozen, overloaded "
                "or away"
            )
        if "certificate" in str(error.orig).lower():
            return (
                "the server's certificate is not trusted; name the authority in CHATBOTKIT_AUTH_STORE_URL (sslrootcert=… for "
                "PostgreSQL, ssl_ca=… for MySQL)"
            )
    return (
        "check that it runs, has room and is not locked, that CHATBOTKIT_AUTH_STORE_URL is right, and that `flask "
        "chatbotkit-auth init-db` or your migrations have made its tables"
    )
