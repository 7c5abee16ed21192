"""The way out: MAVLink 2 whatever the environment, whole frames, one line for an address that cannot be."""

import os
import socket
import subprocess
import sys
import termios

import pytest

from pilotage.errors import LinkError
from pilotage.values import TrackState
from pilotage_bridge.dialect import mavlink
from pilotage_bridge.heartbeat import Heartbeat
from pilotage_bridge.link import MavlinkOut
from pilotage_bridge.port import MAX_PENDING_BYTES, StreamPort


def heartbeat():
    return Heartbeat().messages(TrackState.TRACKING, now_mono_s=0.0)[0]


def decode(data):
    parser = mavlink.MAVLink(None)
    parser.robust_parsing = True
    return parser.parse_buffer(data) or []


@pytest.fixture
def receiver():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(5)
        yield udp


@pytest.mark.parametrize("form", ["udpout:127.0.0.1:{}", "udpout://127.0.0.1:{}", "udp:127.0.0.1:{}"])
def test_link_sends_mavlink2_over_udp_as_component_197(receiver, form):
    with MavlinkOut(form.format(receiver.getsockname()[1]), system_id=7) as link:
        written = link.send(heartbeat())
    frame = receiver.recv(1000)
    assert len(frame) == written
    assert frame[0] == 0xFD
    (message,) = decode(frame)
    assert (message.get_srcSystem(), message.get_srcComponent()) == (7, 197)


def test_link_numbers_frames_in_sequence_and_counts_bytes(receiver):
    with MavlinkOut(f"udpout:127.0.0.1:{receiver.getsockname()[1]}") as link:
        both = [(link.send(heartbeat()), receiver.recv(1000)) for _ in range(300)]
        sizes, frames = zip(*both, strict=True)
        assert (link.counts.messages, link.counts.bytes, link.counts.dropped) == (300, sum(sizes), 0)
    assert [frame[4] for frame in frames] == [i % 256 for i in range(300)]


@pytest.mark.parametrize("environment", [{}, {"MAVLINK20": "0"}, {"MAVLINK_DIALECT": "minimal"}])
def test_link_packs_mavlink2_in_any_environment(environment):
    code = """
from pymavlink import mavutil
from pilotage_bridge.link import MavlinkOut
from pilotage_bridge.heartbeat import Heartbeat
class Port:
    def write(self, frame): print(frame[0]); return True
    def close(self): pass
MavlinkOut("test", port=Port()).send(Heartbeat().messages(None, now_mono_s=0.0)[0])
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MAVLINK")}
    run = subprocess.run(
        [sys.executable, "-c", code], env=kept | environment, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == str(0xFD)


def test_link_to_a_port_where_nobody_listens_goes_on(receiver):
    number = receiver.getsockname()[1]
    receiver.close()
    with MavlinkOut(f"udpout:127.0.0.1:{number}") as link:
        assert all(link.send(heartbeat()) > 0 for _ in range(10))


def test_link_writes_a_tcp_stream_and_reads_away_what_comes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        with MavlinkOut(f"tcp:127.0.0.1:{server.getsockname()[1]}") as link:
            peer, _ = server.accept()
            peer.settimeout(5)
            for _ in range(50):
                peer.sendall(b"x" * 20_000)
                link.send(heartbeat())
        data = b"".join(iter(lambda: peer.recv(4096), b""))
        peer.close()
    assert [m.get_type() for m in decode(data)] == ["HEARTBEAT"] * 50


def test_link_counts_drops_and_does_not_raise_when_the_peer_goes():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        MavlinkOut(f"tcp:127.0.0.1:{server.getsockname()[1]}") as link,
    ):
        server.accept()[0].close()
        for _ in range(20):
            link.send(heartbeat())
        assert link.counts.dropped >= 18


def test_link_writes_a_serial_line_raw():
    near, far = os.openpty()
    with MavlinkOut(f"serial:{os.ttyname(far)}:921600") as link:
        for _ in range(5):
            link.send(heartbeat())
        assert termios.tcgetattr(far)[4] == termios.B921600
        data = b""
        while len(data) < link.counts.bytes:
            data += os.read(near, 4096)
    os.close(near)
    os.close(far)
    assert [m.get_type() for m in decode(data)] == ["HEARTBEAT"] * 5


def test_stream_port_never_leaves_half_a_frame_on_a_slow_line():
    near, far = socket.socketpair()
    far.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
    near.setblocking(False)
    port = StreamPort(far.detach())
    taken, received = [], b""
    for i in range(2000):
        frame = bytes([i % 250 + 1]) * 97
        if port.write(frame):
            taken.append(frame)
        if i % 200 == 199:  # the far end wakes up now and then
            received += near.recv(1 << 16)
    assert 0 < len(taken) < 2000
    port.close()
    near.setblocking(True)
    received += b"".join(iter(lambda: near.recv(4096), b""))
    near.close()
    assert b"".join(taken).startswith(received)
    assert len(b"".join(taken)) - len(received) <= MAX_PENDING_BYTES


def test_stream_port_holds_back_less_than_a_tenth_of_a_second():
    assert MAX_PENDING_BYTES * 10 / 230_400 < 0.1


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "write udpout:HOST:PORT"),
        ("14550", "write udpout:HOST:PORT"),
        ("http://example.org", "write udpout:HOST:PORT"),
        ("udpout:127.0.0.1", "no host and port"),
        ("udpout:127.0.0.1:", "no host and port"),
        ("udpout:127.0.0.1:99999", "no host and port"),
        ("udpout::14550", "no host and port"),
        ("tcp:127.0.0.1:port", "no host and port"),
        ("udpout:no-such-host.invalid:14550", "check the name"),
        ("serial:/dev/ttyUSB0", "no baud rate"),
        ("serial:", "no baud rate"),
        ("/dev/no-such-port:57600", "ls /dev/tty"),
        ("serial:///dev/null:57600", "is not a serial port"),
    ],
)
def test_link_refuses_an_address_in_one_line_with_the_remedy(uri, says):
    with pytest.raises(LinkError, match=says) as caught:
        MavlinkOut(uri)
    assert "\n" not in str(caught.value)


def test_link_refuses_a_tcp_port_where_nobody_listens(receiver):
    with pytest.raises(LinkError, match="is something listening there"):
        MavlinkOut(f"tcp:127.0.0.1:{receiver.getsockname()[1]}")


def test_link_refuses_a_baud_rate_that_is_none():
    near, far = os.openpty()
    with pytest.raises(LinkError, match="12345 baud is not a rate"):
        MavlinkOut(f"serial:{os.ttyname(far)}:12345")
    os.close(near)
    os.close(far)


@pytest.mark.parametrize(("system_id", "component_id"), [(0, 197), (256, 197), (1, 0)])
def test_link_refuses_an_id_that_is_none(system_id, component_id):
    with pytest.raises(LinkError, match="1 to 255"):
        MavlinkOut("udpout:127.0.0.1:14550", system_id=system_id, component_id=component_id)
