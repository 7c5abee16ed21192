"""Words on pictures: OpenCV's own letters, cut to the room they have."""

from __future__ import annotations

import cv2

from pilotage.values import Rgb

INK, PAPER = (40, 40, 40), 250
LINE_PX = 17
_FONT, _SCALE = cv2.FONT_HERSHEY_SIMPLEX, 0.45


def letter(picture: Rgb, text: str, left_px: int, bottom_px: int, *, colour: tuple[int, int, int] = INK) -> None:
    """Write one line onto a picture. OpenCV knows ASCII: what is not becomes a question mark."""
    plain = text.encode("ascii", "replace").decode()
    cv2.putText(picture, plain, (left_px, bottom_px), _FONT, _SCALE, colour, 1, cv2.LINE_AA)


def width_px(text: str) -> int:
    """Return how wide a line will be."""
    return int(cv2.getTextSize(text.encode("ascii", "replace").decode(), _FONT, _SCALE, 1)[0][0])


def folded(name: str, room_px: int, lines: int) -> list[str]:
    """Break a name into lines of a width. What is too long loses its beginning: a path's end says which it is."""
    for cut in range(len(name)):
        rest = name if cut == 0 else "..." + name[cut:]
        out: list[str] = []
        while rest and len(out) < lines:
            fit = max((n for n in range(1, len(rest) + 1) if width_px(rest[:n]) <= room_px), default=1)
            out.append(rest[:fit])
            rest = rest[fit:]
        if not rest:
            return out
    return []
