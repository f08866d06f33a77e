"""The configuration: a table of keys, each read and checked once, in ``init_app``."""

from .parse import DEFAULT_RATE_LIMITS
from .table import Config, unknown_keys

__all__ = ["DEFAULT_RATE_LIMITS", "Config", "unknown_keys"]
