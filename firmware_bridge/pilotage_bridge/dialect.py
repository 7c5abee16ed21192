"""The dialect we send: MAVLink 2 by construction, since a v20 module packs nothing else, whatever is set."""

from __future__ import annotations

from typing import Any, TypeAlias

from pymavlink.dialects.v20 import ardupilotmega as mavlink

Message: TypeAlias = Any
"""A pymavlink message object (pymavlink ships no types)."""

__all__ = ["Message", "mavlink"]
