// SPDX-License-Identifier: LGPL-2.1-or-later
// In the place of client_end.cpp where spice-client-glib is missing, as in a guest.

#include "end.h"

namespace spice_overlay::tool {

Result<std::unique_ptr<End>> open_client_end(const std::string &target, const std::string &)
{
    return Error{target
                 + ": this build has the guest's end alone, without spice-client-glib; run it where the client is"};
}

bool has_client_end()
{
    return false;
}

} // namespace spice_overlay::tool
