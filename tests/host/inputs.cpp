// SPDX-License-Identifier: LGPL-2.1-or-later
#include "inputs.h"

#include <algorithm>

namespace spice_overlay::host {

struct Inputs::Callbacks {
    template <typename T>
    static Inputs &of(T *instance)
    {
        return *reinterpret_cast<Instance<T> *>(instance)->inputs;
    }

    static void scan_code(SpiceKbdInstance *instance, uint8_t byte)
    {
        Inputs &inputs = of(instance);
        bool prefix = inputs.prefix_;
        inputs.prefix_ = byte == 0xE0;
        if (!inputs.prefix_)
            inputs.handlers_.key((byte & 0x7F) | (prefix ? 0x100 : 0), (byte & 0x80) == 0);
    }
    static uint8_t leds(SpiceKbdInstance *) { return 0; }

    static void motion(SpiceMouseInstance *instance, int dx, int dy, int dz, uint32_t buttons)
    {
        Inputs &inputs = of(instance);
        inputs.move(std::clamp(inputs.x_ + 2 * dx, 0, inputs.width_ - 1),
                    std::clamp(inputs.y_ + 2 * dy, 0, inputs.height_ - 1), buttons, -dz);
    }
    static void mouse_buttons(SpiceMouseInstance *instance, uint32_t buttons)
    {
        Inputs &inputs = of(instance);
        inputs.move(inputs.x_, inputs.y_, buttons, 0);
    }

    static void logical_size(SpiceTabletInstance *, int, int) {}
    static void position(SpiceTabletInstance *instance, int x, int y, uint32_t buttons)
    {
        of(instance).move(x, y, buttons, 0);
    }
    static void wheel(SpiceTabletInstance *instance, int towards, uint32_t buttons)
    {
        Inputs &inputs = of(instance);
        inputs.move(inputs.x_, inputs.y_, buttons, -towards);
    }
    static void tablet_buttons(SpiceTabletInstance *instance, uint32_t buttons)
    {
        Inputs &inputs = of(instance);
        inputs.move(inputs.x_, inputs.y_, buttons, 0);
    }
};

Inputs::Inputs(SpiceServer *server, bool relative, Handlers handlers) : handlers_(std::move(handlers))
{
    static const SpiceKbdInterface keyboard = {
        {SPICE_INTERFACE_KEYBOARD, "keyboard", SPICE_INTERFACE_KEYBOARD_MAJOR, SPICE_INTERFACE_KEYBOARD_MINOR},
        Callbacks::scan_code, Callbacks::leds};
    static const SpiceMouseInterface mouse = {
        {SPICE_INTERFACE_MOUSE, "mouse", SPICE_INTERFACE_MOUSE_MAJOR, SPICE_INTERFACE_MOUSE_MINOR},
        Callbacks::motion, Callbacks::mouse_buttons};
    static const SpiceTabletInterface tablet = {
        {SPICE_INTERFACE_TABLET, "tablet", SPICE_INTERFACE_TABLET_MAJOR, SPICE_INTERFACE_TABLET_MINOR},
        Callbacks::logical_size, Callbacks::position, Callbacks::wheel, Callbacks::tablet_buttons};
    keyboard_.spice.base.sif = &keyboard.base;
    mouse_.spice.base.sif = &mouse.base;
    tablet_.spice.base.sif = &tablet.base;
    keyboard_.inputs = mouse_.inputs = tablet_.inputs = this;
    spice_server_add_interface(server, &keyboard_.spice.base);
    spice_server_add_interface(server, &mouse_.spice.base);
    if (!relative)
        spice_server_add_interface(server, &tablet_.spice.base);
}

void Inputs::set_bounds(int width, int height)
{
    width_ = width;
    height_ = height;
}

void Inputs::move(int x, int y, unsigned buttons, int wheel)
{
    x_ = x;
    y_ = y;
    handlers_.pointer(x, y, buttons, wheel);
}

} // namespace spice_overlay::host
