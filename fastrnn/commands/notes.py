"""What commands say beside their output."""

from ..console import note

__all__ = ["note"]
