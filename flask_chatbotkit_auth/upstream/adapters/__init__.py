"""The user directory over the ChatBotKit API: one file for each kind of account."""

from .base import UserAdapter
from .contact import ContactAdapter
from .partner import PartnerAdapter

__all__ = ["ContactAdapter", "PartnerAdapter", "UserAdapter"]
