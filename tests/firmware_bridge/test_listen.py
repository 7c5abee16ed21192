"""The listener, as a process of its own, against what was sent and against bytes nobody should send."""

import json
import random
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from pilotage_bridge.dialect import mavlink
from pilotage_bridge.ledger import Ledger
from pilotage_bridge.link import MavlinkOut
from pilotage_bridge.listen_cli import main
from pilotage_bridge.publisher import Publisher


@pytest.fixture
def listener(tmp_path):
    """Start a listener and return (process, port, report file); it is killed if the test does not end it."""
    running = []

    def start(*arguments):
        report = tmp_path / "heard.json"
        command = [sys.executable, "-m", "pilotage_bridge.listen_cli", "--port", "0", "--json", str(report)]
        process = subprocess.Popen([*command, *arguments], stdout=subprocess.PIPE, text=True)
        running.append(process)
        first = process.stdout.readline()
        match = re.fullmatch(r"listening on 127\.0\.0\.1:(\d+)\n", first)
        assert match, first
        return process, int(match[1]), report

    yield start
    for process in running:
        process.kill()
        process.wait()
        process.stdout.close()


def fixes_of(make_fix, count):
    spread = random.Random(7)
    for i in range(count):
        place = {"lat_deg": spread.uniform(-90, 90), "lon_deg": spread.uniform(-180, 180)}
        yield make_fix(i * 0.1, std_north_m=spread.uniform(0.5, 19), std_east_m=0.5, **place)


def test_listener_hears_every_fix_as_sent_between_corrupt_and_truncated_packets(listener, make_fix):
    process, port, report_file = listener()
    noise = random.Random(3)
    sent, corrupted, truncated = [], 0, 0
    with (
        MavlinkOut(f"udpout:127.0.0.1:{port}") as link,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other,
    ):
        publisher = Publisher(link)
        packer = mavlink.MAVLink(None, srcSystem=9, srcComponent=9)
        for i, fix in enumerate(fixes_of(make_fix, 100)):
            now_s = i * 0.1 + 0.05
            assert publisher.publish(fix, 80.0 + i, now_utc_s=1.79e9 + now_s, now_mono_s=now_s) > 0
            sent.append(fix)
            packet = bytearray(mavlink.MAVLink_heartbeat_message(18, 8, 0, 0, 4, 3).pack(packer))
            if i % 4 == 0:
                packet[noise.randrange(10, len(packet))] ^= 1 << noise.randrange(8)
                corrupted += 1
                other.sendto(packet, ("127.0.0.1", port))
            elif i % 4 == 1:
                truncated += 1
                other.sendto(packet[: noise.randrange(1, len(packet))], ("127.0.0.1", port))
            time.sleep(0.001)
        counts = link.counts
    process.terminate()
    assert process.wait(timeout=10) == 0
    report = json.loads(report_file.read_text())
    rows = report["gps_input"]
    assert [(r["lat"], r["lon"]) for r in rows] == [
        (round(f.lat_deg * 1e7) / 1e7, round(f.lon_deg * 1e7) / 1e7) for f in sent
    ]
    assert [r["eph_m"] for r in rows] == pytest.approx([f.std_horizontal_m for f in sent], rel=1e-6)
    assert [r["alt_m"] for r in rows] == [80.0 + i for i in range(100)]
    assert {r["fix_type"] for r in rows} == {3}
    assert [r["time_week_ms"] for r in rows] == [rows[0]["time_week_ms"] + 100 * i for i in range(100)]
    assert report["last_position"] == rows[-1]
    assert report["messages"] == {"GPS_INPUT": 100, "HEARTBEAT": 10, "STATUSTEXT": 1}
    assert report["sources"] == {"1/197": 111}
    assert report["decoded"] == counts.messages == 111
    assert (report["bad_packets"], report["truncated_packets"]) == (corrupted, truncated)
    assert report["datagrams"] == 111 + corrupted + truncated
    assert (report["sequence_lost"], report["mavlink1_packets"], report["unknown_packets"]) == (0, 0, 0)
    assert report["texts"] == ["Pilotage: fix acquired"]
    assert "decoded 111 messages" in process.stdout.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_listener_ends_cleanly_on_a_signal_with_what_had_arrived(listener, number):
    process, port, report_file = listener()
    with MavlinkOut(f"udpout:127.0.0.1:{port}") as link:
        for _ in range(20):
            link.send(mavlink.MAVLink_heartbeat_message(18, 8, 0, 0, 4, 3))
    process.send_signal(number)
    assert process.wait(timeout=5) == 0
    assert json.loads(report_file.read_text())["messages"] == {"HEARTBEAT": 20}
    assert [path.name for path in report_file.parent.iterdir()] == ["heard.json"]


def test_listener_ends_after_silence_but_not_before_the_first_packet(listener):
    process, port, report_file = listener("--idle-s", "0.2")
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=0.5)
    with MavlinkOut(f"udpout:127.0.0.1:{port}") as link:
        link.send(mavlink.MAVLink_heartbeat_message(18, 8, 0, 0, 4, 3))
    assert process.wait(timeout=5) == 0
    assert json.loads(report_file.read_text())["decoded"] == 1


