"""All of our errors.

PilotageError            anything we refuse; the command line prints its one line and exits 2
├── MapError             a map that is missing, unreadable or whose corners make no sense
├── PackError            a region pack that is truncated, altered, of another format or another model
├── StoreError           a store on the vehicle that cannot take or give a pack
├── FlightError          a flight folder with a missing column, a missing picture or a number that is not one
├── ImageError           a picture that cannot be decoded
├── CameraError          a camera file or a camera model that cannot be right
├── ModelError           an unknown model, or an ONNX that is not ours
├── EngineError          an engine that cannot be loaded, or was fed the wrong shape
├── LinkError            a MAVLink connection that cannot be opened
└── MissingExtraError    an optional dependency is absent; the message is the pip line, exit 1

A message says what is wrong, the value, and what to do. In the flight loop there are verdicts, not exceptions.
"""

from __future__ import annotations

import importlib
from types import ModuleType


class PilotageError(Exception):
    """Anything Pilotage refuses."""

    exit_code = 2


class MapError(PilotageError):
    """A map that is missing, unreadable or whose corners make no sense."""


class PackError(PilotageError):
    """A region pack that is truncated, altered, of another format or another model."""


class StoreError(PilotageError):
    """A store that cannot take or give a pack."""


class FlightError(PilotageError):
    """A flight folder that cannot be replayed."""


class ImageError(PilotageError):
    """A picture that cannot be decoded."""


class CameraError(PilotageError):
    """A camera file or model that cannot be right."""


class ModelError(PilotageError):
    """An unknown model, or an ONNX that is not ours."""


class EngineError(PilotageError):
    """An engine that cannot be loaded, or was fed the wrong shape."""


class LinkError(PilotageError):
    """A MAVLink connection that cannot be opened."""


class MissingExtraError(PilotageError):
    """An optional dependency is absent."""

    exit_code = 1


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional module, or say which extra brings it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(f"{purpose} needs {module}: pip install 'pilotage[{extra}]'") from error
