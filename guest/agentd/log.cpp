// SPDX-License-Identifier: LGPL-2.1-or-later
#include "log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>

namespace spice_overlay::guest {
namespace {

bool verbose = false;

/// systemd says in JOURNAL_STREAM which stream leads to the journal.
bool to_journal()
{
    static const bool answer = [] {
        const char *stream = std::getenv("JOURNAL_STREAM");
        unsigned long long device = 0, inode = 0;
        struct stat info;
        return stream && std::sscanf(stream, "%llu:%llu", &device, &inode) == 2 && fstat(STDERR_FILENO, &info) == 0
               && info.st_dev == device && info.st_ino == inode;
    }();
    return answer;
}

} // namespace

void log_verbosely()
{
    verbose = true;
}

void log(Level level, const std::string &text)
{
    if (to_journal())
        std::fprintf(stderr, "<%d>%s\n", static_cast<int>(level), text.c_str());
    else if (level != Level::kInfo || verbose)
        std::fprintf(stderr, "spice-overlay-agentd: %s\n", text.c_str());
}

} // namespace spice_overlay::guest
