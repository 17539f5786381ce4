// SPDX-License-Identifier: LGPL-2.1-or-later
#include "overlay/widget/relative_pointer.h"

#include <gtest/gtest.h>

#include <functional>

using namespace spice_overlay;

namespace {

constexpr std::int64_t kMs = 1'000'000;

/// A guest of 1000 x 800 pixels that makes of a motion what it likes.
struct Guest {
    std::function<int(int)> makes;
    int x = 500;
    int y = 400;

    void take(RelativePointer::Motion m)
    {
        x = std::clamp(x + makes(m.dx), 0, 999);
        y = std::clamp(y + makes(m.dy), 0, 799);
    }
};

} // namespace

TEST(RelativePointer, leads_guests_of_any_acceleration_to_the_persons_pointer)
{
    const std::function<int(int)> guests[] = {[](int d) { return d; }, [](int d) { return 2 * d; },
                                              [](int d) { return 3 * d; }, [](int d) { return d / 2 + d % 2; },
                                              [](int d) { return std::abs(d) > 4 ? 2 * d : d; }};
    for (std::size_t kind = 0; kind < std::size(guests); ++kind) {
        RelativePointer pointer;
        Guest guest{guests[kind]};
        pointer.guest_is_at(guest.x, guest.y);
        for (auto [x, y] : {std::pair{510, 410}, {0, 0}, {999, 799}, {3, 790}, {600, 20}, {601, 21}}) {
            pointer.person_is_at(x, y);
            while (auto motion = pointer.next(0)) {
                guest.take(*motion);
                pointer.guest_is_at(guest.x, guest.y);
            }
            EXPECT_NEAR(guest.x, x, kind == 0 || kind > 2 ? 0 : kind) << "guest " << kind;
            EXPECT_NEAR(guest.y, y, kind == 0 || kind > 2 ? 0 : kind) << "guest " << kind;
        }
    }
}

TEST(RelativePointer, waits_for_the_guests_answer_and_not_for_ever)
{
    RelativePointer pointer;
    pointer.guest_is_at(100, 100);
    pointer.person_is_at(110, 100);
    EXPECT_EQ(pointer.next(0), (RelativePointer::Motion{10, 0}));
    pointer.person_is_at(120, 100);
    EXPECT_FALSE(pointer.next(50 * kMs)) << "sent twice";
    pointer.guest_is_at(110, 100);
    EXPECT_EQ(pointer.next(51 * kMs), (RelativePointer::Motion{10, 0}));
    pointer.person_is_at(125, 100);
    EXPECT_EQ(pointer.next(200 * kMs), (RelativePointer::Motion{5, 0})) << "the motion as it is";
}

TEST(RelativePointer, a_guest_that_tells_nothing_gets_the_motions_as_they_are)
{
    RelativePointer pointer;
    pointer.person_is_at(10, 10);
    EXPECT_FALSE(pointer.next(0)) << "nothing to measure from";
    pointer.person_is_at(15, 7);
    EXPECT_EQ(pointer.next(0), (RelativePointer::Motion{5, -3}));
    EXPECT_FALSE(pointer.next(0));
    pointer.person_is_at(16, 7);
    EXPECT_EQ(pointer.next(0), (RelativePointer::Motion{1, 0}));
}

TEST(RelativePointer, gives_up_on_a_place_that_the_guest_never_reaches)
{
    RelativePointer pointer;
    pointer.guest_is_at(0, 0);
    pointer.person_is_at(50, 50);
    int sent = 0;
    for (; sent < 100 && pointer.next(0); ++sent)
        pointer.guest_is_at(sent % 2, 0);
    EXPECT_LE(sent, 16);
}
