"""Make a world from a seed: the land once, then two days of it, of which one becomes the map and one the present."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.geo import LocalFrame
from pilotage.world.buildings import Building, place_buildings, raise_buildings
from pilotage.world.layout import Layout, lay_out
from pilotage.world.noise import fractal
from pilotage.world.paint import Ground, paint
from pilotage.world.style import Day, Style
from pilotage.world.vegetation import plant
from pilotage.world.world import World


@dataclass(frozen=True, slots=True)
class WorldConfig:
    """Size, place and how much has changed between the map and today."""

    size_m: float = 2000.0
    gsd_m: float = 0.5
    origin_lat_deg: float = 47.4
    origin_lon_deg: float = 8.55
    changed_buildings: float = 0.08
    changed_fields: float = 0.25

    def __post_init__(self) -> None:
        if not (200 <= self.size_m <= 8000 and 0.2 <= self.gsd_m <= 4):
            raise ValueError(f"world of {self.size_m} m at {self.gsd_m} m/px: size is 200..8000 m, gsd 0.2..4 m/px")


def make_world(seed: int, config: WorldConfig | None = None) -> World:
    """Make the world of this seed; the same seed and config always give the same bytes."""
    config = WorldConfig() if config is None else config
    rng = np.random.default_rng([seed, 0x9107])
    style = Style.draw(rng)
    side_px = round(config.size_m / config.gsd_m)
    layout = lay_out(rng, style, side_px=side_px, gsd_m=config.gsd_m)
    cover = _cover(rng, style, layout)
    street_mask = _street_mask(layout, config.gsd_m)
    buildings = place_buildings(rng, style, layout, street_mask, config.gsd_m)
    wooded = (cover == 2)[layout.parcel] & (layout.town < 0.02)
    free = (street_mask == 0) & (layout.water == 0)
    trees = plant(rng, style, layout, wooded=wooded, free=free, gsd_m=config.gsd_m)
    furrow = rng.uniform(0, np.pi, layout.parcel_count).astype(np.float32)
    crop = rng.integers(0, 8, layout.parcel_count)

    def day(number: int, standing: list[Building], crop: NDArray[np.intp]) -> tuple[NDArray[np.uint8], Ground]:
        own = np.random.default_rng([seed, 0xDA7, number])
        roof_height, roof_rgb = raise_buildings(standing, side_px=side_px, gsd_m=config.gsd_m)
        tree_height = np.where(roof_height > 0, 0, trees[0]).astype(np.float32)
        tree_tone = np.where(roof_height > 0, 0, trees[1]).astype(np.uint8)
        ground = Ground(layout, cover, crop, furrow, roof_height, roof_rgb, tree_height, tree_tone)
        weather = Day.draw(own, np.random.default_rng([seed, 0x5011]))
        return paint(own, weather, ground, gsd_m=config.gsd_m), ground

    older, newer = _change_buildings(rng, buildings, config.changed_buildings)
    changed = rng.random(layout.parcel_count) < config.changed_fields
    map_rgb, _ = day(1, older, crop)
    scene_rgb, today = day(2, newer, np.where(changed, rng.integers(0, 8, layout.parcel_count), crop))
    return World(
        seed=seed,
        frame=LocalFrame(config.origin_lat_deg, config.origin_lon_deg),
        size_m=side_px * config.gsd_m,
        gsd_m=config.gsd_m,
        map_rgb=map_rgb,
        scene_rgb=scene_rgb,
        surface_m=layout.terrain_m + np.maximum(today.roof_height_m, today.tree_height_m),
        terrain_m=layout.terrain_m,
    )


def _cover(rng: np.random.Generator, style: Style, layout: Layout) -> NDArray[np.uint8]:
    """Give every parcel its use: woods keep together, towns lie where the town field is."""
    side_px = layout.parcel.shape[0]
    forest = fractal(rng, side_px // 8 + 1, cell_px=side_px / 40, octaves=3, gain=0.6)
    at = np.clip(layout.parcel_centre_px, 0, side_px - 1).astype(np.int64)
    wish = forest[at[:, 1] // 8, at[:, 0] // 8] + rng.normal(0, 0.35, len(at))
    cover = np.zeros(len(at), np.uint8)
    order = np.argsort(-wish)
    woods = int(len(at) * style.wood_share)
    cover[order[:woods]] = 2
    meadows = order[woods:]
    cover[meadows[rng.random(len(meadows)) < style.meadow_share]] = 1
    return cover


def _street_mask(layout: Layout, gsd_m: float) -> NDArray[np.uint8]:
    mask = np.zeros(layout.terrain_m.shape, np.uint8)
    for street in layout.streets:
        width = max(1, round((street.width_m + 2) / gsd_m))
        cv2.polylines(mask, [np.round(street.line).astype(np.int32)], False, 1, width)
    return mask


def _change_buildings(
    rng: np.random.Generator, buildings: list[Building], share: float
) -> tuple[list[Building], list[Building]]:
    """Return (as the map knows them, as they stand today): some built, some gone, some with another roof."""
    fate = rng.random(len(buildings))
    older = [b for b, f in zip(buildings, fate, strict=True) if f > share * 0.35]
    newer = []
    for building, luck in zip(buildings, fate, strict=True):
        if share * 0.35 < luck <= share * 0.65:
            continue
        new_roof = share * 0.65 < luck <= share
        roof = (building.roof * rng.uniform(0.6, 1.4)).astype(np.float32) if new_roof else building.roof
        newer.append(replace(building, roof=roof))
    return older, newer
