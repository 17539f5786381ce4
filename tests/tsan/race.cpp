// SPDX-License-Identifier: LGPL-2.1-or-later
// A data race, for tsan.py to find: a run whose reports do not arrive would be a clean one.
#include <thread>

namespace {
int written_by_both = 0; // NOLINT(cppcoreguidelines-avoid-non-const-global-variables)
}

int main()
{
    std::thread other([] { ++written_by_both; });
    ++written_by_both;
    other.join();
    return written_by_both == 0 ? 1 : 0;
}
