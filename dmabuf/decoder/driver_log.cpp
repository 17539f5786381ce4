// SPDX-License-Identifier: LGPL-2.1-or-later
// What a driver writes to the system's log (Rockchip's MPP does) goes to ours, of errors the first lines: there is no way to the system's log
// from the sandbox. In place of the C library's, for libraries too: the program exports both.
#include "log.h"

#include <syslog.h>

#include <cstdarg>
#include <cstdio>
#include <cstring>

extern "C" {

void vsyslog(int priority, const char *format, va_list arguments)
{
    if (LOG_PRI(priority) > LOG_ERR)
        return;
    char text[512];
    std::vsnprintf(text, sizeof text, format, arguments);
    text[std::strcspn(text, "\n")] = '\0';
    spice_overlay::log_line(std::string("driver: ") + text);
}

/// The same, called by what was built with -D_FORTIFY_SOURCE.
void __vsyslog_chk(int priority, int, const char *format, va_list arguments) // NOLINT(bugprone-reserved-identifier)
{
    vsyslog(priority, format, arguments);
}

} // extern "C"
