"""The kind of the fixture ``make_app``, and the clock that tests are told by."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from flask_chatbotkit_auth.testing import Clock as Clock

MakeApp = Callable[..., Flask]
