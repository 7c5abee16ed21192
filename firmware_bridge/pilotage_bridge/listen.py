"""Listens to MAVLink on a UDP port in a process of its own, and reports what it decoded."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from pilotage.errors import LinkError
from pilotage_bridge.ledger import Ledger

_POLL_S = 0.1  # how soon a signal is noticed
_DRAIN_DATAGRAMS = 10_000  # taken from the socket after the end, at most


@dataclass(frozen=True, slots=True)
class ListenConfig:
    """Where to listen, and until when. With neither limit: until SIGINT or SIGTERM."""

    host: str = "127.0.0.1"
    port: int = 14550  # 0 takes a free one
    seconds: float | None = None  # from the start
    idle_s: float | None = None  # of silence, after the first datagram
    json_path: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise LinkError(f"port {self.port}: give a number from 1 to 65535, or 0 for any free one")
        for name, value in (("seconds", self.seconds), ("idle_s", self.idle_s)):
            if value is not None and not value > 0:
                raise LinkError(f"{name} is {value}: give a positive number of seconds")
        if self.json_path is not None and not self.json_path.parent.is_dir():
            raise LinkError(f"{self.json_path}: no folder {self.json_path.parent}: make it first")


def listen(config: ListenConfig, *, say: Callable[[str], object]) -> dict[str, Any]:
    """Listen until the configuration or a signal says stop, write the report, and return it.

    The first thing said is `listening on HOST:PORT`, when datagrams can be received.
    """
    with _bind(config) as receiver, _stop_signals() as stopped:
        host, port = receiver.getsockname()[:2]
        say(f"listening on {host}:{port}")
        ledger = Ledger()
        _receive(receiver, ledger, config, stopped=stopped)
    report = ledger.report()
    if config.json_path is not None:
        _write(config.json_path, report)
    return report


def summary(report: dict[str, Any]) -> str:
    """Say in a few lines what was heard."""
    if not report["datagrams"]:
        return "heard nothing"
    kinds = ", ".join(f"{count} {name}" for name, count in report["messages"].items()) or "none"
    bad = ("bad_packets", "truncated_packets", "unknown_packets", "mavlink1_packets", "sequence_lost")
    lines = [
        f"decoded {report['decoded']} messages, {report['bytes']} bytes: {kinds}",
        ", ".join(f"{name.replace('_', ' ')} {report[name]}" for name in bad),
    ]
    last = report["last_position"]
    if last is not None:
        lines.append(f"last position {last['lat']:.7f}, {last['lon']:.7f}, 1-sigma {last['eph_m']} m")
    return "\n".join(lines)


def _bind(config: ListenConfig) -> socket.socket:
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    receiver = socket.socket(family, socket.SOCK_DGRAM)
    receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)  # the kernel gives what it allows
    try:
        receiver.bind((config.host, config.port))
    except OSError as error:
        receiver.close()
        reason = error.strerror or str(error)
        remedy = "stop what listens there, or give another --port (0 takes a free one)"
        raise LinkError(f"cannot listen on {config.host}:{config.port} ({reason}): {remedy}") from error
    return receiver


def _receive(receiver: socket.socket, ledger: Ledger, config: ListenConfig, *, stopped: Callable[[], bool]) -> None:
    start = heard = time.monotonic()
    receiver.settimeout(_POLL_S)
    while not stopped():
        now = time.monotonic()
        if config.seconds is not None and now - start >= config.seconds:
            break
        if config.idle_s is not None and ledger.datagrams and now - heard >= config.idle_s:
            break
        try:
            datagram = receiver.recv(65536)
        except (TimeoutError, InterruptedError):
            continue
        heard = time.monotonic()
        ledger.take(datagram, time_s=time.time())
    receiver.setblocking(False)
    with contextlib.suppress(BlockingIOError):  # what had come before we stopped counts too
        for _ in range(_DRAIN_DATAGRAMS):
            ledger.take(receiver.recv(65536), time_s=time.time())


@contextlib.contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn SIGINT and SIGTERM into a question that can be asked."""
    seen: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        seen.append(number)

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(seen)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _write(path: Path, report: dict[str, Any]) -> None:
    """Write the whole report or nothing."""
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            json.dump(report, file, allow_nan=False)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise LinkError(f"{path}: cannot write the report ({error.strerror}): give another --json FILE") from error
