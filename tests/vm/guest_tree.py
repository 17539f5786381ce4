# SPDX-License-Identifier: LGPL-2.1-or-later
"""The guest's files: a tree of Debian 13 packages, its kernel, and a first initramfs. Built once and kept in a cache
folder."""

import lzma
import pathlib
import platform
import re
import shutil
import struct
import subprocess

import package_tree
from stage import Missing

HERE = pathlib.Path(__file__).resolve().parent
SUITE = "trixie"
PACKAGES = """
    linux-image-amd64 busybox-static dash coreutils grep sed libc-bin python3 procps
    xserver-xorg-core x11-utils x11-xserver-utils openbox xterm xdotool fonts-dejavu-core
    dbus-daemon dbus-bin libxcb-composite0 libxcb-damage0 libxcb-keysyms1 libxcb-res0 libsystemd0
    gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-base-apps gstreamer1.0-plugins-good
    gstreamer1.0-plugins-bad gstreamer1.0-libav gstreamer1.0-x
    parole
    """.split()

# Also in a tree that systemd runs and that packages are installed in. X and the players find more there than a quick guest wants.
SYSTEMD_PACKAGES = """
    systemd systemd-sysv udev kmod dbus libpam-systemd libpam-modules libpam-runtime login passwd util-linux
    dpkg diffutils init-system-helpers perl-base tar libspice-client-glib-2.0-8
    """.split()

# What stage 1 loads, in the guest, with whatever these depend on.
MODULES = "9p 9pnet_virtio overlay qxl virtio-gpu evdev".split()

# No package's scripts are run (that is what makes this quick): these few things are done in their stead. The
# GStreamer registry is made here since it takes a minute in an emulated guest.
SETTLE = r"""
set -e
ln -sf dash /usr/bin/sh
ln -sf /proc/self/mounts /etc/mtab
printf '%s\n' root:x:0:0:root:/root:/bin/sh messagebus:x:100:100::/nonexistent:/bin/false \
    spice-overlay:x:101:101::/nonexistent:/bin/false user:x:1000:1000:user:/home/user:/bin/sh >/etc/passwd
printf '%s\n' root:x:0: video:x:44: messagebus:x:100: spice-overlay:x:101: user:x:1000: >/etc/group
printf '%s\n' 'passwd: files' 'group: files' 'hosts: files' >/etc/nsswitch.conf
mkdir -p /home/user /var/cache/fontconfig /host /outside
chown 1000:1000 /home/user
cd /usr/lib/x86_64-linux-gnu  # what alternatives would choose
ln -sf blas/libblas.so.3 lapack/liblapack.so.3 .
cd /
dbus-uuidgen >/etc/machine-id
fc-cache
/usr/lib/*/glib-2.0/glib-compile-schemas /usr/share/glib-2.0/schemas
/usr/lib/*/gdk-pixbuf-2.0/gdk-pixbuf-query-loaders --update-cache
/usr/lib/*/glib-2.0/gio-querymodules /usr/lib/*/gio/modules
update-mime-database /usr/share/mime
for theme in /usr/share/icons/*; do
    gtk-update-icon-cache --force --quiet "$theme" || true  # a theme may have nothing to index
done
GST_REGISTRY=/var/cache/gst-registry.bin gst-inspect-1.0 avdec_h264 >/var/log/gst-inspect 2>&1
chmod 644 /var/cache/gst-registry.bin
"""

# Before that, where systemd runs it: users as packages make them, logins that ask for no password.
SYSTEMD_BEGIN = r"""
set -e
printf '%s\n' root:x:0:0:root:/root:/bin/sh user:x:1000:1000:user:/home/user:/bin/sh \
    other:x:1001:1001:other:/home/other:/bin/sh >/etc/passwd
printf '%s\n' root:x:0: user:x:1000: other:x:1001: >/etc/group
mkdir -p /home/other
chown 1001:1001 /home/other
systemd-sysusers
cp /etc/passwd /etc/group /tmp/
for what in auth account password session session-noninteractive; do
    echo "${what%-*} required pam_permit.so" >/etc/pam.d/common-$what
done
echo "session optional pam_systemd.so" >>/etc/pam.d/common-session
ldconfig
rm -rf /var/run
ln -s /run /var/run
"""
# And after it.
SYSTEMD_END = r"""
mv /tmp/passwd /tmp/group /etc/
# What dpkg -i asks for what packages depend on.
for package in /var/cache/apt/archives/*.deb; do
    dpkg-deb -f "$package"
    printf 'Status: install ok installed\n\n'
done >/var/lib/dpkg/status
dpkg-query -W -f '${binary:Package}\n' | while read -r name; do
    : >"/var/lib/dpkg/info/$name.list"
done
touch /etc/.updated /var/.updated  # else systemd makes caches anew at its first start
"""


