"""Passwordless sign-in for Flask whose user database is ChatBotKit."""

from __future__ import annotations

from .codes import EmailCodeProvider
from .exceptions import (
    APIConnectionError,
    APIError,
    APIStatusError,
    APITimeout,
    ChatBotKitAuthError,
    CodeExpired,
    ConfigurationError,
    Conflict,
    InvalidCode,
    InvalidEmail,
    LifecycleDisabled,
    LimitsReached,
    MailError,
    NoChallenge,
    NotAuthenticated,
    NotAuthorized,
    NotFound,
    RateLimited,
    SignInDenied,
    SignUpDisabled,
    StoreError,
    TooManyAttempts,
    TooManyRequests,
    VerificationError,
)
from .extension import ChatBotKitAuth
from .signals import (
    code_failed,
    code_sent,
    session_ended,
    sign_in_failed,
    user_created,
    user_deleted,
    user_signed_in,
    user_signed_out,
    user_updated,
)
from .state import current_auth
from .stores import MemoryStore, Store
from .upstream.adapters import ContactAdapter, PartnerAdapter, UserAdapter
from .upstream.client import ChatBotKitClient
from .user import User

__all__ = [
    "APIConnectionError",
    "APIError",
    "APIStatusError",
    "APITimeout",
    "ChatBotKitAuth",
    "ChatBotKitAuthError",
    "ChatBotKitClient",
    "CodeExpired",
    "ConfigurationError",
    "Conflict",
    "ContactAdapter",
    "EmailCodeProvider",
    "InvalidCode",
    "InvalidEmail",
    "LifecycleDisabled",
    "LimitsReached",
    "MailError",
    "MemoryStore",
    "NoChallenge",
    "NotAuthenticated",
    "NotAuthorized",
    "NotFound",
    "PartnerAdapter",
    "RateLimited",
    "SignInDenied",
    "SignUpDisabled",
    "Store",
    "StoreError",
    "TooManyAttempts",
    "TooManyRequests",
    "User",
    "UserAdapter",
    "VerificationError",
    "code_failed",
    "code_sent",
    "current_auth",
    "session_ended",
    "sign_in_failed",
    "user_created",
    "user_deleted",
    "user_signed_in",
    "user_signed_out",
    "user_updated",
]
