#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The check on moving pictures finds what it is there to find: each case spoils a right picture in one way."""

import sys

import oracle_test
from oracle_test import check, clips, painted

import cases
import motion
import numpy as np

FRAME, PLACEHOLDER, CROSSER, BLACK = (208, 2, 27), (1, 254, 119), (255, 140, 0), (0, 0, 0)
NUMBER = 7
random = np.random.default_rng(5)
wallpaper = random.integers(24, 150, (400, 600, 3)).astype(np.uint8)
crosser = np.zeros((120, 160, 3), np.uint8)
crosser[:] = np.array(CROSSER, np.uint8) & 0xF8
crosser += (random.integers(0, 7, (120, 160, 1))).astype(np.uint8)
crosser[: motion.TITLE_HEIGHT] = random.integers(50, 90, (motion.TITLE_HEIGHT, 160, 3))
crosser[[0, -1]] = crosser[:, [0, -1]] = (60, 70, 86)
look = motion.Look(FRAME, PLACEHOLDER, CROSSER, crosser, (BLACK, (123, 31, 163)))


def picture(video=(100, 60), hole=(100, 60), window=(100, 60), crossing=(300, 200), crossing_drawn=True):
    """Where the video is, where the hole is (None: as the window), where the window with its frame is drawn."""
    shot = wallpaper.copy()
    x, y = window
    shot[y - 4 : y + 244, x - 4 : x + 324] = FRAME
    shot[y : y + 240, x : x + 320] = PLACEHOLDER
    under = np.zeros_like(shot)
    under[video[1] : video[1] + 240, video[0] : video[0] + 320] = painted(NUMBER)
    if crossing_drawn:
        shot[crossing[1] : crossing[1] + 120, crossing[0] : crossing[0] + 160] = crosser
    open_pixels = np.zeros(shot.shape[:2], bool)
    open_pixels[hole[1] : hole[1] + 240, hole[0] : hole[0] + 320] = True
    if crossing_drawn:
        open_pixels[crossing[1] : crossing[1] + 120, crossing[0] : crossing[0] + 160] = False
    shot[open_pixels] = under[open_pixels]
    return shot


def examine(shot):
    return motion.examine(shot, look, oracle_test.reference)


def accepts_what_is_right_at_any_place():
    for place in ((100, 60), (101, 61), (37, 90)):
        for crossing in ((300, 200), (place[0] + 40, place[1] + 80), (place[0] + 250, place[1] + 30)):
            found = examine(picture(place, place, place, crossing))
            check(found.clean and found.late_pixels == 0, f"{place} {crossing}: {found}")
            check(
                found.target == (*place, 320, 240) and found.frame == NUMBER and found.crosser == crossing, str(found)
            )


def finds_video_one_pixel_off_its_hole():
    check(examine(picture(video=(101, 60))).disagreeing_pixels > 10000, "passed")


def finds_hole_and_video_apart_from_the_window():
    for place in ((99, 60), (100, 61), (110, 66)):
        found = examine(picture(video=place, hole=place))
        check(found.disagreeing_pixels > 200 and found.placeholder_pixels > 100, f"{place}: {found}")


def finds_the_hole_open_on_black():
    check(examine(picture(video=(110, 60))).behind_pixels == 10 * 240, "passed")


def finds_a_bare_placeholder_and_the_video_out_of_place():
    for place in ((99, 60), (110, 66)):
        check(not examine(picture(video=place, hole=place)).true, f"{place} passed")
    shot = picture()
    shot[60:300, 100:130] = PLACEHOLDER
    shot[20, 20] = PLACEHOLDER
    check(not examine(shot).true, "a placeholder outside passed")


def finds_one_placeholder_pixel():
    shot = picture()
    shot[150, 150] = PLACEHOLDER
    check(examine(shot).placeholder_pixels == 1, "passed")


def calls_a_video_that_is_missing_unclean_but_true():
    for name, shown in (("all of it", (420, 300)), ("a strip", (100, 70)), ("two sides", (90, 50))):
        shot = picture()
        missing = np.zeros(shot.shape[:2], bool)
        missing[60:300, 100:420] = True
        missing[shown[1] : shown[1] + 240, shown[0] : shown[0] + 320] = False
        missing[200:320, 300:460] = False  # the crossing window
        shot[missing] = PLACEHOLDER
        found = examine(shot)
        check(found.true and not found.clean and found.bare_pixels == missing.sum(), f"{name}: {found}")


def calls_a_late_clip_late_and_nothing_worse():
    shot = picture()
    shot[200:260, 300:420] = painted(NUMBER)[140:200, 200:320]
    found = examine(shot)
    check(found.clean and found.late_pixels > 7000, str(found))


def finds_the_clip_ahead_of_its_window():
    shot = picture()
    shot[100:130, 110:150] = PLACEHOLDER
    check(not examine(shot).clean, "passed")


def finds_no_window_at_all():
    check(not examine(wallpaper).clean, "passed")


if __name__ == "__main__":
    oracle_test.prepare()
    cases.main("MotionOracle", cases.named(sys.modules[__name__], "accepts_", "finds_", "calls_"))
