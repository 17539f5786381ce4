// SPDX-License-Identifier: LGPL-2.1-or-later
#include "allocations.h"

#include <atomic>
#include <cstdlib>
#include <new>

static std::atomic<long> g_allocations{0};

void *operator new(std::size_t size)
{
    ++g_allocations;
    if (void *p = std::malloc(size ? size : 1))
        return p;
    throw std::bad_alloc();
}

void operator delete(void *p) noexcept { std::free(p); }
void operator delete(void *p, std::size_t) noexcept { std::free(p); }

long spice_overlay::wire::test::allocations() { return g_allocations; }
