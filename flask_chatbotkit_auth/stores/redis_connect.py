"""Clients of Redis from a URL of a server, Sentinel or a cluster, and what the errors of Redis mean."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from ..exceptions import ConfigurationError, StoreError

TIMEOUT = 5
"""Seconds to wait until Redis accepts a connection, and until it answers."""

_IDLE = 15
"""Seconds after which an idle connection is checked before it is used."""

# The driver removes the first word of an error of Redis, and raises a class for it. So both are listed.
_CURES = (
    (
        ("CROSSSLOT", "ClusterCrossSlotError"),
        "the keys are not in one slot; begin the prefix with one hash tag, such as {chatbotkit-auth}:",
    ),
    (
        (
            "MOVED",
            "MovedError",
            "ASK ",
            "AskError",
            "cluster mode",
            "CLUSTERDOWN",
            "ClusterDownError",
            "Cluster doesn't cover",
        ),
        "this is a node of a Redis Cluster, or the cluster is not whole; write redis+cluster://host:port,… in "
        "CHATBOTKIT_AUTH_STORE_URL, and look at CLUSTER INFO",
    ),
    (
        ("Cluster mode is not enabled",),
        "this Redis is not in a cluster; begin CHATBOTKIT_AUTH_STORE_URL with redis:// or rediss://",
    ),
    (
        ("DB index is out of range",),
        "this Redis has no database of that number; correct it at the end of CHATBOTKIT_AUTH_STORE_URL",
    ),
    (
        ("unknown command",),
        "this is no server that can keep data, such as a Sentinel, or it is no Sentinel, though CHATBOTKIT_AUTH_STORE_URL "
        "begins with redis+sentinel://",
    ),
    (
        ("NOPERM", "NoPermissionError", "no permissions", "has no permission"),
        "the user of Redis may not do this; let it run EVALSHA, EVAL, SCRIPT and the commands of hashes, strings and sorted "
        "sets on all keys that begin with the prefix",
    ),
    (
        ("WRONGPASS", "NOAUTH", "AUTH", "AuthenticationError", "invalid username", "invalid password"),
        "Redis refuses the user or the password; correct them in CHATBOTKIT_AUTH_STORE_URL",
    ),
    (("OOM", "OutOfMemoryError"), "Redis is full; give it more memory (maxmemory)"),
    (
        ("READONLY", "ReadOnlyError", "read only replica", "No master found", "MASTERDOWN", "MasterDownError"),
        "this is a replica that may only be read, or there is no primary now; give CHATBOTKIT_AUTH_STORE_URL the primary, or "
        "redis+sentinel://…",
    ),
    (("MISCONF",), "Redis cannot save to its disk and takes no writes; make room there"),
    (("max number of clients",), "Redis has too many connections; raise maxclients, or lower the number of workers"),
    (("LOADING", "BusyLoadingError"), "Redis is loading its data; try again in a moment"),
    (("certificate", "CERTIFICATE"), "the certificate of Redis is not trusted; add ?ssl_ca_certs=… to the URL"),
)


def store_error(error: Exception) -> StoreError:
    """Return a ``StoreError`` for an error of the driver, without its text, which may quote keys."""
    name = type(error).__name__
    text = f"{name} {error}"
    for signs, cure in _CURES:
        sign = next((each for each in signs if each in text), None)
        if sign:
            said = name if sign in name else f"{name} {sign.strip()}"
            return StoreError(f"Redis, the sign-in store, failed ({said}): {cure}")
    return StoreError(
        f"Redis, the sign-in store, failed ({name}): check that it runs, has room and may be written to, and "
        "that CHATBOTKIT_AUTH_STORE_URL is right"
    )


def connector(url: str) -> Callable[[], Any]:
    """Return a function that creates a client for a URL. For a cluster, the function connects; other clients connect later.

    :param url: ``redis://``, ``rediss://`` or ``unix://`` and one server; ``redis+sentinel://host:port,…/name`` with the
        name of the primary, and optionally ``/db``; or ``redis+cluster://host:port,…``. Options of the driver follow a
        ``?``.
    :raises ConfigurationError: the URL is invalid.
    """
    import redis

    scheme = url.partition(":")[0]
    try:
        if scheme == "redis+cluster":
            return _cluster(url)
        if scheme == "redis+sentinel":
            return _sentinel(url)
        if scheme != "unix":
            int(urlsplit(url).path.strip("/") or 0)  # the driver takes database 0 in place of what is no number
        client = redis.Redis.from_url(url, **_options())
        check_options(client)
    except (TypeError, AttributeError, redis.RedisError):
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_STORE_URL has an option after the ? that the driver of Redis does not know, or that has a wrong "
            "value. Correct it, or remove it."
        ) from None
    except ValueError:
        raise ConfigurationError(
            "CHATBOTKIT_AUTH_STORE_URL is not a URL of Redis. Give one such as redis://:password@host:6379/0, "
            "redis+sentinel://host:26379,host:26379/mymaster or redis+cluster://host:6379,host:6379. With TLS write "
            "rediss://… in place of redis://…, and add ?ssl=true to the others."
        ) from None
    return lambda: client


def check_options(client: Any) -> None:
    """Raise a ``TypeError`` or a ``RedisError`` if the driver does not take an option. Nothing is connected."""
    connection = client.connection_pool.connection_class(**client.connection_pool.connection_kwargs)
    if not hasattr(connection.retry, "call_with_retry"):
        raise TypeError("retry is an object, which no URL can give")


def _options() -> dict[str, Any]:
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return {
        "decode_responses": True,
        "socket_timeout": TIMEOUT,
        "socket_connect_timeout": TIMEOUT,
        "health_check_interval": _IDLE,
        # No retries: a code may have been counted or accepted before the connection broke. An idle connection that the
        # server has closed is detected and replaced before it is used.
        "retry": Retry(NoBackoff(), 0),
    }


def _cluster(url: str) -> Callable[[], Any]:
    from redis import Redis
    from redis.cluster import ClusterNode, RedisCluster

    hosts, _, options = _parts(url, 6379)
    # The driver ignores an option that neither a cluster nor a connection has.
    own = signature(RedisCluster).parameters
    check_options(Redis(**{**_options(), **{key: value for key, value in options.items() if key not in own}}))
    nodes = [ClusterNode(host, port) for host, port in hosts]  # type: ignore[no-untyped-call]
    # A node that answers MOVED or ASK has not run the command. So following it does not run a command twice.
    return lambda: RedisCluster(startup_nodes=nodes, **{**_options(), **options})


def _sentinel(url: str) -> Callable[[], Any]:
    from redis.sentinel import Sentinel

    hosts, path, options = _parts(url, 26379)
    name, _, database = path.partition("/")
    if not name:
        raise ValueError("the name of the primary is missing")
    sentinel_options = {
        key.removeprefix("sentinel_"): options.pop(key) for key in list(options) if key.startswith("sentinel_")
    }
    # Newer drivers ask a Sentinel up to eleven times, though another one could answer.
    patience = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, "retry": None}
    sentinel: Any = Sentinel(hosts, sentinel_kwargs={**patience, **sentinel_options})  # type: ignore[no-untyped-call]
    client = sentinel.master_for(name, db=int(database or 0), **{**_options(), **options})
    check_options(client)
    return lambda: client


def _parts(url: str, default_port: int) -> tuple[list[tuple[str, int]], str, dict[str, Any]]:
    """Return the hosts with their ports, the path and the options of a URL. The URL can have several hosts."""
    found = urlsplit(url)
    login, _, addresses = found.netloc.rpartition("@")
    username, _, password = login.partition(":")
    hosts = []
    for address in addresses.split(","):
        one = urlsplit(f"//{address}")
        if not one.hostname:
            raise ValueError("a host is missing")
        hosts.append((one.hostname, one.port or default_port))
    options: dict[str, Any] = {key: _value(value) for key, value in parse_qsl(found.query)}
    options.update({key: unquote(value) for key, value in (("username", username), ("password", password)) if value})
    return hosts, found.path.strip("/"), options


def _value(text: str) -> object:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    return int(text) if text.isdecimal() else text
