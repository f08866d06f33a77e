"""What keeps an application's own migrations off the tables of the store."""

from __future__ import annotations

from collections.abc import Mapping

_PREFIX = "chatbotkit_auth_"


def include_name(name: str | None, type_: str, parent_names: Mapping[str, str | None]) -> bool:
    """Return whether Alembic may look at something in the database: not at tables that the store makes itself.

    Give it to Alembic, or to ``flask_migrate.Migrate(app, db, include_name=include_name)``, where the store has a URL and not
    your ``db``. Without it ``flask db migrate`` finds tables that no model names, and writes a ``drop_table`` for each.

    :param name: the name of a table, an index, a column and so on.
    :param type_: what it is, in Alembic's words.
    :param parent_names: the names of what it belongs to.
    """
    table = name if type_ == "table" else parent_names.get("table_name")
    return not (table or "").startswith(_PREFIX)
