"""What may differ between two pictures of one place without making it another place."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.contract import FILL_RGB
from pilotage.values import Rgb


def photometric(image: Rgb, rng: np.random.Generator, *, strength: float = 1.0) -> Rgb:
    """Change light, colour, sharpness and noise."""
    out: NDArray[np.float32] = image.astype(np.float32)
    grey = out.mean(axis=2, keepdims=True)
    out = grey + (out - grey) * rng.uniform(1 - 0.6 * strength, 1 + 0.5 * strength)
    out *= 1 + 0.12 * strength * rng.standard_normal(3).astype(np.float32)
    out = (out - 118) * rng.uniform(1 - 0.4 * strength, 1 + 0.4 * strength) + 118
    bent = np.clip(out / 255, 0, 1) ** np.exp(rng.normal(0, 0.22 * strength))
    out = np.asarray(255 * bent, np.float32)
    out += rng.normal(0, 16 * strength)
    if rng.random() < 0.12 * strength:
        out[:] = out.mean(axis=2, keepdims=True)
    if rng.random() < 0.5 * strength:
        out = _patchy_light(out, rng, strength)
    kind = rng.random()
    if kind < 0.25:
        out = np.asarray(cv2.GaussianBlur(out, (0, 0), rng.uniform(0.4, 1.3)), np.float32)
    elif kind < 0.4:
        out += (out - np.asarray(cv2.GaussianBlur(out, (0, 0), 1.5), np.float32)) * rng.uniform(0.2, 0.9)
    out += rng.normal(0, rng.uniform(0, 7), out.shape)
    result = np.clip(out, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = int(rng.integers(35, 95))
        result = np.asarray(
            cv2.imdecode(cv2.imencode(".jpg", result, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], 1), np.uint8
        )
    if rng.random() < 0.4 * strength:
        _things(result, rng)
    return result


def _patchy_light(image: NDArray[np.float32], rng: np.random.Generator, strength: float) -> NDArray[np.float32]:
    """Cloud shadows, wet ground, sunny slopes, another crop: smooth patches with soft or hard edges, tinted."""
    height, width = image.shape[:2]
    cells = int(rng.integers(3, 9))
    coarse = rng.standard_normal((cells, max(1, round(cells * width / height)))).astype(np.float32)
    field = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    field = np.tanh(field * rng.choice([1.0, 1.0, 6.0]))[..., None]
    tint = 1 + 0.35 * strength * rng.random() * field * (1 + 0.3 * rng.standard_normal(3).astype(np.float32))
    return np.asarray(image * tint, np.float32)


def _things(image: Rgb, rng: np.random.Generator) -> None:
    """Cars, sheds, shadows, things that came or went."""
    side, width = image.shape[:2]
    for _ in range(int(rng.integers(1, 7))):
        size = (rng.uniform(0.01, 0.14) * side, rng.uniform(0.01, 0.08) * side)
        box = cv2.boxPoints(((rng.uniform(0, width), rng.uniform(0, side)), size, rng.uniform(0, 180)))
        colour = [int(v) for v in rng.normal(rng.choice([40, 120, 210]), 22, 3).clip(0, 255)]
        cv2.fillConvexPoly(image, np.round(box).astype(np.int32), colour)


def footprint_mask(side: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return what a real frame, turned north-up, would cover of the patch: 45 to 100 % of it."""
    aspect = rng.choice([4 / 3, 16 / 9, 3 / 2])
    short = side * rng.uniform(0.75, 1.5)
    centre = side / 2 + rng.normal(0, 0.03 * side, 2)
    box = cv2.boxPoints(((float(centre[0]), float(centre[1])), (short * aspect, short), rng.uniform(0, 360)))
    box = box + rng.normal(0, 0.03 * side, box.shape)
    mask = np.zeros((side, side), np.uint8)
    cv2.fillConvexPoly(mask, np.round(box).astype(np.int32), 1)
    return np.asarray(mask, dtype=bool)


def mask_out(image: Rgb, covered: NDArray[np.bool_]) -> Rgb:
    """Fill what the frame does not cover, as `pilotage.rectify` does."""
    out = image.copy()
    out[~covered] = FILL_RGB
    return out


def turn_both(query: Rgb, aerial: Rgb, quarter_turns: int, mirrored: bool) -> tuple[Rgb, Rgb]:
    """Turn and mirror both views alike: the network must not learn where north lies in the sun."""
    pair = [np.rot90(image, quarter_turns) for image in (query, aerial)]
    if mirrored:
        pair = [image[:, ::-1] for image in pair]
    return np.ascontiguousarray(pair[0]), np.ascontiguousarray(pair[1])


def erased(image: Rgb, rng: np.random.Generator) -> Rgb:
    """Black out a grid of squares or 10 to 25 boxes: no single part of a picture may be all it is known by."""
    out = image.copy()
    height, width = image.shape[:2]
    if rng.random() < 0.5:
        cell = max(4, int(rng.uniform(0.1, 0.25) * height))
        hole, top, left = int(0.45 * cell), int(rng.integers(cell)), int(rng.integers(cell))
        rows, columns = (np.arange(height) + top) % cell < hole, (np.arange(width) + left) % cell < hole
        out[np.ix_(rows, columns)] = 0
        return out
    for _ in range(int(rng.integers(10, 26))):
        h, w = (max(1, int(rng.uniform(0.1, 0.2) * height)) for _ in range(2))
        top, left = int(rng.integers(height - h + 1)), int(rng.integers(max(1, width - w + 1)))
        out[top : top + h, left : left + w] = 0
    return out


def turn_pair(query: Rgb, aerial: Rgb, quarter_turns: int, *, ground: bool) -> tuple[Rgb, Rgb]:
    """Turn the aerial square counter-clockwise by quarter turns, and the query with it: a panorama rolls."""
    turned = np.ascontiguousarray(np.rot90(aerial, quarter_turns))
    if not ground:
        return np.ascontiguousarray(np.rot90(query, quarter_turns)), turned
    return np.roll(query, -round(query.shape[1] * quarter_turns / 4), axis=1), turned
