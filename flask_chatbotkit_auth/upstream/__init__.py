"""The ChatBotKit API: the client, and the user directory over it."""
