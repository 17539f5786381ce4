#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes clips.bin, the film that spice-overlay-doctor has in it: run by hand, with ffmpeg and its encoders.

Little-endian numbers of 32 bits: for each clip the codec (wire::Codec), width, height, number of units; for each unit its
size, and its bytes."""

import pathlib
import struct
import subprocess
import tempfile

COUNT, RATE = 15, 30
SIZES = [(1920, 1080), (3840, 2160)]
ENCODERS = {  # all without reordering, so that a unit is a picture
    1: "libx264 -preset veryslow -crf 34 -bf 0 -g 99",
    2: "libx265 -preset slow -crf 36 -x265-params log-level=error:bframes=0:info=0:keyint=99",
    4: "libvpx-vp9 -crf 50 -b:v 0 -lag-in-frames 0 -auto-alt-ref 0 -g 99",
    5: "libaom-av1 -crf 50 -b:v 0 -cpu-used 6 -lag-in-frames 0 -g 99 -usage realtime",
}


def output_of(*command):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True).stdout


def units_of(encoder, width, height, folder):
    film = folder / "film.nut"
    side = height // 6
    graph = (
        f"smptehdbars=s={width}x{height}:r={RATE}[bars];color=c=white:s={side}x{side}:r={RATE}[box];"
        f"[bars][box]overlay=x='{width // 8}+t*{width}':y={height // 3}:shortest=1,format=yuv420p,"
        "setparams=range=unknown:colorspace=unknown:color_primaries=unknown:color_trc=unknown"
    )
    output_of("ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-filter_complex", graph, "-frames:v", COUNT, "-c:v",
              *encoder.split(), "-bsf:v", "dump_extra", film)  # fmt: skip
    sizes = output_of("ffprobe", "-loglevel", "error", "-show_entries", "packet=size", "-of", "csv=p=0", film)
    data = output_of("ffmpeg", "-nostdin", "-loglevel", "error", "-i", film, "-map", "0:v", "-c", "copy", "-f", "data", "-")
    units = []
    for size in map(int, sizes.replace(b",", b"").split()):
        units.append(data[:size])
        data = data[size:]
    assert len(units) == COUNT and not data, (encoder, len(units), len(data))
    return units


def main():
    with open(pathlib.Path(__file__).with_name("clips.bin"), "wb") as out, tempfile.TemporaryDirectory() as folder:
        for codec, encoder in ENCODERS.items():
            for width, height in SIZES:
                units = units_of(encoder, width, height, pathlib.Path(folder))
                out.write(struct.pack("<4I", codec, width, height, len(units)))
                for unit in units:
                    out.write(struct.pack("<I", len(unit)) + unit)
                print(codec, width, height, sum(map(len, units)), "bytes")


if __name__ == "__main__":
    main()
