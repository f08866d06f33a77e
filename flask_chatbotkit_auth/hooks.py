"""The callables that an application registers on its ``ChatBotKitAuth``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import flask_mail

from .user import User


@dataclass
class Hooks:
    """One of each, or ``None``. Every application of one ``ChatBotKitAuth`` shares them."""

    send_verification_request: Callable[..., object] | None = None
    queue_mail: Callable[[flask_mail.Message], object] | None = None
    sign_in: Callable[[str, User], Any] | None = None
    sign_up: Callable[[str], Any] | None = None
    new_user: Callable[[str], Mapping[str, Any] | None] | None = None
    provision: Callable[[User], Mapping[str, Any] | None] | None = None
    delete: Callable[[User], Any] | None = None
    session: Callable[[dict[str, Any], User], dict[str, Any] | None] | None = None
    user: Callable[[User], Any] | None = None
