"""Passwordless sign-in for Flask whose user database is ChatBotKit."""
