from __future__ import annotations

from urllib.parse import urljoin, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_chatbotkit_auth.redirects import MAX_LENGTH, safe_path

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
