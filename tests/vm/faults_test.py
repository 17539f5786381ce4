#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What goes wrong in a real guest while two players play there: one is stopped, others send garbage to the agent, the
client reads nothing any more, or comes and goes two hundred times. What the client shows must be right throughout, the
video be seen somewhere, and the agent must not grow.

usage: faults_test.py --build DIR [--keep DIR] [--filter TEXT]"""

import pathlib
import re
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "demo", "vm")]
import machine
import players
import seat as seats
import stage as staging
import staged
from cases import check

PLACES = {"gst-play": (5, 0), "spice-overlay-play": (370, 384)}  # frames included, and none over the other
# The second is more than may be in flight, in the seconds until a client is given up.
FACTORS = {"gst-play": 24, "spice-overlay-play": 12}
SECONDS = 120  # on a busy computer
RECONNECTS = 200
WHOLE_VIEWERS = 4  # of them; the others only open the port, since a viewer takes seconds
BUSY = 0.5  # of an emulated processor with a video through it, on a busy computer: a loop takes all of it
MOST_IN_FLIGHT = 512 << 10  # bytes, of all videos, as the agent promises
ROUND_IT = 64 << 10  # bytes: geometry, questions, the end of the conversation
MOST_GROWN = 4096  # KiB; what it keeps of two videos differs by that much from moment to moment
GARBAGE = (pathlib.Path(__file__).parent / "guest/garbage.py").read_text()

seat = agent = None
playing = {}  # player's name -> Playing


# ---- what is looked at


def expect_right(*names, seconds=SECONDS):
    """Waits until the client shows the videos of these players, each of them going on, and the guest's screen
    everywhere else."""
    videos, seen = [playing[name].video() for name in names], [set() for _ in names]
    for index, video in enumerate(videos):
        video.index = index + 1

    def wanted(verdict, _):
        for index, frames in enumerate(seen):
            frames.add(verdict.frames.get(index + 1))
        whole = sum(video.target[2] * video.target[3] for video in videos)
        return verdict.video_pixels == whole and all(len(frames - {None}) >= 3 for frames in seen)

    seat.wait_right(videos, seconds, wanted)


def descriptors_and_memory(process):
    """How many descriptors, and KiB of memory."""
    said = seat.machine.run("sh", "-c", f"ls /proc/{process.pid}/fd | wc -l; grep VmRSS /proc/{process.pid}/status")
    return tuple(map(int, re.findall(r"\d+", said)))


def cpu_share(process, seconds=4):
    """Of one processor of the guest, by its own clock."""

    def used():
        said = seat.machine.run("sh", "-c", f"cat /proc/{process.pid}/stat /proc/uptime")
        fields = said.rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12]), float(fields[-2]) * 100

    begin = used()
    time.sleep(seconds)
    end = used()
    return (end[0] - begin[0]) / (end[1] - begin[1])


def written():
    """Bytes that the agent has written to the port: its sockets are not counted there."""
    return int(re.search(r"wchar: (\d+)", seat.machine.run("cat", f"/proc/{agent.process.pid}/io"))[1])


def expect_local(*names):
    """Waits until the guest's own screen shows the film in these players' windows."""
    for name in names:
        staging.wait_for(
            lambda: playing[name].shown_by_guest() >= players.LIKE_THE_FILM,
            SECONDS,
            lambda: f"the film in the guest, by {name}: {playing[name].process.tail(2)}; agent: {agent.process.tail()}",
            every=0.2,
        )


def check_agent_has_not_grown(before):
    """A moment may pass until the last of who has gone is forgotten."""
    now = []

    def flat():
        now[:] = descriptors_and_memory(agent.process)
        return now[0] <= before[0] and now[1] <= before[1] + MOST_GROWN

    staging.wait_for(flat, 20, lambda: f"an agent of {before} (descriptors, KiB), and not {now}", every=0.5)
    print(f"    agent: {before[0]} descriptors and {before[1]} KiB before, {now[0]} and {now[1]} after")


# ---- cases


def two_players_at_once_are_shown_side_by_side():
    for name, place in PLACES.items():
        play = players.Playing(seat, films[name], name)
        seat.desk.xdotool("windowmove", play.window, *place)
        play.find_placeholder(SECONDS)
        playing[name] = play
    check(playing["gst-play"].colour != playing["spice-overlay-play"].colour, "both have the same colour")
    expect_right(*PLACES)


def a_stopped_player_leaves_no_picture_and_returns_when_it_goes_on():
    stopped, other = playing["gst-play"], "spice-overlay-play"
    stopped.process.signal(signal.SIGSTOP)
    try:
        # Its window can be moved, and nobody follows it.
        seat.desk.xdotool("windowmove", stopped.window, 60, 2)
        expect_right(other)
        share = cpu_share(agent.process)
        check(share < BUSY, f"the agent takes {share:.0%} of a processor beside a stopped player")
        seat.desk.xdotool("windowmove", stopped.window, *PLACES["gst-play"])
        expect_right(other)
    finally:
        stopped.process.signal(signal.SIGCONT)
    begin = time.monotonic()
    expect_right(*PLACES)
    print(f"    agent: {share:.1%} of an emulated processor meanwhile; right again after {time.monotonic() - begin:.1f} s")


def garbage_from_a_local_peer_troubles_nobody():
    before = descriptors_and_memory(agent.process)
    said = seat.machine.run("python3", "-c", GARBAGE, 1, user=1000, seconds=90)
    check("left: 0" in said, f"the agent has not closed every connection: {said}")
    expect_right(*PLACES)
    check(agent.process.alive, agent.process.tail())
    check_agent_has_not_grown(before)


def client_that_reads_nothing_gets_little_and_the_guest_plays():
    """Whatever a stalled client has been sent is seen late, all of it, when it goes on."""
    before = written()
    viewer = seat.viewer.process.popen
    viewer.send_signal(signal.SIGSTOP)
    try:
        agent.process.wait_log("the client reads nothing any more", SECONDS)
        expect_local(*PLACES)
        sent = written() - before
        check(sent <= MOST_IN_FLIGHT + ROUND_IT, f"{sent} bytes were sent to a client that reads nothing")
        share = cpu_share(agent.process)
        check(share < BUSY, f"the agent takes {share:.0%} of a processor beside a stalled client")
    finally:
        viewer.send_signal(signal.SIGCONT)
    expect_right(*PLACES)
    print(f"    {sent >> 10} KiB were sent to it; agent: {share:.1%} of an emulated processor meanwhile")


def two_hundred_clients_come_and_go_and_nothing_grows():
    before = descriptors_and_memory(agent.process)
    players_before = {name: descriptors_and_memory(play.process)[0] for name, play in playing.items()}
    begin = time.monotonic()
    _end_viewer()
    for number in range(RECONNECTS):
        if number % (RECONNECTS // WHOLE_VIEWERS) == 0:
            seat.connect()
            staging.wait_for(
                lambda: len(seat.viewer.decoders()) == 2,
                SECONDS,
                lambda: f"both videos at client {number}: {seat.viewer.process.tail()}; {agent.process.tail()}",
            )
            _end_viewer()
        else:
            _bare_client(number)
    print(f"    {RECONNECTS} clients in {time.monotonic() - begin:.0f} s, {WHOLE_VIEWERS} of them whole viewers")
    seat.connect()
    expect_right(*PLACES)
    check_agent_has_not_grown(before)
    for name, play in playing.items():
        now = descriptors_and_memory(play.process)[0]
        # The element has given its inner decoder back, and the library keeps one connection.
        check(now <= players_before[name] + 2, f"{name} has {now} descriptors and had {players_before[name]}")


def _end_viewer():
    seat.viewer.process.popen.kill()
    seat.viewer.process.wait(10)


def _bare_client(number):
    """Opens the port, sees the agent greet, and goes without a word."""
    client = subprocess.Popen(
        [seat.stage.program("spice-overlay-port"), "hello", seat.machine.uri, "--name", machine.VIDEO_PORT],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        seen, deadline = b"", time.monotonic() + SECONDS
        while b"SpiceOvl" not in seen:
            piece = client.stdout.read1(4096)
            seen += piece
            check(piece and time.monotonic() < deadline, f"client {number} saw no HELLO: {seen[-80:]!r}")
    finally:
        client.kill()
        client.wait()
        client.stdin.close()
        client.stdout.close()


def one_of_two_players_killed_leaves_the_other():
    playing["spice-overlay-play"].process.signal(signal.SIGKILL)
    playing["spice-overlay-play"].process.wait(10)
    expect_right("gst-play")
    playing["gst-play"].process.signal(signal.SIGKILL)
    playing["gst-play"].process.wait(10)
    seat.wait_right()
    share = cpu_share(agent.process)
    check(share < 0.02, f"the agent takes {share:.0%} of a processor with nothing to do")


CASES = [
    two_players_at_once_are_shown_side_by_side,
    a_stopped_player_leaves_no_picture_and_returns_when_it_goes_on,
    garbage_from_a_local_peer_troubles_nobody,
    client_that_reads_nothing_gets_little_and_the_guest_plays,
    two_hundred_clients_come_and_go_and_nothing_grows,
    one_of_two_players_killed_leaves_the_other,
]


def set_up(stage, options):
    global seat, agent, films
    films = {name: players.Film(options.build / "test-clips", factor) for name, factor in FACTORS.items()}
    seat = seats.Seat(stage)
    agent = players.Agent(seat)


def both_play(function):
    check(len(playing) == 2 or function is CASES[0], "the players did not begin")


def keep_pictures(function):
    seat.keep_pictures(function.__name__)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    chosen = [(function.__name__, function) for function in CASES]
    staged.main("Faults", chosen, set_up, both_play, after_failure=keep_pictures)


if __name__ == "__main__":
    main()