class GuestTree:
    """What a machine boots: `root` (a folder), `kernel`, `initramfs`; all are for reading alone. While the object
    lives nobody removes them."""

    def __init__(self, folder, lock):
        self.root, self.kernel, self.initramfs = folder / "root", folder / "vmlinux", folder / "initramfs"
        self.lock = lock


def obtain(say=print, systemd=False):
    """The GuestTree, for systemd or without it, built first where that is not done yet. Raises Missing where this machine cannot have one."""
    if platform.machine() != "x86_64":
        raise Missing(f"the guest is x86-64, this machine {platform.machine()}")
    stage1 = (HERE / "guest" / "stage1.sh").read_text()
    packages = PACKAGES + SYSTEMD_PACKAGES * systemd
    settle = SYSTEMD_BEGIN + SETTLE + SYSTEMD_END if systemd else SETTLE
    name = package_tree.key_of(SUITE, packages, MODULES, settle, pathlib.Path(__file__).read_text(), stage1)
    return GuestTree(*package_tree.obtain(name, lambda folder: _build(folder, packages, settle), say))


def _build(folder, packages, settle):
    if not shutil.which("zstd"):
        raise Missing("zstd is not installed")
    root = folder / "root"
    package_tree.unpack(root, SUITE, packages, settle)
    version = next((root / "usr/lib/modules").iterdir()).name
    _unpack_kernel(root / f"boot/vmlinuz-{version}", folder / "vmlinux")
    _make_initramfs(root, root / "usr/lib/modules" / version, folder / "initramfs")


def _unpack_kernel(bzimage, target):
    """The uncompressed kernel inside a bzImage (Documentation/arch/x86/boot.rst): it boots in a third of the time."""
    data = bzimage.read_bytes()
    offset, length = struct.unpack_from("<II", data, 0x248)
    start = (data[0x1F1] + 1) * 512 + offset
    payload = data[start : start + length - 4]  # without the size that the build appends
    if payload[:4] == b"\x28\xb5\x2f\xfd":
        payload = subprocess.run(["zstd", "-dc"], input=payload, stdout=subprocess.PIPE, check=True).stdout
    elif payload[:6] == b"\xfd7zXZ\0":
        payload = lzma.decompress(payload)
    if payload[:4] != b"\x7fELF":
        raise Missing(f"{bzimage.name} holds no kernel that can be unpacked")
    target.write_bytes(payload)


def modules_in_order(folder, names=MODULES):
    """name -> contents of these modules and all they depend on, each after what it needs. Those built in are left out."""
    files = {path.name.split(".")[0].replace("-", "_"): path for path in folder.rglob("*.ko*")}
    done = {}

    def add(name):
        name = name.replace("-", "_")
        if name in done or name not in files:
            return
        packed = files[name].read_bytes()
        data = lzma.decompress(packed) if files[name].suffix == ".xz" else packed
        depends = re.search(rb"\0depends=([^\0]*)\0", data)
        for other in depends[1].decode().split(",") if depends and depends[1] else []:
            add(other)
        done[name] = data

    for name in names:
        add(name)
    return done


def _make_initramfs(root, modules, target):
    """busybox, the modules and stage 1."""
    files = {"bin": None, "modules": None, "bin/busybox": (root / "usr/bin/busybox").read_bytes()}
    files["init"] = (HERE / "guest/stage1.sh").read_bytes()
    for number, (name, data) in enumerate(modules_in_order(modules).items()):
        files[f"modules/{number:02}-{name}.ko"] = data
    write_initramfs(files, target)


def write_initramfs(files, target):
    """A cpio archive ("newc") of `files`: name -> bytes, or None for a folder, which comes before what it holds."""
    with open(target, "wb") as archive:

        def pad():
            archive.write(b"\0" * (-archive.tell() % 4))

        def add(name, mode, data):
            fields = [0, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
            archive.write(b"070701" + "".join(f"{field & 0xFFFFFFFF:08x}" for field in fields).encode())
            archive.write(name.encode() + b"\0")
            pad()
            archive.write(data)
            pad()

        for name, data in files.items():
            add(name, 0o040755 if data is None else 0o100755, data or b"")
        add("TRAILER!!!", 0, b"")
