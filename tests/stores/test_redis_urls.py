"""What a URL of Redis may say, and the sentence that answers one that cannot be right."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from flask_chatbotkit_auth import ConfigurationError
from flask_chatbotkit_auth.exceptions import StoreError
from flask_chatbotkit_auth.stores import open_store, redis_connect
from tests.support.apps import MakeApp
from tests.support.certificates import self_signed
from tests.support.commands import failed, findings, run
from tests.support.redis_server import redis_server
from tests.support.steps import ask, error
from tests.support.topologies import wait_for
from tests.support.wsgi_servers import free_port


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:1/0?nosuch=1",
        "redis://127.0.0.1:1/0?ssl_cert_reqs=none",  # of rediss://
        "redis://127.0.0.1:1/0?protocol=9",
        "redis://127.0.0.1:1/0?retry=5",
        "rediss://127.0.0.1:1/0?ssl_cert_reqs=nosuch",
        "redis+sentinel://127.0.0.1:1/mymaster?nosuch=1",
        "redis+sentinel://127.0.0.1:1/mymaster?sentinel_nosuch=1",
        "redis+cluster://127.0.0.1:1?nosuch=1",
        "redis+cluster://127.0.0.1:1?ssl=true&ssl_cert_reqs=nosuch",
    ],
)
def test_an_option_that_the_driver_does_not_take_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(ConfigurationError, match="driver of Redis does not know, or that has a wrong value"):
        open_store(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:1/three",
        "redis://127.0.0.1:port/0",
        "redis://127.0.0.1:1,127.0.0.1:2/0",
        "redis+sentinel://127.0.0.1:1",
        "redis+sentinel://127.0.0.1:1/mymaster/three",
        "rediss+sentinel://127.0.0.1:1/mymaster",
        "rediss+cluster://127.0.0.1:1",
        "redis-sentinel://127.0.0.1:1/mymaster",
        "sentinel://127.0.0.1:1/mymaster",
        "valkey://127.0.0.1:1/0",
    ],
)
def test_a_url_that_cannot_be_right_is_refused_with_those_that_can(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is not a URL of Redis\. Give one such as .*ssl=true"):
        open_store(url)


def test_a_cluster_that_cannot_be_reached_is_a_503_and_one_sentence(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app = make_app(CHATBOTKIT_AUTH_STORE_URL="redis+cluster://127.0.0.1:1,127.0.0.1:2")
    assert error(ask(app.test_client())) == (503, "store_unavailable")
    assert "Redis, the sign-in store, failed (RedisClusterException): check that it runs" in caplog.text
    assert "Traceback" not in caplog.text
    assert failed(run(app, "init-db"), "check that it runs")
    assert findings(app)["server"] == findings(app)["store"]


@pytest.mark.parametrize(
    ("url", "cure"),
    [
        ("redis+cluster://{place}", "this Redis is not in a cluster"),
        ("redis+sentinel://{place}/mymaster", "it is no Sentinel, though"),
        ("redis://{place}/99", "no database of that number"),
    ],
)
def test_a_redis_of_another_kind_than_the_url_says_is_named(
    make_app: MakeApp, installed: Callable[[str], str], tmp_path: Path, url: str, cure: str
) -> None:
    installed("redis-server")
    with redis_server(tmp_path / "redis") as plain:
        place = plain.removeprefix("redis://").removesuffix("/0")
        app = make_app(CHATBOTKIT_AUTH_STORE_URL=url.format(place=place))
        assert error(ask(app.test_client())) == (503, "store_unavailable")
        assert failed(run(app, "init-db"), cure)


def test_a_sentinel_that_keeps_quiet_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_connect, "TIMEOUT", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=50) as silent:
        store = open_store(f"redis+sentinel://127.0.0.1:{silent.getsockname()[1]}/mymaster")
        with pytest.raises(StoreError, match="No master found"):
            store.ping()
        silent.setblocking(False)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()


@pytest.mark.parametrize("kind", ["server", "cluster"])
def test_a_redis_with_tls_is_used_if_its_certificate_is_trusted(
    make_app: MakeApp, installed: Callable[[str], str], tmp_path: Path, kind: str
) -> None:
    installed("redis-server")
    certificate, key = self_signed(tmp_path, "127.0.0.1")
    port = free_port()
    options = ["--tls-port", str(port), "--tls-cert-file", str(certificate), "--tls-key-file", str(key)]
    options += ["--tls-ca-cert-file", str(certificate), "--tls-auth-clients", "no"]
    url = f"rediss://127.0.0.1:{port}/0?"
    if kind == "cluster":
        options += ["--cluster-enabled", "yes", "--tls-cluster", "yes", "--cluster-port", str(free_port())]
        url = f"redis+cluster://127.0.0.1:{port}?ssl=true&"
    with redis_server(tmp_path / "redis", *options) as plain:
        if kind == "cluster":
            with redis.Redis.from_url(plain) as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE", 0, 16383)
                wait_for(lambda: bool(client.execute_command("CLUSTER INFO")["cluster_state"] == "ok"))
        app = make_app(CHATBOTKIT_AUTH_STORE_URL=f"{url}ssl_ca_certs={certificate}")
        assert ask(app.test_client()).status_code == 200
        assert failed(
            run(make_app(CHATBOTKIT_AUTH_STORE_URL=url), "init-db"), "the certificate of Redis is not trusted"
        )
