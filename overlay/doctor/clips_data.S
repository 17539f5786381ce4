/* SPDX-License-Identifier: LGPL-2.1-or-later */
    .section .rodata
    .global spice_overlay_doctor_clips
    .global spice_overlay_doctor_clips_end
    .balign 16
spice_overlay_doctor_clips:
    .incbin CLIPS_FILE
spice_overlay_doctor_clips_end:
    .byte 0
    .section .note.GNU-stack, "", %progbits
