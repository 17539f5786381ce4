#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every #include in the tree is one that the tables of docs/architecture.md allow."""

import pathlib
import re
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "tools"))
import cases
from cases import check

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs/architecture.md"
TOP_LEVEL = ("portclient", "dmabuf", "overlay", "guest", "tests")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(?:"([^"]+)"|<([^>]+)>)', re.MULTILINE)
GENERATED = re.compile(r"-(client-|server-)?protocol\.h$")


def table(document, marker):
    """The rows behind a marker, as pairs of lists of names."""
    check(document.count(marker) == 1, f"{DOCUMENT.name}: the marker '{marker}' is missing or not alone")
    rows = []
    for line in document.split(marker)[1].strip().splitlines()[2:]:
        if not line.startswith("|"):
            break
        cells = line.strip().strip("|").split("|")
        check(len(cells) == 2, f"{DOCUMENT.name}: not two columns: {line}")
        names = [re.findall(r"`([^`]+)`", cell) or cell.split() for cell in cells]
        check(names[0], f"{DOCUMENT.name}: a row without a name: {line}")
        rows.append((names[0], names[1]))
    check(rows, f"{DOCUMENT.name}: the table behind '{marker}' is empty")
    return rows


class Rules:
    def __init__(self, document):
        self.rooms = {}
        for names, allowed in table(document, "<!-- include table: read by tests/architecture -->"):
            self.rooms[names[0]] = allowed
        self.libraries = [(header, rooms)
                          for headers, rooms in table(document, "<!-- library table: read by tests/architecture -->")
                          for header in headers]

    def room_of(self, path):
        """The row that a file belongs to, the longest that matches; None when there is none. Only `tests` has folders below."""
        folder = path.rsplit("/", 1)[0] if "/" in path else ""
        if folder in self.rooms:
            return folder
        return "tests" if folder.split("/")[0] == "tests" and "tests" in self.rooms else None

    def complaint(self, path, quoted, system, exists):
        """What is wrong with one include of the file `path`, or "". `exists(path)`: a file of the tree."""
        room = self.room_of(path)
        if room is None:
            return f"{path}: its folder is no room in {DOCUMENT.name}"
        name = quoted or system
        for header, rooms in self.libraries:
            if name.startswith(header) and not exists(name) and room not in rooms:
                return f"{path}: may not know the library of <{name}>; only {', '.join(rooms)} may"
        if system:
            return f"{path}: <{name}> is a file of the tree; write it in quotes" if exists(name) else ""
        if GENERATED.search(name):
            return ""
        folder = path.rsplit("/", 1)[0]
        if ".." in name.split("/") or name.startswith("/"):
            return f'{path}: "{name}" leaves its folder by ".."; write the path from the top'
        if exists(f"{folder}/{name}"):
            if "/" not in name:
                return ""
            name = f"{folder}/{name}"  # a room within this one
        elif not exists(name):
            return f'{path}: "{name}" is not in the tree'
        target = self.room_of(name)
        if target == room:
            return "" if room == "tests" or quoted != name else f'{path}: "{name}" is in the same room; write the bare name'
        if target is None or (self.rooms[room] != ["all"] and target not in self.rooms[room]):
            return f'{path}: {room} may not include {target} ("{name}")'
        return ""


def sources():
    return [path for top in TOP_LEVEL for path in sorted((ROOT / top).rglob("*"))
            if path.suffix in (".h", ".hpp", ".c", ".cc", ".cpp") and path.is_file()]


def rules():
    return Rules(DOCUMENT.read_text(encoding="utf-8"))


def every_include_is_one_that_the_architecture_allows():
    known = rules()
    complaints = []
    files = sources()
    includes = 0
    for file in files:
        path = file.relative_to(ROOT).as_posix()
        for quoted, system in INCLUDE.findall(file.read_text(encoding="utf-8", errors="replace")):
            includes += 1
            complaints.append(known.complaint(path, quoted, system, lambda name: (ROOT / name).is_file()))
    complaints = [text for text in complaints if text]
    check(not complaints, "\n" + "\n".join(complaints))
    check(len(files) > 50 and includes > 300, f"only {len(files)} files with {includes} includes were found")


