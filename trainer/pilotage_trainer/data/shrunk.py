"""Large pictures kept small: decoded and shrunk once, read from a cache ever after, by every worker and every run."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from pathlib import Path

import cv2
import numpy as np

from pilotage.values import Rgb
from pilotage_trainer.data.split import Images
from pilotage_trainer.data.views import View, resized

_QUALITY = 95


def shrunk_px(height: int, width: int, view: View) -> tuple[int, int]:
    """Return the smallest size of a picture that still has every pixel the view asks for."""
    if view.polar:  # the radius becomes the strip's height, the rim its width
        side = max(2 * view.height_px, math.ceil(view.width_px / math.pi))
        return (side, side) if side < min(height, width) else (height, width)
    rows = height / 2 if view.middle_half else height
    columns = width * view.fov_deg / 360
    scale = max(view.height_px / rows, view.width_px / columns)
    return (math.ceil(height * scale), math.ceil(width * scale)) if scale < 1 else (height, width)


class Shrunk:
    """Pictures of a row at the size a view needs. A file that changes is shrunk again; writes appear whole."""

    def __init__(self, images: Images, view: View, cache: Path) -> None:
        self._images, self._view, self._cache = images, view, cache

    def __len__(self) -> int:
        return len(self._images)

    def name(self, index: int) -> str:
        """Return its name."""
        return self._images.name(index)

    def read(self, index: int, rng: np.random.Generator) -> Rgb:
        """Return it from the cache, or shrink it now."""
        kept = self._place(self.name(index))
        if kept is not None and kept.is_file():
            image = cv2.imread(str(kept), cv2.IMREAD_COLOR)
            if image is not None:
                return np.ascontiguousarray(image[..., ::-1])
        image = self._images.read(index, rng)
        size = shrunk_px(image.shape[0], image.shape[1], self._view)
        if kept is None or size == image.shape[:2]:
            return image
        small = resized(image, *size)
        _write(kept, small)
        return small

    def _place(self, name: str) -> Path | None:
        """Return where its small copy lies; None where the name is not a file's."""
        try:
            facts = os.stat(name)
        except OSError:
            return None
        key = f"{os.path.abspath(name)}|{facts.st_mtime_ns}|{facts.st_size}|{self._view}"
        digest = hashlib.sha256(key.encode()).hexdigest()
        return self._cache / "shrunk" / digest[:2] / f"{digest[2:32]}.jpg"


def _write(path: Path, image: Rgb) -> None:
    """Write atomically; a full disk costs the cache, not the run."""
    encoded = cv2.imencode(".jpg", np.ascontiguousarray(image[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    part = path.with_name(f"{path.stem}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(encoded.tobytes())
        os.replace(part, path)
    except OSError:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