def test_listener_ends_after_its_seconds_having_heard_nothing(listener):
    process, _, report_file = listener("--seconds", "0.2", "--idle-s", "0.05")
    assert process.wait(timeout=5) == 0
    report = json.loads(report_file.read_text())
    assert (report["datagrams"], report["first_s"], report["last_position"]) == (0, None, None)
    assert process.stdout.read() == "heard nothing\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "70000"], "from 1 to 65535"),
        (["--port", "0", "--seconds", "0"], "positive number of seconds"),
        (["--port", "0", "--idle-s", "nan"], "positive number of seconds"),
        (["--port", "0", "--json", "/no/such/folder/heard.json"], "make it first"),
        (["--port", "0", "--host", "not.an.address.invalid"], "cannot listen on"),
    ],
)
def test_listen_refuses_in_one_line(arguments, says, capsys):
    assert main(arguments) == 2
    heard = capsys.readouterr()
    assert says in heard.err
    assert heard.err.count("\n") == 1
    assert heard.out == ""


def test_listen_refuses_a_port_in_use(capsys):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        assert main(["--port", str(taken.getsockname()[1])]) == 2
    assert "stop what listens there" in capsys.readouterr().err


def test_listen_help_has_an_example_and_the_exit_codes(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "pilotage listen --port 14550" in text
    assert "exit codes:" in text


def frames(count, *, system=1):
    packer = mavlink.MAVLink(None, srcSystem=system, srcComponent=197)
    for _ in range(count):
        yield bytes(mavlink.MAVLink_heartbeat_message(18, 8, 0, 0, 4, 3).pack(packer))
        packer.seq = (packer.seq + 1) % 256


def heard(datagrams):
    ledger = Ledger()
    for datagram in datagrams:
        ledger.take(datagram, time_s=0.0)
    return ledger.report()


def test_ledger_counts_gaps_per_source_across_the_wrap():
    kept = [frame for i, frame in enumerate(frames(600)) if i not in (10, 255, 256, 257, 400)]
    mixed = [frame for pair in zip(kept, frames(595, system=2), strict=True) for frame in pair]
    report = heard(mixed)
    assert (report["sequence_gaps"], report["sequence_lost"], report["out_of_order"]) == (3, 5, 0)


def test_ledger_counts_duplicates_and_late_packets_without_inventing_losses():
    sent = list(frames(6))
    report = heard([sent[i] for i in (0, 1, 1, 3, 2, 4, 5)])
    assert (report["sequence_gaps"], report["sequence_lost"], report["out_of_order"]) == (1, 1, 2)


def test_ledger_takes_several_packets_in_one_datagram_and_the_rest_after_garbage():
    report = heard([b"".join(frames(5)), b"\x00garbage" + next(frames(1, system=3))])
    assert report["decoded"] == 6
    assert report["bad_packets"] == 1


def test_ledger_tells_mavlink_1_and_unknown_messages_apart():
    packer = mavlink.MAVLink(None, srcSystem=1, srcComponent=1)
    old = bytes(mavlink.MAVLink_heartbeat_message(18, 8, 0, 0, 4, 3).pack(packer, force_mavlink1=True))
    unknown = bytearray(next(frames(1, system=4)))
    unknown[7:10] = (0xFF, 0xFF, 0x7F)
    report = heard([old, bytes(unknown)])
    assert (report["mavlink1_packets"], report["unknown_packets"], report["decoded"]) == (1, 1, 1)


def test_ledger_survives_20000_hostile_datagrams_and_believes_none(make_fix, say):
    noise = random.Random(11)
    packer = mavlink.MAVLink(None, srcSystem=1, srcComponent=197)
    whole = [next(frames(1)), bytes(mavlink.MAVLink_statustext_message(6, b"hello").pack(packer))]
    hostile = []
    for i in range(20_000):
        if i % 3 == 0:
            hostile.append(noise.randbytes(noise.randrange(0, 120)))
        elif i % 3 == 1:  # a frame with one bit turned, anywhere but in the marker
            packet = bytearray(noise.choice(whole))
            packet[noise.randrange(1, len(packet))] ^= 1 << noise.randrange(8)
            hostile.append(bytes(packet))
        else:  # the marker, then anything
            hostile.append(bytes((noise.choice((0xFD, 0xFE)), noise.randrange(40))) + noise.randbytes(60))
    report = heard(hostile)
    assert report["datagrams"] == 20_000
    assert report["gps_input"] == []
    assert report["decoded"] <= 3  # a 16-bit checksum lets through one in 65536
    assert report["bad_packets"] + report["truncated_packets"] + report["unknown_packets"] > 15_000
    json.dumps(report, allow_nan=False)


def test_ledger_reports_a_nan_that_someone_sent_as_null():
    packer = mavlink.MAVLink(None, srcSystem=1, srcComponent=1)
    nan = float("nan")
    message = mavlink.MAVLink_gps_input_message(0, 0, 0, 0, 0, 3, 1, 2, nan, nan, nan, nan, nan, nan, nan, nan, nan, 0)
    row = heard([bytes(message.pack(packer))])["gps_input"][0]
    assert (row["alt_m"], row["eph_m"], row["velocity_north_m_s"]) == (None, None, None)
    json.dumps(row, allow_nan=False)
