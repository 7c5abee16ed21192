"""A position from the camera when GNSS is jammed, spoofed or absent."""

from __future__ import annotations

__version__ = "0.1.0"
