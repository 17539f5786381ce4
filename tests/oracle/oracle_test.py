#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The oracle finds what it is there to find: each case spoils a right picture in one way and asks for the verdict."""

import copy
import pathlib
import sys
import tempfile

sys.path[:0] = [str(pathlib.Path(__file__).parent), str(pathlib.Path(__file__).parent.parent / "tools")]
import cases
import clips
import numpy as np
import oracle
from cases import check

TARGET = (101, 53, 320, 240)
OCCLUDER = (300, 200, 421, 300)  # x0, y0, x1, y1; half over the video
PLACEHOLDER = (254, 1, 199)
FRAME = 20
folder = tempfile.TemporaryDirectory()
reference = None
framebuffer = None


def prepare():
    global reference, framebuffer
    reference = clips.Reference(clips.make(folder.name, 320, 240, count=40), folder.name)
    framebuffer = np.random.default_rng(3).integers(0, 200, (400, 600, 3)).astype(np.uint8)
    x, y, w, h = TARGET
    framebuffer[y : y + h, x : x + w] = PLACEHOLDER
    x0, y0, x1, y1 = OCCLUDER
    framebuffer[y0:y1, x0:x1] = (20, 120, 40)


def painted(number, matrix="bt601", upsample="nearest", shift=(0, 0)):
    """Frame `number` as R, G, B, by a conversion of its own."""
    y, u, v = (plane.astype(np.float64) for plane in reference.planes(number))
    if upsample == "nearest":
        u, v = (np.kron(plane, np.ones((2, 2))) for plane in (u, v))
    else:  # halfway between neighbours, as a linear filter does
        u, v = (
            (np.kron(plane, np.ones((2, 2))) + np.kron(np.roll(plane, -1, 1), np.ones((2, 2)))) / 2 for plane in (u, v)
        )
        u[:, -2:], v[:, -2:] = u[:, -4:-2], v[:, -4:-2]
    kr, kb = oracle.MATRICES[matrix]
    luma, cb, cr = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    r, b = luma + 2 * (1 - kr) * cr, luma + 2 * (1 - kb) * cb
    picture = np.clip(np.round(np.stack([r, (luma - kr * r - kb * b) / (1 - kr - kb), b], -1) * 255), 0, 255).astype(
        np.uint8
    )
    return np.roll(picture, shift, (0, 1))


def shot_with(picture):
    shot = framebuffer.copy()
    x, y, w, h = TARGET
    mask = oracle.same_colour(framebuffer[y : y + h, x : x + w], PLACEHOLDER)
    shot[y : y + h, x : x + w][mask] = picture[mask]
    return shot


def judge(shot, **more):
    return oracle.judge(shot, framebuffer, [oracle.Video(TARGET, PLACEHOLDER, reference, **more)])


def accepts_the_right_picture_and_names_its_frame():
    for upsample in ("nearest", "linear"):
        verdict = judge(shot_with(painted(FRAME, upsample=upsample)))
        check(verdict.clean, f"{upsample}: {verdict.notes}")
        check(verdict.frames == {1: FRAME}, f"{upsample}: frame {verdict.frames}")


def names_the_frame_when_every_counter_is_covered():
    shot = shot_with(painted(FRAME))
    target_area = oracle.inside_display(TARGET, framebuffer.shape)
    part = (slice(target_area[1], target_area[3]), slice(target_area[0], target_area[2]))
    mask = np.zeros((240, 320), bool)
    mask[30:70, 40:200] = True
    check(oracle.identify(shot[part], mask, TARGET, target_area, reference) == FRAME, "best match")


def names_the_frame_when_a_counter_says_another_than_the_rest_of_the_picture():
    x0, y0, width, height = TARGET
    picture, other = painted(FRAME), painted(FRAME + 19)
    for x, y in clips.counter_places(width, height):
        counter = slice(y, y + clips.BLOCK), slice(x, x + clips.BITS * clips.BLOCK)
        picture[counter] = other[counter]
    whole = (x0, y0, x0 + width, y0 + height)
    found = oracle.identify(picture, np.ones((height, width), bool), TARGET, whole, reference)
    check(found == FRAME, f"frame {found}")


def names_the_frame_when_a_pointer_alone_tells_it_from_others():
    still = copy.copy(reference)
    noise = np.random.default_rng(9).integers(40, 200, TARGET[2] * TARGET[3]).astype(np.uint8)
    still.data = np.full((reference.count, reference.data.shape[1]), 128, np.uint8)
    still.data[:, : noise.size] = noise
    for number in range(still.count):
        still.planes(number)[0][100:104, 7 * number : 7 * number + 4] = 235
    for number in range(0, still.count, 13):
        grey = np.round((still.planes(number)[0].astype(float) - 16) / 219 * 255).astype(np.uint8)
        video = oracle.Video(TARGET, PLACEHOLDER, still)
        verdict = oracle.judge(shot_with(np.stack([grey] * 3, -1)), framebuffer, [video])
        check(verdict.clean and verdict.frames == {1: number}, f"{number}: {verdict}")


def finds_a_video_shifted_by_one_pixel():
    for shift in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        verdict = judge(shot_with(painted(FRAME, shift=shift)))
        check(verdict.clip_mismatch_pixels > 0.6 * verdict.video_pixels, f"{shift}: {verdict}")


def finds_a_frame_that_should_not_be_shown():
    check(not judge(shot_with(painted(FRAME)), frames=range(0, FRAME)).clean, "frame out of range passed")
    check(judge(shot_with(painted(FRAME)), frames=range(FRAME, FRAME + 2)).clean, "frame in range did not pass")


