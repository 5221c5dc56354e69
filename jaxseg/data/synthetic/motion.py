"""Latent motion of one video: head bursts with return, talk, blinks, light, cuts.

The statistics are this project's own simulation of a person before a camera; they are
not fitted to a corpus. All rates are events per second, angles are in units of 30
degrees, so that the same generator serves any frame rate and any length.
"""

import math
from typing import NamedTuple

import numpy as np


class MotionRates(NamedTuple):
    """Hold the rates (per second), durations (seconds) and sizes of the motion."""

    activity_sd: float = 0.6
    rest_sd: float = 0.15
    burst: float = 0.18
    burst_seconds: tuple[float, float] = (0.35, 1.3)
    burst_sd: tuple[float, float, float] = (0.75, 0.4, 0.3)
    wave_probability: float = 0.3
    wave_sd: tuple[float, float, float] = (0.18, 0.3, 0.12)
    hold_seconds: float = 1.2
    return_probability: float = 0.65
    new_rest_probability: float = 0.2
    sway_tau: float = 1.5
    sway_sd: tuple[float, float, float] = (0.10, 0.07, 0.05)
    talk_seconds: float = 3.0
    talk: float = 1.0
    blink: float = 0.3
    light_tau: float = 4.0
    light_sd: float = 0.25
    light_step: float = 0.03
    light_step_sd: float = 0.8
    occluder: float = 0.03
    occluder_seconds: float = 3.0
    cut: float = 0.008
    cut_pose_sd: float = 0.5

    def scaled(self, activity: float) -> "MotionRates":
        """Return the rates with bursts, talk, light steps, occluders, cuts scaled."""
        names = ("burst", "talk", "light_step", "occluder", "cut")
        return self._replace(**{name: getattr(self, name) * activity for name in names})


class Latents(NamedTuple):
    """Hold one value per frame, each field [T] unless said.

    yaw (positive: the nose goes to the right of the image), pitch (positive: down) and
    roll (positive: clockwise) in units of 30 degrees; mouth 0 closed .. 1 open; eyes 0
    open .. 1 closed; light in log2 exposure and turn of its direction; occluder 0 away
    .. 1 before the face; scene counts the cuts; brow and smile about 0; gaze and drift
    [T, 2] (x, y), drift in head widths; tint about 0 (warm positive).
    """

    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    mouth: np.ndarray
    eyes: np.ndarray
    light: np.ndarray
    occluder: np.ndarray
    scene: np.ndarray
    brow: np.ndarray
    smile: np.ndarray
    gaze: np.ndarray
    drift: np.ndarray
    tint: np.ndarray

    def frame(self, index: int) -> dict[str, np.ndarray]:
        """Return the values of one frame by name."""
        return {name: value[index] for name, value in self._asdict().items()}


def sample_latents(
    rng: np.random.Generator, frames: int, fps: float, rates: MotionRates
) -> Latents:
    """Sample the latent motion of one person over `frames` frames."""
    activity = math.exp(rng.normal(0.0, rates.activity_sd))
    pose = _bursts(rng, frames, fps, rates, activity)
    for axis, deviation in enumerate(rates.sway_sd):
        sway = deviation * math.sqrt(activity)
        pose[:, axis] += _wander(rng, frames, fps, rates.sway_tau, sway)
    scene = np.cumsum(_events(rng, frames, fps, rates.cut))
    offsets = rng.normal(0.0, rates.cut_pose_sd, (scene[-1] + 1, 3)) * (1, 0.4, 0.3)
    offsets[0] = 0.0
    pose += offsets[scene]
    pose = np.array([1.6, 0.95, 0.9]) * np.tanh(pose / np.array([1.6, 0.95, 0.9]))
    light = _wander(rng, frames, fps, rates.light_tau, rates.light_sd)
    steps = _events(rng, frames, fps, rates.light_step)
    light = light + _settle(steps * rng.normal(0.0, rates.light_step_sd, frames), fps)
    step = np.diff(pose[:, :2], axis=0, prepend=pose[:1, :2])
    lead = np.clip(step * fps * 0.5, -0.5, 0.5)
    return Latents(
        yaw=pose[:, 0],
        pitch=pose[:, 1],
        roll=pose[:, 2],
        mouth=_talk(rng, frames, fps, rates),
        eyes=_blinks(rng, frames, fps, rates.blink),
        light=np.clip(light, -1.6, 1.3),
        occluder=_occluder(rng, frames, fps, rates),
        scene=scene,
        brow=_wander(rng, frames, fps, 0.8, 0.35),
        smile=_wander(rng, frames, fps, 2.0, 0.3),
        gaze=_saccades(rng, frames, fps) + lead,
        drift=np.stack([_wander(rng, frames, fps, 3.0, 0.09) for _ in "xy"], 1),
        tint=_wander(rng, frames, fps, 6.0, 0.3),
    )


def _events(rng, frames: int, fps: float, rate: float) -> np.ndarray:
    happened = rng.random(frames) < rate / fps
    happened[:1] = False
    return happened.astype(np.int64)


