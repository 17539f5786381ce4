#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a person installs, where they install it: the Debian packages of `./run package` in a guest that systemd runs,
with logind's sessions, and a player of an ordinary user.

usage: service_test.py --build DIR [--packages DIR] [--keep DIR] [--filter TEXT]"""

import argparse
import pathlib
import re
import shutil
import signal
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / name) for name in ("tools", "oracle", "demo", "vm")]
import login
import players
import seat as seats
import stage as staging
import staged
from cases import check

UNIT = "spice-overlay-agentd.service"
WANTED = ("spice-overlay-guest", "libspice-overlay-guest0", "gstreamer1.0-spice-overlay")
MOST_EXPOSED = 2.0  # of 10, by systemd-analyze
SECONDS = 60
HELD = "another session is shown, or the screen is locked"

seat = film = play = packages = None


def run(*command, **how):
    return seat.machine.run(*command, **how)


def journal():
    return run("journalctl", "-u", UNIT, "-o", "cat", "--no-pager", check=False)


def unit_property(name):
    return run("systemctl", "show", UNIT, "--value", "-p", name).strip()


def expect_redirected(seconds=SECONDS):
    frames = set()

    def wanted(verdict, _):
        frames.add(verdict.frames.get(1))
        return verdict.video_pixels == players.SIZE[0] * players.SIZE[1] and len(frames - {None}) >= 3

    video = play.video()
    try:
        seat.wait_right([video], seconds, wanted)
    except staging.Failure as failure:
        raise staging.Failure(f"{failure}; player: {play.process.tail()}; agent: {journal()[-600:]}") from None


def expect_suspended(then):
    """`then()` makes the agent take the stream from the client, which shows the guest's screen and no video."""
    before = journal().count(HELD)
    then()
    staging.wait_for(
        lambda: not seat.viewer.decoders() and journal().count(HELD) > before,
        SECONDS,
        lambda: f"the video to be taken away, with a reason: {seat.viewer.decoders()} {journal()[-600:]}",
        every=0.3,
    )
    seat.wait_right([])


def expect_again():
    play.find_placeholder()
    expect_redirected()


# ---- cases


def packages_install_and_the_service_takes_the_port_at_once():
    folder = seat.machine.outside / "packages"
    folder.mkdir()
    for package in packages:
        shutil.copy(package, folder)
    before = run("ls", "-l", seat.machine.port_path())
    check("root root" in before, f"the port was not the system's: {before}")
    print("    " + run("sh", "-c", "dpkg -i /outside/packages/*.deb 2>&1", seconds=300).replace("\n", "\n    "))
    staging.wait_for(
        lambda: unit_property("ActiveState") == "active", SECONDS, lambda: f"the service: {journal()}", every=0.3
    )
    staging.wait_for(
        lambda: "vport" in run("ls", "-l", f"/proc/{unit_property('MainPID')}/fd", check=False),
        SECONDS,
        lambda: f"the service to open the port: {run('ls', '-l', seat.machine.port_path())} {journal()}",
        every=0.3,
    )


def service_runs_as_its_own_user_with_nothing_it_does_not_need():
    status = run("cat", f"/proc/{unit_property('MainPID')}/status")
    find = lambda name: re.search(rf"^{name}:\s*(\S+)", status, re.M)[1]
    number = run("id", "-u", "spice-overlay").strip()
    check(find("Uid") == number != "0", status)
    check(int(find("CapEff"), 16) == int(find("CapBnd"), 16) == 0, status)
    check(find("NoNewPrivs") == "1" and find("Seccomp") == "2", status)
    said = run("systemd-analyze", "security", "--no-pager", UNIT, seconds=SECONDS)
    exposed = float(re.search(r"exposure level for \S+: ([0-9.]+)", said)[1])
    check(exposed < MOST_EXPOSED, said[-300:])
    print(f"    systemd-analyze: {exposed}; {unit_property('MemoryCurrent')} bytes of memory")


