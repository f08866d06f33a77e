"""Several machines on this one: clusters, Sentinel, a primary with a replica, PgBouncer; and MySQL and Valkey in a folder."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
import sqlalchemy as sa

from tests.support import debian
from tests.support.wsgi_servers import free_port

PATIENCE = 60
"""Seconds after which something that was started is not coming."""

PAUSE = 0.1

HOST = "127.0.0.1"


@dataclass
class Pair:
    """Two servers, of which one takes over from the other."""

    url: str
    fail_over: Callable[[], None]
    """Kills the first one, and returns when the second one takes writes."""


@contextmanager
def redis_cluster(folder: Path) -> Iterator[str]:
    """Start three nodes that share the slots, and give their URL."""
    ports = [free_port() for _ in range(3)]
    nodes = [f"{HOST}:{port}" for port in ports]
    with ExitStack() as stack:
        for port in ports:
            stack.enter_context(cluster_node(folder, port))
        subprocess.run(
            ["redis-cli", "--cluster", "create", *nodes, "--cluster-yes"], check=True, stdout=subprocess.DEVNULL
        )
        clients: list[Any] = [stack.enter_context(redis.Redis(port=port)) for port in ports]
        wait_for(lambda: all(each.execute_command("CLUSTER INFO")["cluster_state"] == "ok" for each in clients))
        yield f"redis+cluster://{','.join(nodes)}"


def cluster_node(folder: Path, port: int) -> AbstractContextManager[subprocess.Popen[bytes]]:
    """Start one node; it knows what cluster it belongs to, if its folder does."""
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    return _redis(folder / str(port), port, *options)


@contextmanager
def redis_sentinel(folder: Path) -> Iterator[Pair]:
    """Start a primary with a replica, and three Sentinels that watch them."""
    first, second, *watchers = (free_port() for _ in range(5))
    with ExitStack() as stack:
        primary = stack.enter_context(_redis(folder / "first", first))
        stack.enter_context(_redis(folder / "second", second, "--replicaof", HOST, str(first)))
        with redis.Redis(port=first) as client:
            wait_for(lambda: int(client.info("replication")["connected_slaves"]) == 1)
        for port in watchers:
            settings = folder / f"sentinel-{port}.conf"
            settings.write_text(
                f"sentinel monitor mymaster {HOST} {first} 2\n"
                "sentinel down-after-milliseconds mymaster 1000\n"
                "sentinel failover-timeout mymaster 5000\n"
            )
            stack.enter_context(_redis(folder / f"sentinel-{port}", port, program=[str(settings), "--sentinel"]))
        sentinels = [stack.enter_context(redis.Redis(port=port)) for port in watchers]
        for each in sentinels:
            wait_for(lambda each=each: _knows_all(each))  # type: ignore[misc]

        def fail_over() -> None:
            primary.kill()
            with redis.Redis(port=second) as client:
                wait_for(lambda: client.info("replication")["role"] == "master")
            for each in sentinels:
                wait_for(lambda each=each: int(each.sentinel_get_master_addr_by_name("mymaster")[1]) == second)  # type: ignore[misc]

        yield Pair(f"redis+sentinel://{','.join(f'{HOST}:{port}' for port in watchers)}/mymaster", fail_over)


@contextmanager
def postgresql_pair() -> Iterator[Pair]:
    """Start a PostgreSQL that commits only what its replica has, too; the replica is promoted when it fails."""
    first, second = free_port(), free_port()
    with ExitStack() as stack:
        folder = stack.enter_context(_open_folder("postgres"))
        common = f"listen_addresses='{HOST}'\nunix_socket_directories=''\nfsync=off\nwal_level=replica\n"
        _postgres("initdb", "-D", str(folder / "first"), "-U", "root", "-A", "trust", "--no-sync")
        with open(folder / "first" / "postgresql.auto.conf", "a") as settings:
            settings.write(f"{common}port={first}\n")
        primary = stack.enter_context(_postgres_server(folder / "first", first))
        _postgres("pg_basebackup", "-D", str(folder / "second"), "-h", HOST, "-p", str(first), "-U", "root", "-R")
        with open(folder / "second" / "postgresql.auto.conf", "a") as settings:
            settings.write(f"port={second}\n")
        stack.enter_context(_postgres_server(folder / "second", second))
        with _connected(first) as connection:
            connection.exec_driver_sql("ALTER SYSTEM SET synchronous_standby_names = '*'")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
            wait_for(
                lambda: connection.exec_driver_sql("SELECT sync_state FROM pg_stat_replication").scalar() == "sync"
            )

        def fail_over() -> None:
            primary.send_signal(signal.SIGQUIT)
            primary.wait(PATIENCE)
            _postgres("pg_ctl", "promote", "-D", str(folder / "second"))
            with _connected(second) as connection:
                wait_for(lambda: connection.exec_driver_sql("SELECT pg_is_in_recovery()").scalar() is False)
                # Nobody follows it now, whose word it would wait for.
                connection.exec_driver_sql("ALTER SYSTEM RESET synchronous_standby_names")
                connection.exec_driver_sql("SELECT pg_reload_conf()")

        hosts = f"host={HOST}:{first}&host={HOST}:{second}"
        yield Pair(f"postgresql+psycopg://root@/postgres?{hosts}&target_session_attrs=read-write", fail_over)


@contextmanager
def pgbouncer(program: str, url: str, *, alone: bool = False) -> Iterator[str]:
    """Start PgBouncer in transaction mode, with two connections to the database of a URL, and give the URL of it.

    :param alone: whether no database answers at that URL. Then PgBouncer says so after a second.
    """
    server, port = sa.make_url(url), free_port()
    with ExitStack() as stack:
        folder = stack.enter_context(_open_folder("postgres"))
        (folder / "users.txt").write_text(f'"{server.username}" "{server.password or ""}"\n')
        (folder / "pgbouncer.ini").write_text(
            f"[databases]\n* = host={server.host} port={server.port or 5432}\n[pgbouncer]\nlisten_addr = {HOST}\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {folder}/users.txt\n"
            f"pool_mode = transaction\ndefault_pool_size = 2\nquery_wait_timeout = {1 if alone else 120}\n"
        )
        stack.enter_context(_process([program, str(folder / "pgbouncer.ini")], folder / "log", **_as("postgres")))
        bouncer = server.set(host=HOST, port=port).render_as_string(hide_password=False)
        wait_for(lambda: _listens(port) if alone else _answers(bouncer))
        yield bouncer


@dataclass
class Node:
    """One of several servers that all take writes."""

    url: str
    process: subprocess.Popen[bytes]


@contextmanager
def galera(count: int) -> Iterator[list[Node]]:
    """Start MariaDB nodes that share all data by Galera."""
    with ExitStack() as stack:
        folder = stack.enter_context(_open_folder("mysql"))
        install = ["mariadb-install-db", "--no-defaults", f"--datadir={folder}/0", "--skip-test-db"]
        install.append("--auth-root-authentication-method=normal")
        subprocess.run(install, check=True, capture_output=True, timeout=PATIENCE, **_as("mysql"))
        provider = next(each for each in _GALERA if Path(each).exists())
        groups = [free_port() for _ in range(count)]
        nodes: list[Node] = []
        for number in range(count):
            port, data, group = free_port(), folder / str(number), groups[number]
            data.mkdir(exist_ok=True)
            if os.getuid() == 0:
                shutil.chown(data, "mysql")
            listening = f"gmcast.listen_addr=tcp://{HOST}:{group};ist.recv_addr={HOST}:{free_port()}"
            server = ["mariadbd", "--no-defaults", f"--datadir={data}", f"--socket={data}.socket"]
            server += [f"--port={port}", f"--bind-address={HOST}", "--innodb-flush-log-at-trx-commit=0"]
            server += ["--binlog-format=ROW", "--innodb-autoinc-lock-mode=2", "--wsrep-on=ON"]
            server += [f"--wsrep-provider={provider}", f"--wsrep-provider-options={listening}"]
            server += [f"--wsrep-cluster-address=gcomm://{','.join(f'{HOST}:{each}' for each in groups)}"]
            server += [f"--wsrep-node-address={HOST}:{group}", "--wsrep-sst-method=rsync"]
            server += [f"--wsrep-sst-receive-address={HOST}:{free_port()}"]
            if not nodes:
                server.append("--wsrep-new-cluster")
            process = stack.enter_context(_process(server, folder / f"{number}.log", **_as("mysql")))
            nodes.append(Node(f"mysql+pymysql://root@{HOST}:{port}/mysql", process))
            for node in nodes:
                wait_for(lambda node=node: is_whole(node.url, len(nodes)))  # type: ignore[misc]
        yield nodes


def is_whole(url: str, count: int) -> bool:
    """Return whether a node of Galera takes writes and knows of so many."""
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            state = {row[0]: row[1] for row in connection.exec_driver_sql("SHOW STATUS LIKE 'wsrep%%'").all()}
            return state["wsrep_ready"] == "ON" and int(state["wsrep_cluster_size"]) == count
    except sa.exc.OperationalError:
        return False  # not up yet, or alone
    finally:
        engine.dispose()


_GALERA = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib/libgalera_smm.so")


@contextmanager
def mysql() -> Iterator[str]:
    """Start the MySQL of Debian's newest suite beside what this machine has, and give its URL.

    :raises CannotBeMade: the suite cannot be put into a folder here.
    """
    folder, port, name = debian.newest("mysql-server-core"), free_port(), f"data-{os.getpid()}"
    server = ["chroot", str(folder), "/usr/sbin/mysqld", "--no-defaults", "--user=root", f"--datadir=/{name}"]
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder / name, ignore_errors=True)
        subprocess.run([*server, "--initialize-insecure"], check=True, capture_output=True)
        server += [f"--port={port}", f"--bind-address={HOST}", f"--socket=/{name}/socket", "--mysqlx=OFF"]
        stack.enter_context(_process([*server, "--secure-file-priv=NULL"], folder / name / "log"))
        url = f"mysql+pymysql://root@{HOST}:{port}/mysql"
        wait_for(lambda: _answers(url))
        yield url


@contextmanager
def valkey() -> Iterator[str]:
    """Start the Valkey of Debian's newest suite, and give its URL.

    :raises CannotBeMade: as :func:`mysql`.
    """
    folder, port = debian.newest("valkey-server"), free_port()
    server = ["chroot", str(folder), "/usr/bin/valkey-server", "--port", str(port), "--bind", HOST]
    with _process([*server, "--save", "", "--appendonly", "no"], folder / f"valkey-{os.getpid()}.log"):
        with redis.Redis(port=port) as client:
            wait_for(lambda: bool(client.ping()))
            assert client.info("server").get("server_name") == "valkey"
        yield f"redis://{HOST}:{port}/0"


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when the condition is true; what it raises counts as not yet."""
    pause, last = threading.Event(), None
    for _ in range(int(PATIENCE / PAUSE)):
        try:
            if condition():
                return
        except (redis.RedisError, sa.exc.SQLAlchemyError, OSError) as error:
            last = error
        pause.wait(PAUSE)
    raise AssertionError(f"not within {PATIENCE} s: {last}")


