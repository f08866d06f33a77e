"""Chat with ChatBotKit for the signed-in person: streamed answers, and conversations that the platform keeps."""

from .answers import InvalidMessages, UnknownConversation
from .completion import stream_completion
from .conversations import (
    create_conversation,
    delete_conversation,
    list_conversations,
    list_messages,
)
from .messages import MAX_BYTES, MAX_MESSAGES

__all__ = [
    "MAX_BYTES",
    "MAX_MESSAGES",
    "InvalidMessages",
    "UnknownConversation",
    "create_conversation",
    "delete_conversation",
    "list_conversations",
    "list_messages",
    "stream_completion",
]