def counts_foreign_chroma_at_the_right_edge_apart_and_nowhere_else():
    spoilt = painted(FRAME).astype(int)
    spoilt[:, -1] += (-20, 12, 25)  # as of a quarter of another chroma sample: Y stays
    spoilt = np.clip(spoilt, 0, 255).astype(np.uint8)
    verdict = judge(shot_with(spoilt))
    check(verdict.edge_filter_pixels > 100 and verdict.clip_mismatch_pixels < 60, str(verdict))
    spoilt = np.roll(spoilt, -7, 1)
    spoilt[:, :-8] = painted(FRAME)[:, :-8]
    spoilt[:, -7:] = painted(FRAME)[:, -7:]
    verdict = judge(shot_with(spoilt))
    check(verdict.edge_filter_pixels == 0 and verdict.clip_mismatch_pixels > 120, str(verdict))


def finds_two_frames_mixed_in_one_picture():
    picture = painted(FRAME)
    picture[160:] = painted(FRAME + 1)[160:]
    verdict = judge(shot_with(picture))
    check(verdict.clip_mismatch_pixels > 1000, str(verdict))


def finds_one_pixel_of_placeholder_left_open():
    shot = shot_with(painted(FRAME))
    shot[TARGET[1], TARGET[0] + 5] = PLACEHOLDER
    check(judge(shot).clip_mismatch_pixels == 1, str(judge(shot)))


def finds_a_line_of_the_hole_left_black():
    shot = shot_with(painted(FRAME))
    shot[TARGET[1] : TARGET[1] + TARGET[3], TARGET[0]] = 0
    check(judge(shot).clip_mismatch_pixels == TARGET[3], str(judge(shot)))


def finds_video_one_pixel_over_its_edge():
    shot = shot_with(painted(FRAME))
    shot[TARGET[1] : TARGET[1] + TARGET[3], TARGET[0] - 1] = painted(FRAME)[:, 0]
    check(judge(shot).outside_mismatch_pixels >= TARGET[3] - 1, str(judge(shot)))


def finds_video_over_its_occluder():
    shot = shot_with(painted(FRAME))
    shot[OCCLUDER[1], OCCLUDER[0]] = painted(FRAME)[OCCLUDER[1] - TARGET[1], OCCLUDER[0] - TARGET[0]]
    check(judge(shot).outside_mismatch_pixels == 1, str(judge(shot)))


def finds_a_desktop_pixel_off_by_one_shade():
    shot = shot_with(painted(FRAME))
    shot[3, 3, 1] += 1
    check(judge(shot).outside_mismatch_pixels == 1, str(judge(shot)))


def finds_the_wrong_colour_matrix():
    verdict = judge(shot_with(painted(FRAME, matrix="bt709")))
    check(verdict.clip_mismatch_pixels > 0.3 * verdict.video_pixels, str(verdict))


def finds_swapped_chroma():
    verdict = judge(shot_with(painted(FRAME)[:, :, ::-1]))
    check(verdict.clip_mismatch_pixels > 0.5 * verdict.video_pixels, str(verdict))


def finds_a_screenshot_of_another_size():
    check(not judge(shot_with(painted(FRAME))[:-1]).clean, "passed")


def finds_a_scaled_video_in_the_wrong_place():
    x, y, w, h = TARGET
    half = painted(FRAME).astype(np.float64).reshape(h // 2, 2, w // 2, 2, 3).mean((1, 3))
    half = np.clip(np.round(half), 0, 255).astype(np.uint8)
    small = framebuffer.copy()
    small[y : y + h, x : x + w] = 7
    small[y : y + h // 2, x : x + w // 2] = PLACEHOLDER
    video = oracle.Video((x, y, w // 2, h // 2), PLACEHOLDER, reference)
    shot = small.copy()
    shot[y : y + h // 2, x : x + w // 2] = half
    verdict = oracle.judge(shot, small, [video])
    check(verdict.clean and verdict.frames == {1: FRAME}, str(verdict))
    shot[y : y + h // 2, x : x + w // 2] = np.roll(half, 4, 1)
    check(oracle.judge(shot, small, [video]).clip_mismatch_pixels > 200, "a shift by 4 passed")


def excuses_chroma_that_the_compositor_leaves_unread_and_no_other():
    """Twice as wide as it is and cut at its left, with a wrong chroma in its last column but two, where a filter mixes in the last sample. From
    column 10 on the renderer reads all of it, from 11 on not the last sample."""
    spoilt = painted(FRAME).astype(int)
    spoilt[:, -3, 2] += 40
    wide = np.kron(np.clip(spoilt, 0, 255).astype(np.uint8), np.ones((1, 2, 1), np.uint8))
    for cut, unread, clean in ((23, True, True), (23, False, False), (21, True, False)):
        desktop = np.zeros((300, 700, 3), np.uint8)
        desktop[20:260, : 640 - cut] = PLACEHOLDER
        shot = desktop.copy()
        shot[20:260, : 640 - cut] = wide[:, cut:]
        video = oracle.Video((-cut, 20, 640, 240), PLACEHOLDER, reference, chroma_left_unread=unread)
        verdict = oracle.judge(shot, desktop, [video])
        check(verdict.clean == clean, f"cut by {cut}, unread {unread}: {verdict}")


if __name__ == "__main__":
    prepare()
    cases.main("Oracle", cases.named(sys.modules[__name__], "accepts_", "names_", "finds_", "counts_", "excuses_"))
