"""The camera: pinhole with distortion, how it sits on the body, and the rotations between body and ground.

Frames: *ned* is local north, east, down. *body* is forward, right, down. *camera* is OpenCV's right, down (in the
picture), forward (along the optical axis). Euler angles are yaw, then pitch, then roll (aerospace order), radians.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pilotage.errors import CameraError

Matrix3 = NDArray[np.float64]
NADIR: tuple[tuple[float, float, float], ...] = ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
"""body_from_camera of a camera that looks straight down with the top of the picture towards the nose."""

_KNOWN_KEYS = {"model", "width", "height", "fx", "fy", "cx", "cy", "dist", "body_from_camera", "mount"}
_MAX_SIDE_PX = 16384


def ned_from_body(roll_rad: float, pitch_rad: float, yaw_rad: float) -> Matrix3:
    """Return the rotation that takes body vectors to north, east, down."""
    cr, sr = math.cos(roll_rad), math.sin(roll_rad)
    cp, sp = math.cos(pitch_rad), math.sin(pitch_rad)
    cy, sy = math.cos(yaw_rad), math.sin(yaw_rad)
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


@dataclass(frozen=True, slots=True)
class Camera:
    """Intrinsics in pixels, OpenCV distortion (k1 k2 p1 p2 k3) and the mounting rotation."""

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    dist: tuple[float, ...] = (0.0, 0.0, 0.0, 0.0, 0.0)
    body_from_camera: tuple[tuple[float, float, float], ...] = NADIR

    def __post_init__(self) -> None:
        if not (0 < self.width <= _MAX_SIDE_PX and 0 < self.height <= _MAX_SIDE_PX):
            raise CameraError(f"camera size {self.width}x{self.height} px is outside 1..{_MAX_SIDE_PX}")
        numbers = (self.fx, self.fy, self.cx, self.cy, *self.dist)
        if not all(math.isfinite(number) for number in numbers):
            raise CameraError(f"camera intrinsics must be finite numbers, got {numbers}: recalibrate")
        if not (self.fx > 0 and self.fy > 0):
            raise CameraError(f"camera focal length fx={self.fx}, fy={self.fy} must be > 0 pixels: recalibrate")
        if len(self.dist) not in (4, 5, 8):
            raise CameraError(f"camera dist has {len(self.dist)} numbers, OpenCV's pinhole model takes 4, 5 or 8")
        rotation = np.asarray(self.body_from_camera, dtype=np.float64)
        if rotation.shape != (3, 3) or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3):
            raise CameraError("camera body_from_camera must be a 3x3 rotation matrix (rows: body forward, right, down)")
        if np.linalg.det(rotation) < 0:
            raise CameraError("camera body_from_camera is mirrored (determinant -1): swap the sign of one axis")

    @classmethod
    def from_hfov(cls, width: int, height: int, *, hfov_deg: float) -> Camera:
        """Make an ideal nadir camera from its horizontal field of view; pixel centres lie on whole numbers."""
        if not 1.0 < hfov_deg < 170.0:
            raise CameraError(f"horizontal field of view {hfov_deg} deg is outside 1..170")
        focal_px = width / 2 / math.tan(math.radians(hfov_deg) / 2)
        return cls(width=width, height=height, fx=focal_px, fy=focal_px, cx=(width - 1) / 2, cy=(height - 1) / 2)

    @property
    def matrix(self) -> Matrix3:
        """The 3x3 intrinsic matrix."""
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]], dtype=np.float64)

    @property
    def distorted(self) -> bool:
        """Whether any distortion coefficient is not zero."""
        return any(self.dist)

    def ned_from_camera(self, roll_rad: float, pitch_rad: float, yaw_rad: float) -> Matrix3:
        """Return the rotation that takes camera vectors to north, east, down."""
        return np.asarray(ned_from_body(roll_rad, pitch_rad, yaw_rad) @ np.asarray(self.body_from_camera))

    def to_dict(self) -> dict[str, Any]:
        """Return the content of `camera.json`."""
        return {
            "model": "pinhole",
            "width": self.width,
            "height": self.height,
            "fx": self.fx,
            "fy": self.fy,
            "cx": self.cx,
            "cy": self.cy,
            "dist": list(self.dist),
            "body_from_camera": [list(row) for row in self.body_from_camera],
        }

    @classmethod
    def from_dict(cls, raw: Any, *, source: str = "camera") -> Camera:
        """Read the content of `camera.json`; unknown keys are errors."""
        if not isinstance(raw, dict):
            raise CameraError(f"{source}: expected an object with width, height, fx, fy, cx, cy")
        unknown = sorted(set(raw) - _KNOWN_KEYS)
        if unknown:
            raise CameraError(f"{source}: unknown key {unknown[0]!r}; known are {', '.join(sorted(_KNOWN_KEYS))}")
        if raw.get("model", "pinhole") != "pinhole":
            raise CameraError(f"{source}: model {raw['model']!r} is not supported; only 'pinhole' is")
        missing = [key for key in ("width", "height", "fx", "fy", "cx", "cy") if key not in raw]
        if missing:
            raise CameraError(f"{source}: {missing[0]!r} is missing")
        try:
            return cls(
                width=int(raw["width"]),
                height=int(raw["height"]),
                fx=float(raw["fx"]),
                fy=float(raw["fy"]),
                cx=float(raw["cx"]),
                cy=float(raw["cy"]),
                dist=tuple(float(k) for k in raw.get("dist", (0, 0, 0, 0, 0))),
                body_from_camera=tuple(
                    (float(row[0]), float(row[1]), float(row[2])) for row in raw.get("body_from_camera", NADIR)
                ),
            )
        except CameraError as error:
            raise CameraError(f"{source}: {error}") from error
        except (TypeError, ValueError, IndexError, KeyError, OverflowError) as error:
            raise CameraError(f"{source}: {error}; expected numbers") from error

    @classmethod
    def load(cls, path: Path) -> Camera:
        """Read a `camera.json`."""
        try:
            raw = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise CameraError(f"{path}: cannot read the camera file ({error.strerror})") from error
        except ValueError as error:
            raise CameraError(f"{path}: not JSON ({error})") from error
        return cls.from_dict(raw, source=str(path))
