// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "x_display.h"

namespace spice_overlay::guest {

/// What was drawn on the screen, by whomever. The server tells once that there is something, and again only after it was taken: however much is
/// drawn, whoever does not ask is not woken.
class ScreenDamage {
public:
    explicit ScreenDamage(XDisplay &display) : display_(display) {}

    void listen(bool on);

    /// Whether the event tells that there is something to take().
    [[nodiscard]] bool handle(const xcb_generic_event_t &event) const;

    /// Where was drawn since the last call; a little more where that is in very many pieces.
    [[nodiscard]] ScreenRegion take();

private:
    XDisplay &display_;
    std::uint32_t damage_ = 0; ///< 0: none
    std::uint32_t region_ = 0;
};

} // namespace spice_overlay::guest
