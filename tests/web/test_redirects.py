from __future__ import annotations

import random
from urllib.parse import urljoin, urlsplit

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st

from flask_chatbotkit_auth.web.redirects import MAX_LENGTH, safe_path
from tests.support.steps import post

HOST = "shop.example"


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/dashboard", "/dashboard"),
        ("/", "/"),
        ("/a/b?c=d&e=https://evil.example#f", "/a/b?c=d&e=https://evil.example#f"),
        ("/@evil.example", "/@evil.example"),
        ("/%5Cevil.example", "/%5Cevil.example"),
        ("https://shop.example/dashboard?x=1", "/dashboard?x=1"),
        ("http://shop.example", "/"),
    ],
)
def test_paths_on_this_host_are_kept(target: str, path: str) -> None:
    assert safe_path(target, HOST) == path


@pytest.mark.parametrize(
    "target",
    [
        None,
        "",
        "dashboard",
        "?x=1",
        "#x",
        "//evil.example",
        "///evil.example",
        "////evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "\\/evil.example",
        "/\\/evil.example",
        "/\\\\evil.example",
        "https:evil.example",
        "https:/evil.example",
        "https:///evil.example",
        "https://evil.example",
        "HTTPS://evil.example",
        "http://evil.example/shop.example",
        "https://shop.example.evil.example",
        "https://shop.example@evil.example",
        "https://shop.example:443@evil.example",
        "https://evil.example#shop.example",
        "https://evil.example?shop.example",
        "https://evil.example\\@shop.example",
        "https://shop.example\\.evil.example",
        "https://shop.example:8080/",
        "https://user@shop.example/",
        "https://shop.example//evil.example",
        "ftp://shop.example/",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\nscript:alert(1)",
        "data:text/html,x",
        "vbscript:x",
        " //evil.example",
        "\t//evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/\r\n/evil.example",
        "/\r\nLocation: https://evil.example",
        "\x00//evil.example",
        "/\x0b/evil.example",
        "//evil.example:80",
        "//\u200bevil.example/ ",
        "http:\\\\evil.example",
        "///\\;@evil.example",
        "//google%00.example",
        "/\ud800",
        "https://[::1]/",
        "https://[/",
        "/" + "a" * MAX_LENGTH,
        "/" + "😀" * 256,
    ],
)
def test_everything_else_is_refused(target: str | None) -> None:
    assert safe_path(target, HOST) is None


@given(st.text(alphabet="/\\:@.?#htps evil\t\n\r%0aA", max_size=40))
def test_whatever_is_kept_stays_on_this_host(target: str) -> None:
    path = safe_path(target, HOST)
    if path is not None:
        # As a browser joins it: backslashes are slashes, and tabs and line ends are dropped.
        as_read = path.replace("\\", "/").translate({9: None, 10: None, 13: None})
        assert urlsplit(urljoin(f"https://{HOST}/auth/verify", as_read)).netloc == HOST


def test_the_longest_target_fits_into_a_cookie(app: Flask) -> None:
    # A link with a longer one would keep whoever follows it from signing in: the browser drops the cookie.
    client = app.test_client()
    for letters in (range(0x23, 0x5C), range(0x4E00, 0x9FFF), range(0x20000, 0x2A000)):
        size = len(chr(letters[0]).encode())
        some = random.Random(7).choices(letters, k=(MAX_LENGTH - 1) // size)  # noqa: S311  # no secret
        target = "/" + "".join(map(chr, some))
        assert safe_path(target, HOST) == target
        assert post(client, "/auth/sign-in", {"email": "ada@example.com", "next": target}).status_code == 200
        cookie = client.get_cookie("session")
        assert cookie is not None
        assert len(cookie.value) < 4000
