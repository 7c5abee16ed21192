"""What kind of country a seed is: sizes and shares drawn once per world, colours and light drawn once per day."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True)
class Style:
    """The character of a world, the same on every day."""

    relief_m: float
    field_m: float
    bend_m: float
    wood_share: float
    meadow_share: float
    pond_share: float
    river_m: float
    towns_per_km2: float
    town_radius_m: float
    block_m: float
    roads: int
    tracks: int
    industry: float  # share of large flat roofs
    tree_density: float  # gardens and hedges
    crown_m: float  # typical distance between crowns in a wood
    orchard_share: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Style:
        """Draw a country."""
        return cls(
            relief_m=rng.uniform(3, 11),
            field_m=rng.uniform(70, 190),
            bend_m=rng.uniform(2, 14),
            wood_share=rng.uniform(0.10, 0.34),
            meadow_share=rng.uniform(0.15, 0.4),
            pond_share=rng.uniform(0.004, 0.03),
            river_m=float(rng.choice([0, 8, 16, 30, 45])),
            towns_per_km2=rng.uniform(0.5, 1.4),
            town_radius_m=rng.uniform(150, 330),
            block_m=rng.uniform(48, 90),
            roads=int(rng.integers(1, 4)),
            tracks=int(rng.integers(2, 6)),
            industry=rng.uniform(0.05, 0.35),
            tree_density=rng.uniform(0.3, 1.0),
            crown_m=rng.uniform(4.5, 7.5),
            orchard_share=rng.uniform(0, 0.06),
        )


@dataclass(frozen=True, slots=True)
class Day:
    """Season, sun and haze of one picture."""

    sun_azimuth_rad: float  # clockwise from north
    sun_elevation_rad: float
    grass: NDArray[np.float32]
    wood: NDArray[np.float32]
    autumn: float  # 0 green crowns .. 1 yellow, brown and bare
    crops: NDArray[np.float32]  # (K, 3) colours of the season
    soil: NDArray[np.float32]
    water: NDArray[np.float32]
    asphalt: NDArray[np.float32]
    gain: NDArray[np.float32]  # exposure and white balance
    haze: float
    contrast: float

    @classmethod
    def draw(cls, rng: np.random.Generator, country: np.random.Generator) -> Day:
        """Draw a day; `country` gives what stays the same from day to day (the soil) and must be fresh each time."""

        def near(colour: ArrayLike, bright: float, hue: float) -> NDArray[np.float32]:
            """Vary brightness a lot and hue a little: land is never pink."""
            return np.asarray((np.array(colour) * (1 + rng.normal(0, bright))) + rng.normal(0, hue, 3), np.float32)

        soil = np.array([132, 110, 86], np.float32) * (1 + country.normal(0, 0.14)) + country.normal(0, 1, 3) * [
            6,
            3,
            5,
        ]
        season = rng.uniform(0, 1)  # 0 spring .. 0.5 summer .. 1 late autumn
        dry = float(np.clip(season * 1.3 - 0.2 + rng.normal(0, 0.2), 0, 1))
        fresh, burnt = np.array([98, 122, 70], np.float32), np.array([150, 138, 92], np.float32)
        grass = near(fresh + dry * (burnt - fresh), 0.06, 3.5)
        crops = np.stack(
            [
                near(fresh, 0.1, 5),
                near([116, 134, 76], 0.1, 5),
                near([192, 174, 124], 0.1, 5),  # ripe
                near([166, 150, 108], 0.1, 5),  # stubble
                near(soil, 0.06, 3),  # ploughed
                near(soil * 1.22, 0.06, 3),
                near([82, 104, 62], 0.1, 4),
                grass,
            ]
        )
        tint = rng.uniform(-1, 1)
        return cls(
            sun_azimuth_rad=rng.uniform(np.radians(95), np.radians(265)),
            sun_elevation_rad=rng.uniform(np.radians(34), np.radians(62)),
            grass=grass.astype(np.float32),
            wood=near([66, 84, 50], 0.12, 4),
            autumn=float(np.clip((season - 0.62) * 2.4, 0, 0.9)),
            crops=crops.astype(np.float32),
            soil=soil.astype(np.float32),
            water=near([58, 74, 76], 0.25, 7),
            asphalt=(np.array([122, 120, 118]) + rng.normal(0, 10) + country.normal(0, 9)).astype(np.float32),
            gain=(rng.uniform(0.9, 1.12) * np.array([1 + 0.05 * tint, 1, 1 - 0.06 * tint])).astype(np.float32),
            haze=rng.uniform(0, 0.12),
            contrast=rng.uniform(0.9, 1.15),
        )