def rooms_stand_from_bottom_to_top_so_that_there_is_no_circle():
    above = []
    for room, allowed in rules().rooms.items():
        for name in [] if allowed == ["all"] else allowed:
            check(name in above, f"{room} names {name}, which does not stand above it in the table")
        check((ROOT / room).is_dir(), f"{room} is no folder")
        above.append(room)
    check(above[-1] == "tests", "nothing may include the tests: they stand last")


def every_permission_is_of_a_room_that_exists():
    known = rules()
    for header, rooms in known.libraries:
        for room in rooms:
            check(room in known.rooms, f"{header}: {room} is no room")


def each_kind_of_forbidden_include_is_found():
    known = rules()
    tree = {"portclient/wire/messages.h", "portclient/wire/bytes.h", "overlay/widget/screen.h", "guest/play/track.h",
            "tests/guest/media_files.h", "portclient/base/result.h", "dmabuf/decoder/ipc.h"}
    table_of_cases = [
        ("portclient/wire/a.cpp", "overlay/widget/screen.h", "", "may not include"),  # upwards
        ("portclient/wire/a.cpp", "guest/play/track.h", "", "may not include"),
        ("guest/play/a.cpp", "tests/guest/media_files.h", "", "may not include"),
        ("guest/play/a.cpp", "dmabuf/decoder/ipc.h", "", "may not include"),
        ("guest/play/a.cpp", "guest/play/track.h", "", "same room"),
        ("guest/play/a.cpp", "../play/track.h", "", "by \"..\""),
        ("guest/play/a.cpp", "nowhere.h", "", "not in the tree"),
        ("guest/play/a.cpp", "", "guest/play/track.h", "in quotes"),
        ("dmabuf/a.cpp", "decoder/ipc.h", "", "may not include"),
        ("portclient/a.cpp", "wire/bytes.h", "", ""),
        ("overlay/viewer/a.cpp", "", "libavcodec/avcodec.h", "may not know the library"),
        ("overlay/present/wayland/a.cpp", "", "gtk/gtk.h", "may not know the library"),
        ("portclient/wire/a.cpp", "", "glib.h", "may not know the library"),
        ("guest/new/a.cpp", "track.h", "", "is no room"),
        ("guest/play/a.cpp", "track.h", "", ""),
        ("guest/play/a.cpp", "portclient/wire/messages.h", "", ""),
        ("guest/play/a.cpp", "", "libavcodec/avcodec.h", ""),
        ("guest/play/a.cpp", "", "vector", ""),
        ("tests/guest/a.cpp", "guest/play/track.h", "", ""),
        ("tests/guest/a.cpp", "media_files.h", "", ""),
        ("overlay/present/wayland/a.cpp", "viewporter-client-protocol.h", "", ""),
    ]
    for path, quoted, system, expected in table_of_cases:
        found = known.complaint(path, quoted, system, lambda name: name in tree)
        check(expected in found if expected else not found, f"{path} with {quoted or system}: '{found}', not '{expected}'")


def every_source_says_its_licence_and_every_header_guards_itself():
    complaints = []
    for file in sources():
        text = file.read_text(encoding="utf-8", errors="replace")
        if "SPDX-License-Identifier: LGPL-2.1-or-later" not in "\n".join(text.splitlines()[:3]):
            complaints.append(f"{file.relative_to(ROOT)}: no SPDX line at the top")
        if file.suffix == ".h" and not re.search(r"#pragma once|#ifndef (\w+)\n#define \1\n", text):
            complaints.append(f"{file.relative_to(ROOT)}: neither #pragma once nor, for C, a guard")
    check(not complaints, "\n" + "\n".join(complaints))


def every_test_that_the_security_document_names_exists():
    tests = "\n".join(
        file.read_text(encoding="utf-8", errors="replace")
        for file in (ROOT / "tests").rglob("*")
        if file.suffix in (".cpp", ".h", ".py") and file != pathlib.Path(__file__)
    )
    rows = [line.strip().strip("|").split("|") for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("|")]
    named = [name for row in rows for name in re.findall(r"`([a-z0-9_]+)`", row[-1])]
    check(len(named) >= 40, f"only {len(named)} tests are named")
    missing = [name for name in named if not re.search(rf"\b{name}\b", tests)]
    check(not missing, f"SECURITY.md names tests that do not exist: {missing}")


if __name__ == "__main__":
    cases.main("architecture", cases.named(sys.modules[__name__], "every_", "rooms_", "each_"))
