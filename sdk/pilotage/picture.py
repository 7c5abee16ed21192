"""Pictures from files: decoded, or refused in one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from pilotage.errors import ImageError
from pilotage.values import Rgb


def read_picture(path: Path) -> Rgb:
    """Decode a picture to (H, W, 3) uint8 RGB."""
    if not path.is_file():
        raise ImageError(f"{path}: no such picture")
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if bgr is None:
        raise ImageError(f"{path}: not a picture that can be decoded: give a PNG or JPEG")
    return np.ascontiguousarray(bgr[..., ::-1])


def write_picture(path: Path, picture: Rgb, *, quality: int = 92) -> None:
    """Encode by the name's suffix and write whole."""
    options = [cv2.IMWRITE_JPEG_QUALITY, quality] if path.suffix in (".jpg", ".jpeg") else []
    done, data = cv2.imencode(path.suffix, np.ascontiguousarray(picture[..., ::-1]), options)
    if not done:
        raise ImageError(f"{path}: cannot encode a picture of this kind: use .png or .jpg")
    part = path.with_name(path.name + ".part")
    part.write_bytes(data.tobytes())
    part.replace(path)
