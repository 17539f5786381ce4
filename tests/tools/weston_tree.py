# SPDX-License-Identifier: LGPL-2.1-or-later
"""Weston of Debian 13, from a tree of its packages, on this machine's kernel: what a newer compositor makes of the
viewer, whatever this Debian has."""

import os
import pathlib
import platform
import subprocess

import package_tree
from stage import Missing

SUITE = "trixie"
PACKAGES = "base-files weston libgl1-mesa-dri libegl1 libgles2 dash coreutils libc-bin xkb-data fonts-dejavu-core".split()

SETTLE = r"""
set -e
ln -sf dash /usr/bin/sh
printf '%s\n' root:x:0:0:root:/root:/bin/sh >/etc/passwd
printf '%s\n' root:x:0: >/etc/group
mkdir -p /proc /dev /tmp /run /root
"""

# In a mount namespace of its own, so that nothing is left behind. It sees its files, the folder it is given, and no
# device of the machine unless it is to: some versions crash on a DRM node that is not their display.
ENTER = r"""
set -e
root=$1 folder=$2
shift 2
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount -t tmpfs -o mode=755 run "$root/run"
mount -t tmpfs -o mode=755 dev "$root/dev"
mount --bind /proc "$root/proc"
for name in null zero random urandom; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir -p "$root/dev/shm" "$root$folder"
for name in $DEVICES; do
    mountpoint -q "$root/sys" || mount --bind /sys "$root/sys"
    if [ -d "/dev/$name" ]; then mkdir "$root/dev/$name"; else touch "$root/dev/$name"; fi
    mount --bind "/dev/$name" "$root/dev/$name"
done
mount --bind "$folder" "$root$folder"
exec chroot "$root" "$@"
"""


class WestonTree:
    """Give it to stage.Weston as `inside`. Raises Missing where this machine cannot have one."""

    def __init__(self, suite=SUITE):
        if platform.machine() != "x86_64":
            raise Missing(f"the tree is x86-64, this machine {platform.machine()}")
        if os.geteuid() != 0:
            raise Missing("only root may enter a tree of another Debian's packages")
        try:
            done = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True)
        except OSError as error:
            raise Missing(f"unshare: {error}") from None
        if done.returncode != 0:
            raise Missing(f"no mount namespace is to be had here: {done.stderr.strip()}")
        folder, self.lock = self.find(suite)
        self.root = folder / "root"

    def find(self, suite):
        """(folder, lock) of the tree, made first where there is none."""
        name = package_tree.key_of(f"weston-{suite}", suite, PACKAGES, SETTLE)
        return package_tree.obtain(name, lambda made: package_tree.unpack(made / "root", suite, PACKAGES, SETTLE))

    def enter(self, command, folder, devices=()):
        """The command that runs `command` in the tree, with `folder` at the same path as outside, and these of /dev besides the harmless."""
        return ["env", "DEVICES=" + " ".join(devices), "unshare", "--mount", "--propagation", "private", "sh", "-c", ENTER, "sh", self.root, folder, *command]
