# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sessions of logind in a guest that systemd runs: a person has logged in at a terminal of the seat."""

import json

import stage as staging

NUMBERS = {"user": 1000, "other": 1001}  # as the guest's tree has them


class Session:
    """That of `name`, who logs in at terminal `terminal` (guest/systemd/ has who that is), and whose shell then becomes
    `command`."""

    def __init__(self, machine, name, terminal, command=None):
        self.machine, self.name, self.terminal, self.user = machine, name, terminal, NUMBERS[name]
        if command:
            machine.write(f"/home/{name}/.profile", f"exec {command}\n")
        machine.run("systemctl", "start", f"getty@tty{terminal}.service", seconds=60)
        # On a busy computer a first attempt may take login too long, which then begins anew.
        self.id = staging.wait_for(self._found, 180, lambda: f"a session of {name}: {self._sessions()}", every=0.3)
        self.environment = {
            "HOME": f"/home/{name}",
            "USER": name,
            "XDG_RUNTIME_DIR": f"/run/user/{self.user}",
            "XDG_SESSION_ID": self.id,
            "XDG_SEAT": "seat0",
            "XDG_VTNR": str(terminal),
        }
        # A process there is of this session, like one that its shell has started.
        scope = self.property("Scope")
        self.how = {"user": self.user, "cgroup": f"/sys/fs/cgroup/user.slice/user-{self.user}.slice/{scope}"}

    def _sessions(self):
        return self.machine.run("loginctl", "list-sessions", "--json=short", check=False)

    def _found(self):
        """The number of the session, once it is more than begun."""
        for one in json.loads(self._sessions() or "[]"):
            if one["user"] == self.name and one["tty"] == f"tty{self.terminal}":
                state = self.machine.run("loginctl", "show-session", one["session"], "--value", "-p", "State", check=False)
                return one["session"] if state.strip() in ("active", "online") else None
        return None

    def property(self, name):
        return self.machine.run("loginctl", "show-session", self.id, "--value", "-p", name).strip()


class XSession(Session):
    """The first user's, with an X server that is theirs: no program in it is root's."""

    def __init__(self, machine):
        # It switches terminals by itself. With logind's help it was seen to miss that its device had been taken away, and after
        # that it never drew again.
        alone = "env DBUS_SYSTEM_BUS_ADDRESS=unix:path=/nonexistent"
        server = "Xorg :0 vt1 -keeptty -noreset -nolisten tcp -logfile /tmp/Xorg.log >/tmp/Xorg.out 2>&1"
        super().__init__(machine, "user", 1, f"{alone} {server}")
        staging.wait_for(lambda: self.alive, 60, "the session's X server", every=0.3)

    @property
    def alive(self):
        return self.machine.run("pgrep", "-x", "Xorg", check=False) != ""

    def tail(self):
        return self.machine.run("tail", "-n", "4", "/tmp/Xorg.log", check=False)
