"""The kinds of back end that a test runs on, for the indirect parameter ``store_url``."""

from __future__ import annotations

import pytest

# What the gate does not start: `nox -s engines`.
MYSQL = pytest.param("mysql", marks=pytest.mark.engines)
VALKEY = pytest.param("valkey", marks=pytest.mark.engines)

SERVERS = ("postgresql", "mariadb", MYSQL)
"""Servers of SQL databases."""

DATABASES = ("sqlite", *SERVERS)
"""SQL databases."""

SHARED = (*DATABASES, "redis", VALKEY)
"""What several processes can share."""

EVERY = ("memory", *SHARED)
