# SPDX-License-Identifier: LGPL-2.1-or-later
"""The desktop of a guest: a real X server on the machine's display, openbox, and windows that are looked for, moved
and covered as a person would."""

import pathlib

import stage as staging
from stage import Failure

HERE = pathlib.Path(__file__).resolve().parent
SIZE = (1024, 768)
SETTINGS = """
Section "ServerFlags"
    Option "AutoAddDevices" "false"
    Option "AutoAddGPU" "false"
    Option "BlankTime" "0"
EndSection
Section "Device"
    Identifier "card"
    Driver "modesetting"
    Option "AccelMethod" "none"
    Option "kmsdev" "/dev/dri/card0"
EndSection
Section "Screen"
    Identifier "screen"
    Device "card"
    DefaultDepth 24
    SubSection "Display"
        Modes "%dx%d"
    EndSubSection
EndSection
"""
MENU = """<openbox_menu xmlns="http://openbox.org/3.4/menu"><menu id="root-menu" label="Menu">
%s</menu></openbox_menu>
""" % "".join(
    f'<item label="An entry of the menu, number {n}"><action name="Reconfigure"/></item>\n' for n in range(12)
)


class Desk:
    """X with openbox on `machine`."""

    def __init__(self, machine, size=SIZE):
        self.machine = machine
        self.environment = {"DISPLAY": ":0", "XDG_RUNTIME_DIR": "/run/user", "GST_REGISTRY": "/var/cache/gst-registry.bin"}
        machine.write("/etc/X11/xorg.conf", SETTINGS % size)
        machine.write("/root/.config/openbox/menu.xml", MENU)
        machine.run("mkdir", "-p", "/run/user")
        self.x = machine.start(
            "xorg",
            ["Xorg", ":0", "-noreset", "-nolisten", "tcp", "-novtswitch", "-sharevts", "-logfile", "/outside/Xorg.log"],
        )
        staging.wait_for(
            lambda: not self.x.alive or "ready" in machine.run("sh", "-c", "xset q >/dev/null && echo ready", check=False, environment=self.environment),
            60,
            lambda: f"the guest's X server: {self.x.tail()}",
            every=0.2,
        )
        if not self.x.alive:
            raise Failure(f"the guest's X server ended: {self.x.tail()}")
        self.run("xset", "s", "off", "-dpms")
        # A pattern in which a shift of one pixel shows.
        self.run("xsetroot", "-mod", "5", "7", "-fg", "#305880", "-bg", "#204060")
        self.openbox = self.start("openbox", "openbox")
        staging.wait_for(
            lambda: "_NET_SUPPORTING_WM_CHECK" in self.run("xprop", "-root", "_NET_SUPPORTING_WM_CHECK", "_NET_CLIENT_LIST")
            and "window id" in self.run("xprop", "-root", "_NET_SUPPORTING_WM_CHECK"),
            30,
            lambda: f"openbox: {self.openbox.tail()}",
            every=0.2,
        )

    def run(self, *command, **how):
        return self.machine.run(*command, environment={**self.environment, **how.pop("environment", {})}, **how)

    def start(self, name, *command, **how):
        return self.machine.start(name, command, environment={**self.environment, **how.pop("environment", {})}, **how)