def _wander(rng, frames: int, fps: float, tau: float, deviation: float) -> np.ndarray:
    keep = math.exp(-1.0 / (tau * fps))
    noise = rng.normal(0.0, math.sqrt(1 - keep * keep), frames)
    noise[0] = rng.normal()
    out = np.empty(frames)
    value = 0.0
    for index in range(frames):
        value = keep * value + noise[index]
        out[index] = value
    # A short average takes off the jitter that a head on a neck cannot make.
    width = max(1, round(fps / 6))
    padded = np.pad(out, (width - 1, 0), mode="edge")
    return deviation * np.convolve(padded, np.ones(width) / width, mode="valid")


def _settle(steps: np.ndarray, fps: float) -> np.ndarray:
    # A lamp that is switched leaves slowly towards the old exposure (auto exposure).
    keep = math.exp(-1.0 / (12.0 * fps))
    out, value = np.empty(len(steps)), 0.0
    for index, step in enumerate(steps):
        value = keep * value + step
        out[index] = value
    return out


def _bursts(rng, frames, fps, rates: MotionRates, activity: float) -> np.ndarray:
    rest = rng.normal(0.0, rates.rest_sd, 3)
    path, place, away = [], rest, False
    count = 0
    while count < frames:
        wait = rates.hold_seconds if away else 1.0 / max(rates.burst * activity, 1e-6)
        hold = min(frames, int(rng.exponential(wait) * fps) + 1)
        path.append(np.broadcast_to(place, (hold, 3)))
        target = rest
        if not away or rng.random() > rates.return_probability:
            target = rest + rng.normal(0.0, rates.burst_sd)
        length = max(3, int(rng.uniform(*rates.burst_seconds) * fps))
        path.append(_move(rng, place, target, length, rates))
        away, place = target is not rest, target
        if away and rng.random() < rates.new_rest_probability:
            # Pulled half way back, or the rest would walk off within minutes.
            rest, away = 0.5 * target, False
        count += hold + length
    return np.concatenate(path)[:frames].copy()


def _move(rng, start, target, length: int, rates: MotionRates) -> np.ndarray:
    time = np.arange(1, length + 1)[:, None] / length
    path = start + (target - start) * time**3 * (10 - 15 * time + 6 * time**2)
    if rng.random() < rates.wave_probability:
        periods = rng.integers(1, 3)
        amplitude = rng.normal(0.0, rates.wave_sd)
        path = path + amplitude * np.sin(2 * np.pi * periods * time)
    return path


def _talk(rng, frames: int, fps: float, rates: MotionRates) -> np.ndarray:
    share = rng.uniform(0.4, 1.4) * rates.talk
    on = rng.random() < share**2 / (1 + share**2)
    gate = np.zeros(frames)
    start = 0
    while start < frames:
        mean = rates.talk_seconds * (share if on else 1 / share)
        stop = start + max(2, int(rng.exponential(mean) * fps))
        gate[start:stop] = on
        start, on = stop, not on
    width = max(1, round(0.25 * fps))
    level = rng.normal(0.5, 0.5, frames + width - 1)
    level = np.abs(np.convolve(level, np.ones(width) / width, mode="valid"))
    phase = 2 * np.pi * np.cumsum(3.75 + 1.25 * _wander(rng, frames, fps, 0.5, 0.8))
    ramp = np.convolve(np.pad(gate, (2, 0), mode="edge"), np.ones(3) / 3, mode="valid")
    return np.clip(0.7 * level * (1 + np.sin(phase / fps)) * ramp, 0.0, 1.2)


def _blinks(rng, frames: int, fps: float, rate: float) -> np.ndarray:
    profile = np.array([0, 0.4, 0.9, 1, 1, 0.8, 0.5, 0.2, 0])
    length = max(3, round(7 * fps / 30))
    shape = np.interp(np.linspace(0, 8, length + 2)[1:-1], np.arange(9), profile)
    out = np.zeros(frames + length)
    for start in np.flatnonzero(rng.random(frames) < rate / fps):
        out[start : start + length] = np.maximum(out[start : start + length], shape)
    return out[:frames]


def _occluder(rng, frames: int, fps: float, rates: MotionRates) -> np.ndarray:
    out = np.zeros(frames)
    ramp = max(2, round(8 * fps / 30))
    for start in np.flatnonzero(_events(rng, frames, fps, rates.occluder)):
        length = 2 * ramp + int(rng.exponential(rates.occluder_seconds) * fps)
        time = np.arange(length)
        rise = np.clip(np.minimum(time + 1, length - time) / ramp, 0, 1)
        stop = min(frames, start + length)
        smooth = (rise * rise * (3 - 2 * rise))[: stop - start]
        out[start:stop] = np.maximum(out[start:stop], smooth)
    return out


def _saccades(rng, frames: int, fps: float) -> np.ndarray:
    out = np.zeros((frames, 2))
    start = 0
    while start < frames:
        stop = start + max(2, int(rng.exponential(1.5) * fps))
        out[start:stop] = rng.normal(0.0, (0.3, 0.15))
        start = stop
    return np.clip(out, -0.7, 0.7)
