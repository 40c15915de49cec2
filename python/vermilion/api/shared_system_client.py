"""Where programs for chromadb look for the class that has ``clear_system_cache()``."""

from vermilion.api.client import SharedSystemClient

__all__ = ["SharedSystemClient"]
