"""Flask-Login: loading the user from the cookies, starting and ending the session of a browser, the remember cookie.

Everything that uses the private names of Flask-Login is in this folder.
"""

from .browser import enter, go_on, leave, renew
from .cookie import complete_cookie, follow_session_cookie, renew_cookie
from .loader import LATER_LOADER, asks_us
from .manager import follow_manager, has_request_loader, prepare
from .request import (
    APP_REQUEST,
    current_session,
    held_session,
    held_token,
    hold_token,
    is_app_request,
    is_fresh,
    was_read,
)

__all__ = [
    "APP_REQUEST",
    "LATER_LOADER",
    "asks_us",
    "complete_cookie",
    "current_session",
    "enter",
    "follow_manager",
    "follow_session_cookie",
    "go_on",
    "has_request_loader",
    "held_session",
    "held_token",
    "hold_token",
    "is_app_request",
    "is_fresh",
    "leave",
    "prepare",
    "renew",
    "renew_cookie",
    "was_read",
]
