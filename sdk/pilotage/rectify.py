"""Turn a tilted, turned, distorted frame into a north-up, metric patch of ground. One warp per frame."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pilotage.contract import FILL_RGB
from pilotage.values import Frame, Rgb, Verdict


@dataclass(frozen=True, slots=True)
class RectifyConfig:
    """What a frame must be like to be used."""

    max_tilt_deg: float = 30.0  # of the optical axis off nadir
    min_coverage: float = 0.35  # of the patch that the frame sees
    max_blowup: float = 3.0  # frame ground pixel / patch pixel: above it the frame is too coarse
    min_contrast: float = 2.0  # grey levels, 1 sigma: below it the picture is black, blank or white


@dataclass(frozen=True, slots=True)
class Patch:
    """A north-up square of ground as the camera saw it."""

    image: Rgb  # (side, side, 3), FILL_RGB where the frame saw nothing
    covered: NDArray[np.bool_]  # (side, side)
    gsd_m: float
    offset_north_m: float  # centre of the patch minus the point below the camera
    offset_east_m: float


def _image_verdict(frame: Frame, min_contrast: float) -> Verdict | None:
    image = frame.image
    if image.dtype != np.uint8 or image.shape != (frame.camera.height, frame.camera.width, 3):
        return Verdict.BAD_IMAGE
    sample = image[::8, ::8].astype(np.float32)
    return Verdict.BAD_IMAGE if float(sample.mean(axis=2).std()) < min_contrast else None


def _view(frame: Frame, config: RectifyConfig) -> tuple[NDArray[np.float64], NDArray[np.float64]] | Verdict:
    """Return (ned_from_camera, optical axis in NED) or why this frame cannot be used."""
    if not all(math.isfinite(angle) for angle in (frame.roll_rad, frame.pitch_rad, frame.yaw_rad)):
        return Verdict.BAD_ATTITUDE
    if not (math.isfinite(frame.height_m) and frame.height_m > 0):
        return Verdict.BAD_HEIGHT
    ned_from_camera = frame.camera.ned_from_camera(frame.roll_rad, frame.pitch_rad, frame.yaw_rad)
    axis = ned_from_camera[:, 2]
    if axis[2] < math.cos(math.radians(config.max_tilt_deg)):
        return Verdict.TILT_OUT_OF_RANGE
    return ned_from_camera, axis


def rectify(
    frame: Frame, *, ground_size_m: float, side_px: int, turn_rad: float = 0.0, config: RectifyConfig
) -> Patch | Verdict:
    """Warp the frame to a north-up patch about where the optical axis meets the ground.

    `turn_rad` is added to the heading: the hypothesis that the compass is off by that much.
    """
    bad = _image_verdict(frame, config.min_contrast)
    if bad is not None:
        return bad
    view = _view(frame, config)
    if isinstance(view, Verdict):
        return view
    ned_from_camera, axis = view
    gsd_m = ground_size_m / side_px
    frame_gsd_m = frame.height_m / min(frame.camera.fx, frame.camera.fy)
    if frame_gsd_m > config.max_blowup * gsd_m:
        return Verdict.TOO_HIGH
    if turn_rad:
        c, s = math.cos(turn_rad), math.sin(turn_rad)
        ned_from_camera = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ ned_from_camera
        axis = ned_from_camera[:, 2]
    centre_ne = axis[:2] * (frame.height_m / axis[2])
    shrink = max(1, int(gsd_m / frame_gsd_m))
    patch_from_source, image = _homography(
        frame, ned_from_camera, centre_ne=centre_ne, gsd_m=gsd_m, side_px=side_px, shrink=shrink
    )
    warped = cv2.warpPerspective(
        image, patch_from_source, (side_px, side_px), flags=cv2.INTER_LINEAR, borderValue=FILL_RGB
    )
    covered = _coverage(image.shape[:2], patch_from_source, side_px)
    if covered.mean() < config.min_coverage:
        return Verdict.TOO_LOW
    warped[~covered] = FILL_RGB
    return Patch(np.asarray(warped, np.uint8), covered, gsd_m, float(centre_ne[0]), float(centre_ne[1]))


def _homography(
    frame: Frame,
    ned_from_camera: NDArray[np.float64],
    *,
    centre_ne: NDArray[np.float64],
    gsd_m: float,
    side_px: int,
    shrink: int,
) -> tuple[NDArray[np.float64], Rgb]:
    """Return (patch_from_image 3x3, the undistorted and shrunk image it applies to)."""
    camera, image = frame.camera, frame.image
    if camera.distorted:
        image = np.asarray(cv2.undistort(image, camera.matrix, np.asarray(camera.dist)), np.uint8)
    matrix = camera.matrix
    if shrink > 1:
        image = np.asarray(
            cv2.resize(image, (camera.width // shrink, camera.height // shrink), interpolation=cv2.INTER_AREA),
            np.uint8,
        )
        scale = np.diag([image.shape[1] / camera.width, image.shape[0] / camera.height, 1.0])
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        matrix = np.linalg.inv(half) @ scale @ half @ matrix  # pixel centres sit on integers
    middle = (side_px - 1) / 2
    # (column, row, 1) of the patch -> north, east, down from the camera
    ned_from_patch = np.array(
        [
            [0.0, -gsd_m, middle * gsd_m + centre_ne[0]],
            [gsd_m, 0.0, -middle * gsd_m + centre_ne[1]],
            [0.0, 0.0, frame.height_m],
        ]
    )
    image_from_patch = matrix @ ned_from_camera.T @ ned_from_patch
    return np.linalg.inv(image_from_patch), image


def _coverage(image_shape: tuple[int, int], patch_from_image: NDArray[np.float64], side_px: int) -> NDArray[np.bool_]:
    """Return which patch pixels the image reaches: its outline, filled."""
    rows, columns = image_shape
    outline = np.array([[0, 0], [columns - 1, 0], [columns - 1, rows - 1], [0, rows - 1]], np.float64)
    homogeneous = np.column_stack([outline, np.ones(4)]) @ patch_from_image.T
    mask = np.zeros((side_px, side_px), np.uint8)
    if np.all(homogeneous[:, 2] * homogeneous[0, 2] > 0):
        corners = homogeneous[:, :2] / homogeneous[:, 2:]
        cv2.fillConvexPoly(mask, np.round(np.clip(corners, -1e4, 1e4)).astype(np.int32), 1)
        mask = np.asarray(cv2.erode(mask, np.ones((3, 3), np.uint8), borderValue=1), np.uint8)
    return np.asarray(mask, dtype=bool)
