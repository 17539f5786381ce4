// SPDX-License-Identifier: LGPL-2.1-or-later
#include "log.h"

#include "ipc.h"

#include <sys/socket.h>

#include <atomic>
#include <cstdio>

namespace spice_overlay {

namespace {

std::atomic<unsigned> lines = 0;
std::atomic<bool> by_message = false;

} // namespace

void log_line(const std::string &text)
{
    const unsigned line = lines.fetch_add(1);
    if (line >= ipc::kMaxLogLines)
        return;
    const char *shown = line == ipc::kMaxLogLines - 1 ? "(further messages are left out)" : text.c_str();
    if (!by_message) {
        std::fprintf(stderr, "spice-overlay-decoder: %s\n", shown);
        return;
    }
    ipc::Log message;
    std::snprintf(message.text, sizeof message.text, "%s", shown);
    iovec vector{&message, sizeof message};
    msghdr header{};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    ::sendmsg(ipc::kSocketFd, &header, MSG_NOSIGNAL);
}

void log_to_viewer()
{
    by_message = true;
}

} // namespace spice_overlay
