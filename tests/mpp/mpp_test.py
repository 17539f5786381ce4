#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs decoder-mpp-test with a libavcodec that has FFmpeg's rkmpp decoders (minimal_ffmpeg.py).

usage: mpp_test.py PROGRAM FOLDER_OF_THE_DOUBLE [ARGUMENT ...]
"""

import os
import pathlib
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tools"))

import cases  # noqa: E402
import minimal_ffmpeg  # noqa: E402



def main():
    program, double, *arguments = sys.argv[1:]
    try:
        folder, lock = minimal_ffmpeg.obtain()
    except cases.Skip as skip:
        reason = str(skip)

        def of_mpp_are_decoded():
            raise cases.Skip(reason)

        print(f"skipped: {reason}")
        cases.main("Mpp", [("of_mpp_are_decoded", of_mpp_are_decoded)], [])
    with lock:
        # The clips are made by the ffmpeg program, which takes Debian's: the test hands this to decoders alone.
        done = subprocess.run([program, *arguments], env=os.environ | {"TEST_MPP_LIBRARIES": f"{folder}:{double}"})
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
