#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A logind that is not one: python3-dbusmock's template on a bus of its own, for sessions that begin, are switched and locked.

usage: mock_logind.py FD FOLDER

Prints the bus's address on standard error, then obeys lines from the open descriptor FD, and says "done" after each:
  session NAME USER yes|no         a session of a user's number, active or not
  set NAME PROPERTY yes|no|TEXT    changes a property
  display USER NAME                the session that is the user's display
  process PID NAME                 a process of the session"""

import os
import pathlib
import subprocess
import sys

import dbus
import dbusmock

SESSION = "org.freedesktop.login1.Session"
USER = "org.freedesktop.login1.User"


def path(kind, name):
    return f"/org/freedesktop/login1/{kind}/{name}"


def say(text):
    print(text, file=sys.stderr, flush=True)


def main():
    commands, folder = os.fdopen(int(sys.argv[1])), pathlib.Path(sys.argv[2])
    dbusmock.DBusTestCase.setUpClass()
    dbusmock.DBusTestCase.start_system_bus()
    bus = dbusmock.DBusTestCase.get_dbus(system_bus=True)
    process, logind = dbusmock.DBusTestCase.spawn_server_template("logind", {}, stdout=subprocess.DEVNULL)
    # Asked for a process that has no file here it fails, as logind does for one outside of all sessions. The template's own
    # GetUser joins a text and a number.
    for name, answer in {
        "GetSessionByPID": f"open('{folder}/%d' % args[0]).read()",
        "GetUser": "'/org/freedesktop/login1/user/%d' % args[0]",
    }.items():
        answer = f"ret = dbus.ObjectPath({answer})"
        logind.AddMethod("org.freedesktop.login1.Manager", name, "u", "o", answer, dbus_interface=dbusmock.MOCK_IFACE)
    say("address " + os.environ["DBUS_SYSTEM_BUS_ADDRESS"])

    def change(object_path, interface, name, value):
        mock = bus.get_object("org.freedesktop.login1", object_path)
        mock.UpdateProperties(interface, {name: value}, dbus_interface=dbusmock.MOCK_IFACE)

    try:
        for line in commands:
            what, *words = line.split()
            if what == "session":
                logind.AddSession(words[0], "seat0", dbus.UInt32(words[1]), "user" + words[1], words[2] == "yes")
                told = dbus.Array([words[0], dbus.ObjectPath(path("session", words[0]))], signature="v")
                logind.EmitSignal("org.freedesktop.login1.Manager", "SessionNew", "so", told, dbus_interface=dbusmock.MOCK_IFACE)
            elif what == "set":
                value = {"yes": True, "no": False}.get(words[2], words[2])
                change(path("session", words[0]), SESSION, words[1], value)
            elif what == "display":
                value = dbus.Struct((words[1], dbus.ObjectPath(path("session", words[1]))), signature="so")
                logind.RemoveObject(path("user", words[0]), dbus_interface=dbusmock.MOCK_IFACE)
                user = dbus.Dictionary({"Display": value}, signature="sv")
                no_methods = dbus.Array([], signature="(ssss)")
                logind.AddObject(path("user", words[0]), USER, user, no_methods, dbus_interface=dbusmock.MOCK_IFACE)
            elif what == "process":
                (folder / words[0]).write_text(path("session", words[1]))
            say("done")
    finally:
        process.terminate()
        dbusmock.DBusTestCase.tearDownClass()


if __name__ == "__main__":
    main()
