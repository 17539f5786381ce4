# SPDX-License-Identifier: LGPL-2.1-or-later
"""The desktop of a guest: a real X server on the machine's display, openbox, and windows that are looked for, moved
and covered as a person would."""

import re

import stage as staging
from stage import Failure

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
    """X with openbox on `machine`: root's, or that of the login.XSession which `session` makes."""

    def __init__(self, machine, size=SIZE, session=None):
        self.machine, self.session = machine, None
        self.environment = {
            "DISPLAY": ":0",
            "XDG_RUNTIME_DIR": "/run/user",
            "GST_REGISTRY": "/var/cache/gst-registry.bin",
            # Where udev is missing it waits for devices that do not come, 20 drivers by 16 numbers.
            "GST_PLUGIN_FEATURE_RANK": "kmssink:NONE",
            "GSETTINGS_BACKEND": "memory",
            "GIO_USE_VFS": "local",
            "NO_AT_BRIDGE": "1",
        }
        machine.write("/etc/X11/xorg.conf", SETTINGS % size)
        machine.write("/root/.config/openbox/menu.xml", MENU)
        if session:
            self.x = self.session = session(machine)
            self.environment.update(self.session.environment)
        else:
            machine.run("mkdir", "-p", "-m", "700", "/run/user")
            quiet = ["-noreset", "-nolisten", "tcp", "-novtswitch", "-sharevts", "-logfile", "/outside/Xorg.log"]
            self.x = self.start("xorg", "Xorg", ":0", *quiet)
        staging.wait_for(
            lambda: not self.x.alive or "Keyboard Control" in self.run("xset", "q", check=False),
            90,
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
            lambda: "window id" in self.run("xprop", "-root", "_NET_SUPPORTING_WM_CHECK"),
            60,
            lambda: f"openbox: {self.openbox.tail()}",
            every=0.2,
        )

    def _how(self, how):
        session = self.session.how if self.session else {}
        return {**session, **how, "environment": {**self.environment, **how.get("environment", {})}}

    def run(self, *command, **how):
        return self.machine.run(*command, **self._how(how))

    def start(self, name, *command, **how):
        return self.machine.start(name, command, **self._how(how))

    def xdotool(self, *words):
        return self.run("xdotool", *words, seconds=60)

    def windows(self):
        """Ids of the windows that openbox manages, as text."""
        return re.findall(r"0x[0-9a-f]+", self.run("xprop", "-root", "_NET_CLIENT_LIST"))

    def place(self, window):
        """x, y, width, height of a window's inside, in pixels of the screen."""
        said = self.run("xwininfo", "-id", window)
        find = lambda what: int(re.search(rf"{what}:\s+(-?\d+)", said)[1])
        return tuple(map(find, ("Absolute upper-left X", "Absolute upper-left Y", "Width", "Height")))

    def open_xterm(self, x, y, columns=40, rows=8):
        """(process, window) of a terminal, once it is on the screen."""
        before = self.windows()
        geometry = f"{columns}x{rows}+{x}+{y}"
        process = self.start("xterm", "xterm", "-fa", "DejaVu Sans Mono", "-geometry", geometry)
        found = staging.wait_for(
            lambda: set(self.windows()) - set(before), 60, lambda: f"an xterm: {process.tail()}", every=0.2
        )
        return process, found.pop()
