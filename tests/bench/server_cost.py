# SPDX-License-Identifier: LGPL-2.1-or-later
"""What spice-server's own video streaming of a clip costs the server: what redirection is compared with."""

import pathlib
import re
import subprocess
import time

import stage as staging

SIZE = (1920, 1080)


def _server_threads(pid):
    """Processor time of all threads but the first, which plays the guest: it reads the frames and draws them."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks if int(task.name) != pid) / 1e9


def _drawn(host):
    return int((re.findall(r"^frame (\d+)", host.log(), re.M) or [0])[-1])


def _streamed(client):
    """Frames that came to spicy as those of a stream, in time or not."""
    return len(re.findall("video margin:|too late by", client.log()))


def streaming(stage, clip, seconds):
    """(cores of the server, frames a second drawn in the guest, of which so many came to spicy as a video stream)."""
    weston = staging.Weston(stage, "gl", SIZE)
    spice = stage.path("spice")
    decode = ["ffmpeg", "-v", "error", "-nostdin", "-re", "-stream_loop", "-1", "-i", clip, "-pix_fmt", "bgr0"]
    film = stage.start("film", [*decode, "-f", "rawvideo", "-"], stdout=subprocess.PIPE)
    host = stage.start("film-host", ["spice-overlay-film-host", spice, *SIZE], stdin=film.popen.stdout)
    staging.wait_for(
        lambda: spice.exists() or not host.alive, 20, lambda: f"the host's socket: {host.tail()}"
    )
    command = ["spicy", f"--uri=spice+unix://{spice}", "--full-screen", "--spice-disable-audio"]
    debug = {"SPICE_DEBUG": "1", "G_MESSAGES_DEBUG": "all"}
    client = stage.start("spicy", command, {**weston.environment, **debug})
    staging.wait_for(
        lambda: "display_handle_stream_create" in client.log(), 60,
        lambda: f"a video stream from spice-server: {host.tail()}; {client.tail()}", 0.2,
    )  # fmt: skip
    time.sleep(2)
    begin = time.monotonic()
    used, drawn, streamed = _server_threads(host.pid), _drawn(host), _streamed(client)
    time.sleep(seconds)
    used, drawn, streamed = _server_threads(host.pid) - used, _drawn(host) - drawn, _streamed(client) - streamed
    passed = time.monotonic() - begin
    if streamed < 2 * seconds or not host.alive:
        raise staging.Failure(f"spice-server streamed {streamed} frames of {drawn} in {passed:.0f} s: {host.tail()}")
    return used / passed, drawn / passed, streamed / passed
