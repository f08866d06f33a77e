"""Connections to the API: one deadline for the whole of an answer, no cookies, no redirects, no addresses in the log."""

from __future__ import annotations

import http.client
import io
import logging
import math
import re
import socket
import time
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection

_ADDRESS = re.compile(r"""([^\s@=&?<>"'(,;:/])[^\s@=&?<>"'(,;:/]{0,63}(@|%40)""", re.IGNORECASE)


def mask_addresses(text: str) -> str:
    """Return a text in which e-mail addresses, quoted for a URL or not, show as ``a•••@example.com``."""
    return _ADDRESS.sub(r"\1•••\2", text)


def _mask_log(record: logging.LogRecord) -> bool:
    # The records of urllib3 hold whole URLs, and the query of a list holds somebody's address.
    record.msg, record.args = mask_addresses(record.getMessage()), None
    return True


class Session(requests.Session):
    """A session of requests that reads nothing from the environment, keeps no cookies and follows no redirects."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        adapter = _Adapter(pool_connections=1, pool_maxsize=4)
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        for name in ("urllib3.connection", "urllib3.connectionpool"):
            logging.getLogger(name).addFilter(_mask_log)

    def get_redirect_target(self, resp: requests.Response) -> None:
        # Even with allow_redirects=False, requests reads and unpacks a redirect's body, however large it is.
        return None


class _Reader(io.RawIOBase):
    """The reading end of a socket, with one deadline for the status line, the headers and the whole body.

    A socket's own time-out starts again with each byte: an answer that trickles in would never end.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._timeout = sock.gettimeout()
        self._deadline = time.monotonic() + (math.inf if self._timeout is None else self._timeout)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._deadline < math.inf:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._sock.settimeout(left)
        return self._raw.readinto(buffer)

    def lift_deadline(self) -> None:
        self._deadline = math.inf
        self._sock.settimeout(self._timeout)

    def close(self) -> None:
        self._raw.close()
        super().close()


class Answer(http.client.HTTPResponse):
    """A response that is read within one deadline; :attr:`reader` can lift it, for a stream."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.reader: _Reader = _Reader(sock)
        self.fp: io.BufferedReader = io.BufferedReader(self.reader)


class _Connection(HTTPConnection):
    response_class = Answer


class _SecureConnection(HTTPSConnection):
    response_class = Answer


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        if proxy.lower().startswith("http"):  # A SOCKS proxy's manager has connections of its own kind.
            manager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}
        return manager
