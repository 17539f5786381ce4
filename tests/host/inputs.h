// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <spice.h>

#include <functional>

namespace spice_overlay::host {

/// A keyboard, a mouse, and mostly a tablet (so that the client draws the pointer itself). Main thread.
class Inputs {
public:
    struct Handlers {
        /// Scan code of set 1; 0x100 is added to one with the prefix E0.
        std::function<void(int code, bool down)> key;
        /// Guest pixels; `buttons` as SPICE_MOUSE_BUTTON_MASK_*; `wheel` +1 away from the person, -1 towards, 0 none.
        std::function<void(int x, int y, unsigned buttons, int wheel)> pointer;
    };

    /// `server` must be initialised; it and this live until spice_server_destroy().
    /// `relative`: no tablet; each motion of the mouse moves the pointer twice as far, inside the bounds.
    Inputs(SpiceServer *server, bool relative, Handlers handlers);
    void set_bounds(int width, int height);
    Inputs(const Inputs &) = delete;
    Inputs &operator=(const Inputs &) = delete;

private:
    struct Callbacks;
    template <typename T>
    struct Instance { // the instance first, so that a callback finds its way back here
        T spice{};
        Inputs *inputs = nullptr;
    };

    void move(int x, int y, unsigned buttons, int wheel);

    Handlers handlers_;
    Instance<SpiceKbdInstance> keyboard_;
    Instance<SpiceMouseInstance> mouse_;
    Instance<SpiceTabletInstance> tablet_;
    int x_ = 0;
    int y_ = 0;
    int width_ = 1;
    int height_ = 1;
    bool prefix_ = false; ///< the last byte of the keyboard was E0
};

} // namespace spice_overlay::host
