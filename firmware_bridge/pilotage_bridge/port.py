"""Where bytes go: UDP, TCP and serial ports that never block and never raise in flight."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import stat
from typing import Protocol

from pilotage.errors import LinkError

FORMS = "udpout:HOST:PORT, tcp:HOST:PORT or serial:/dev/ttyTHS1:921600"
CONNECT_S = 5.0
# What a slow line may lag behind before whole messages are dropped: 0.1 s of a 230400 baud line.
MAX_PENDING_BYTES = 2048


class Port(Protocol):
    """A way out for whole MAVLink frames."""

    def write(self, frame: bytes) -> bool:
        """Take the whole frame, or none of it and return False."""

    def close(self) -> None:
        """Free it."""


class UdpPort:
    """Datagrams to one address, one frame each."""

    def __init__(self, host: str, number: int) -> None:
        family, _, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_DGRAM)[0]
        self._address = address
        # Not connected: a connected socket reports "refused" whenever nobody listens yet.
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def write(self, frame: bytes) -> bool:
        """Send one datagram."""
        try:
            return self._socket.sendto(frame, self._address) == len(frame)
        except OSError:
            return False

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class StreamPort:
    """A byte stream over a non-blocking descriptor. A frame begun is finished before the next one starts.

    What comes in is read and thrown away, so that a peer that talks to us does not choke on a full window.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._pending = bytearray()
        self._broken = False
        os.set_blocking(descriptor, False)

    def write(self, frame: bytes) -> bool:
        """Queue the frame and write what the line takes now."""
        self._drain()
        self._flush()
        if self._broken or len(self._pending) + len(frame) > MAX_PENDING_BYTES:
            return False
        self._pending += frame
        self._flush()
        return not self._broken

    def _flush(self) -> None:
        try:
            while self._pending and not self._broken:
                del self._pending[: os.write(self._descriptor, self._pending)]
        except BlockingIOError:
            return
        except OSError:  # the peer closed, the adapter was pulled
            self._break()

    def _drain(self) -> None:
        try:
            if not self._broken and not os.read(self._descriptor, 65536):
                self._break()
        except BlockingIOError:
            return
        except OSError:
            self._break()

    def _break(self) -> None:
        self._broken = True
        self._pending.clear()

    def close(self) -> None:
        """Close the descriptor."""
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def open_port(uri: str) -> Port:
    """Open udpout:HOST:PORT (or udp:), tcp:HOST:PORT or serial:DEVICE:BAUD; // may follow the scheme."""
    scheme, _, rest = uri.partition(":")
    rest = rest.removeprefix("//")
    if uri.startswith("/dev/"):
        scheme, rest = "serial", uri
    if scheme == "serial":
        return StreamPort(_open_serial(uri, rest))
    if scheme not in ("udpout", "udp", "tcp"):
        raise LinkError(f"{uri!r} is not a MAVLink address we can send to: write {FORMS}")
    host, number = _host_and_number(uri, rest)
    try:
        if scheme == "tcp":
            return StreamPort(_connect(host, number))
        return UdpPort(host, number)
    except socket.gaierror as error:
        raise LinkError(
            f"{uri}: host {host!r} is not known ({error.strerror}): check the name or give its IP"
        ) from error
    except OSError as error:
        reason = error.strerror or "no answer"
        raise LinkError(f"{uri}: cannot connect ({reason}): is something listening there?") from error


def _host_and_number(uri: str, rest: str) -> tuple[str, int]:
    host, _, number = rest.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not re.fullmatch(r"[0-9]{1,5}", number) or not 0 < int(number) < 65536:
        raise LinkError(f"{uri!r}: no host and port (1-65535) in it: write {FORMS}")
    return host, int(number)


def _connect(host: str, number: int) -> int:
    with socket.create_connection((host, number), timeout=CONNECT_S) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection.detach()


def _open_serial(uri: str, rest: str) -> int:
    device, _, baud = rest.replace(",", ":").rpartition(":")
    if not device or not baud.isdigit():
        raise LinkError(f"{uri!r}: no baud rate in it: write serial:{rest or '/dev/ttyTHS1'}:921600, or the line's own")
    try:
        descriptor = os.open(device, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    except PermissionError as error:
        raise LinkError(
            f"{device}: permission denied: sudo usermod -aG {_group(device)} $USER, then log in again"
        ) from error
    except OSError as error:
        raise LinkError(f"{device}: cannot be opened ({error.strerror}): ls /dev/tty* shows what is there") from error
    try:
        _set_raw(descriptor, device, int(baud))
    except LinkError:
        os.close(descriptor)
        raise
    return descriptor


def _set_raw(descriptor: int, device: str, baud: int) -> None:
    import fcntl
    import termios

    speed = getattr(termios, f"B{baud}", None)
    if speed is None or baud == 0:
        raise LinkError(f"{device}: {baud} baud is not a rate of this system: use 57600, 115200 or 921600")
    try:
        fcntl.ioctl(descriptor, termios.TIOCEXCL)  # two writers on one line make garbage of both
        attributes = termios.tcgetattr(descriptor)
        attributes[0] = attributes[1] = attributes[3] = 0  # no translation, no echo, no flow control
        attributes[2] = termios.CS8 | termios.CREAD | termios.CLOCAL
        attributes[4] = attributes[5] = speed
        attributes[6][termios.VMIN], attributes[6][termios.VTIME] = 1, 0  # nothing to read is not the end
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
    except (termios.error, OSError) as error:
        raise LinkError(f"{device}: is not a serial port ({error}): ls /dev/tty* shows what is there") from error


def _group(device: str) -> str:
    import grp

    try:
        info = os.stat(device)
        return grp.getgrgid(info.st_gid).gr_name if stat.S_ISCHR(info.st_mode) else "dialout"
    except (OSError, KeyError):
        return "dialout"
