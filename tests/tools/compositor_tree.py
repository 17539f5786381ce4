# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compositors of newer Debians besides this one's Weston, from trees of their packages."""

import subprocess

import package_tree
import weston_tree

PACKAGES = (
    "base-files weston sway mutter kwin-wayland dbus-daemon libgl1-mesa-dri libegl1 libgles2 dash coreutils libc-bin libglib2.0-bin "
    "xkb-data fonts-dejavu-core"
).split()
SETTLE = weston_tree.SETTLE + "glib-compile-schemas /usr/share/glib-2.0/schemas\n"


class CompositorTree(weston_tree.WestonTree):
    """Weston, sway, Mutter and KWin of a suite (trixie, sid); packages of sid are those of the day on which the tree is made. Raises
    Missing as its base does."""

    def find(self, suite):
        name = package_tree.key_of(f"compositors-{suite}", PACKAGES, SETTLE)
        return package_tree.obtain(name, lambda made: package_tree.unpack(made / "root", suite, PACKAGES, SETTLE))

    def version(self, program):
        done = subprocess.run(["chroot", self.root, program, "--version"], capture_output=True, text=True)
        return next((word for word in done.stdout.split() if word[0].isdigit()), "?")