@contextmanager
def _process(
    command: Sequence[str], log: Path, *, end: signal.Signals = signal.SIGTERM, **options: Any
) -> Iterator[subprocess.Popen[bytes]]:
    with open(log, "ab") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, **options)
    try:
        yield process
    finally:
        process.send_signal(end)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)


@contextmanager
def _redis(folder: Path, port: int, *options: str, program: Sequence[str] = ()) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(parents=True, exist_ok=True)
    quiet = ("--bind", HOST, "--dir", str(folder), *(() if program else ("--save", "", "--appendonly", "no")))
    command = ["redis-server", *program, "--port", str(port), *quiet, *options]
    with _process(command, folder / "log") as process:
        with redis.Redis(port=port) as client:
            wait_for(lambda: bool(client.ping()))
        yield process


def _knows_all(sentinel: Any) -> bool:
    state = sentinel.sentinel_master("mymaster")
    return int(state["num-slaves"]) == 1 and int(state["num-other-sentinels"]) == 2


@contextmanager
def _open_folder(user: str) -> Iterator[Path]:
    """Make a folder that is another user's, where the tests run as root, whom PostgreSQL, PgBouncer and rsync refuse."""
    folder = Path(tempfile.mkdtemp(prefix="chatbotkit-auth-"))
    if os.getuid() == 0:
        shutil.chown(folder, user)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as(user: str) -> dict[str, Any]:
    return {"user": user, "group": user, "extra_groups": [], "cwd": "/"} if os.getuid() == 0 else {}


def _program(name: str) -> str:
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return str(found[-1]) if found else name


def _postgres(name: str, *arguments: str) -> None:
    subprocess.run([_program(name), *arguments], check=True, capture_output=True, timeout=PATIENCE, **_as("postgres"))


@contextmanager
def _postgres_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    with _process(
        [_program("postgres"), "-D", str(folder)],
        folder.parent / f"{folder.name}.log",
        end=signal.SIGQUIT,
        **_as("postgres"),
    ) as process:
        wait_for(lambda: _answers(_postgresql_url(port)))
        yield process


def _postgresql_url(port: int) -> str:
    return f"postgresql+psycopg://root@{HOST}:{port}/postgres"


@contextmanager
def _connected(port: int) -> Iterator[sa.Connection]:
    engine = sa.create_engine(_postgresql_url(port), isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _listens(port: int) -> bool:
    with socket.create_connection((HOST, port)):
        return True


def _answers(url: str) -> bool:
    engine = sa.create_engine(url)
    try:
        with engine.connect() as connection:
            return connection.exec_driver_sql("SELECT 1").scalar() == 1
    finally:
        engine.dispose()
