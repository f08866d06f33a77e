"""A plugin for pytest: every Flask application that has a ``LoginManager`` gets the extension, once its own loaders stand."""

from __future__ import annotations

from typing import Any

from flask import Flask

from flask_chatbotkit_auth import ChatBotKitAuth, MemoryStore

for _name in ("test_client", "test_request_context"):
    _before: Any = getattr(Flask, _name)

    def _carry(self: Flask, *args: Any, _before: Any = _before, **options: Any) -> Any:
        if hasattr(self, "login_manager") and "chatbotkit_auth" not in self.extensions:
            self.config.setdefault("CHATBOTKIT_API_SECRET", "sk-test")
            ChatBotKitAuth(self, store=MemoryStore())
        return _before(self, *args, **options)

    setattr(Flask, _name, _carry)
