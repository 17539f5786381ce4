# SPDX-License-Identifier: LGPL-2.1-or-later
"""Standard input to a unix socket, and what comes from there to standard output: relay.py SOCKET"""

import os
import socket
import sys
import threading


def pump(read, write):
    while piece := read(65536):
        write(piece)


peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
threading.Thread(target=pump, args=(lambda size: os.read(0, size), peer.sendall), daemon=True).start()
pump(peer.recv, lambda piece: os.write(1, piece))