def player_of_an_ordinary_user_is_redirected():
    global play
    begun = players.Playing(seat, film, "gst-play", installed=True)
    check(run("ps", "-o", "uid=", "-p", begun.process.pid).strip() == str(seat.desk.session.user), "not the user's")
    begun.find_placeholder()
    play = begun
    expect_redirected()


def locked_screen_suspends_the_video_until_it_is_unlocked():
    # What a screen locker does when it is told to lock; `loginctl lock-session` alone only asks it to.
    session = seat.desk.session
    say = ["busctl", "call", "org.freedesktop.login1", "/org/freedesktop/login1/session/auto"]

    def hint(locked):
        seat.desk.run(*say, "org.freedesktop.login1.Session", "SetLockedHint", "b", str(locked).lower())
        check(session.property("LockedHint") == ("yes" if locked else "no"), "logind did not take it")

    expect_suspended(lambda: hint(True))
    hint(False)
    expect_again()


def session_of_another_user_hides_the_video_until_its_own_is_back():
    other = login.Session(seat.machine, "other", 2)
    try:
        expect_suspended(lambda: run("loginctl", "activate", other.id))
        check(seat.desk.session.property("Active") == "no", "the session did not change")
    finally:
        run("loginctl", "activate", seat.desk.session.id)
    expect_again()


def service_that_was_killed_comes_back_with_the_video():
    before = unit_property("MainPID")
    run("kill", "-KILL", before)
    staging.wait_for(
        lambda: unit_property("MainPID") not in ("0", before), SECONDS, lambda: f"another agent: {journal()}", every=0.3
    )
    expect_again()


def purged_packages_leave_nothing_behind_and_the_player_goes_on():
    files = run("dpkg", "-L", *WANTED).split()
    run("dpkg", "--purge", *WANTED, seconds=300)
    left = run("sh", "-c", 'for file; do [ -d "$file" ] || [ ! -e "$file" ] || echo "$file"; done', "sh", *files)
    look = "import glob, sys; print(*(p for top in sys.argv[1:] for p in glob.glob(f'{top}/**/*spice-overlay*', recursive=True)))"
    left += run("python3", "-c", look, "/etc", "/var/lib/systemd").strip()
    check(not left, f"left behind: {left}")
    check(not run("sh", "-c", "pgrep -x spice-overlay-a || :"), "the agent still runs")
    run("test", "!", "-e", "/run/spice-overlay/agent.sock")
    units = run("systemctl", "list-units", "--plain", "--no-legend", "spice-overlay*")  # that run, or have failed
    check(not units, f"left behind: {units}")
    staging.wait_for(
        lambda: play.shown_by_guest() >= players.LIKE_THE_FILM,
        SECONDS,
        lambda: f"the film in the guest: {play.process.tail()}",
    )


CASES = [
    packages_install_and_the_service_takes_the_port_at_once,
    service_runs_as_its_own_user_with_nothing_it_does_not_need,
    player_of_an_ordinary_user_is_redirected,
    locked_screen_suspends_the_video_until_it_is_unlocked,
    session_of_another_user_hides_the_video_until_its_own_is_back,
    service_that_was_killed_comes_back_with_the_video,
    purged_packages_leave_nothing_behind_and_the_player_goes_on,
]


def find_packages(folder):
    """The newest of each that is wanted."""
    found = []
    for name in WANTED:
        files = sorted(folder.glob(f"{name}_*.deb"), key=lambda file: file.stat().st_mtime)
        if not files:
            raise staging.Missing(f"no package {name} in {folder}: ./run package makes it")
        found.append(files[-1])
    return found


def set_up(stage, options):
    global seat, film, packages
    packages = find_packages(options.packages)
    film = players.Film(options.build / "test-clips")
    seat = seats.Seat(stage, session=login.XSession, systemd=True)


def one_plays(function):
    check(play or CASES.index(function) < 3, "no player is redirected")


def keep_pictures(function):
    seat.keep_pictures(function.__name__)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    parser = argparse.ArgumentParser()
    parser.add_argument("--packages", type=pathlib.Path, default=ROOT / "build-packages")
    staged.main("Service", [(function.__name__, function) for function in CASES], set_up, one_plays, parser, keep_pictures)


if __name__ == "__main__":
    main()
