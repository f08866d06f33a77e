"""Three nodes of Galera that all take writes: one code stays one sign-in, and a node that lags signs nobody out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import sqlalchemy as sa
from flask import Flask

from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import Store
from flask_chatbotkit_auth.testing import StoreContract
from tests.support import topologies
from tests.support.one_sign_in import NOW, come_through_a_failover, one_code_is_one_sign_in, session
from tests.support.sites import ADA, SignIn, Worker, copy_of, is_in
from tests.support.steps import ask, verify
from tests.support.workers import Workers, forget_everything, opened

pytestmark = pytest.mark.operations

SETTING = "init_command=SET SESSION wsrep_sync_wait=7"
"""As the documentation has it in the URL."""


@pytest.fixture(scope="module")
def nodes(installed: Callable[[str], str]) -> Iterator[list[topologies.Node]]:
    for program in ("mariadbd", "rsync"):
        installed(program)
    with topologies.galera(3) as nodes:
        with administrator(nodes[0]) as connection:
            connection.exec_driver_sql("CREATE DATABASE store")
        yield nodes


@pytest.fixture
def urls(nodes: list[topologies.Node]) -> list[str]:
    """The URL of each node, with what the documentation says."""
    return [f"{node.url}?{SETTING}".replace("/mysql?", "/store?") for node in nodes]


@pytest.fixture
def store(urls: list[str]) -> Iterator[Store]:
    with opened(urls[0], "") as store:
        yield store
        forget_everything(store)


def administrator(node: topologies.Node) -> sa.Connection:
    engine = sa.create_engine(node.url, isolation_level="AUTOCOMMIT", poolclass=sa.pool.NullPool)
    return engine.connect()


class TestOnGalera(StoreContract):
    """The contract."""


def test_one_code_on_two_nodes_is_one_sign_in(store: Store, urls: list[str]) -> None:
    one_code_is_one_sign_in(store, urls[:2])


def make_tables(start: Callable[[], object], _url: str, _prefix: str, number: int, urls: list[str]) -> list[int]:
    with opened(urls[number % len(urls)], "") as store:
        start()
        store.setup()
        return [store.count_sessions("nobody", now=NOW)]


def test_workers_of_two_nodes_make_the_tables_at_once(nodes: list[topologies.Node], urls: list[str]) -> None:
    workers = Workers(4)
    try:
        for turn in range(3):
            with administrator(nodes[0]) as connection:
                connection.exec_driver_sql(f"CREATE DATABASE fresh_{turn}")
            fresh = [url.replace("/store?", f"/fresh_{turn}?") for url in urls[:2]]
            assert workers.run(make_tables, fresh[0], "", fresh) == [0] * 4
    finally:
        workers.close()


def test_with_the_setting_a_node_that_lags_is_waited_for(
    store: Store, nodes: list[topologies.Node], urls: list[str]
) -> None:
    with opened(urls[1], "") as behind, ThreadPoolExecutor(1) as pool:
        behind.ping()
        with administrator(nodes[1]) as connection:
            connection.exec_driver_sql("FLUSH TABLES WITH READ LOCK")  # it applies nothing of what the others write
            store.add_session(session("s"), now=NOW)
            found = pool.submit(behind.get_session, "s", now=NOW)
            reading = "SELECT 1 FROM information_schema.processlist WHERE info LIKE '%%FROM chatbotkit_auth_sessions%%'"
            other = f"{reading} AND id <> CONNECTION_ID()"
            topologies.wait_for(lambda: bool(found.done() or connection.exec_driver_sql(other).scalar()))
            connection.exec_driver_sql("UNLOCK TABLES")
        assert found.result(topologies.PATIENCE)


@pytest.fixture
def lag(nodes: list[topologies.Node], monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[float]]]:
    """Have the second node lag, until the application waits for it; what is called returns how long it waited."""
    waits: list[float] = []
    with administrator(nodes[1]) as connection:

        def catch_up(seconds: float) -> None:
            waits.append(seconds)
            connection.exec_driver_sql("UNLOCK TABLES")
            connection.exec_driver_sql("SET SESSION wsrep_sync_wait = 7")
            connection.exec_driver_sql("SELECT COUNT(*) FROM store.chatbotkit_auth_sessions")

        def lag() -> list[float]:
            connection.exec_driver_sql("FLUSH TABLES WITH READ LOCK")
            monkeypatch.setattr("flask_chatbotkit_auth.sessions.second_look.time.sleep", catch_up)
            return waits

        yield lag
        connection.exec_driver_sql("UNLOCK TABLES")


@pytest.fixture
def sites(store: Store, urls: list[str], worker: Worker) -> tuple[Flask, Flask]:
    """Two workers of a site, each at another node, neither with the setting."""
    first, second = (worker(CHATBOTKIT_AUTH_STORE_URL=url.removesuffix(f"?{SETTING}")) for url in urls[:2])
    second.extensions["chatbotkit_auth"].store.ping()
    return first, second


def test_without_it_a_session_that_a_node_lacks_is_looked_for_once_more(
    sites: tuple[Flask, Flask], lag: Callable[[], list[float]], sign_in: SignIn
) -> None:
    client = sites[0].test_client()
    waits = lag()
    sign_in(client, ADA)
    elsewhere = copy_of(client, sites[1])
    assert is_in(elsewhere)
    assert len(waits) == 1
    assert elsewhere.get_cookie("remember_token") is not None


def test_so_is_a_code_that_was_asked_for_at_another_node(
    sites: tuple[Flask, Flask], lag: Callable[[], list[float]], mail_code: Callable[..., str]
) -> None:
    client = sites[0].test_client()
    waits = lag()
    ask(client, ADA)
    assert verify(copy_of(client, sites[1]), mail_code(ADA)).status_code == 200
    assert len(waits) == 1


def test_a_node_is_lost_and_the_others_go_on(nodes: list[topologies.Node], urls: list[str]) -> None:
    def kill(*lost: int) -> None:
        for number in lost:
            nodes[number].process.kill()
            nodes[number].process.wait()

    def lose_one() -> None:
        kill(2)
        for node in nodes[:2]:
            topologies.wait_for(lambda node=node: topologies.is_whole(node.url, 2))  # type: ignore[misc]

    come_through_a_failover(urls, lose_one, keeps_all=True)
    # Of two, one that is killed leaves no majority.
    with opened(urls[0], "") as store:
        kill(1)
        topologies.wait_for(lambda: not topologies.is_whole(nodes[0].url, 2))
        with pytest.raises(StoreError, match="majority"):
            store.add_session(session("s"), now=NOW)
