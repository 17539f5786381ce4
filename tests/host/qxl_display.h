// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "painter.h"
#include "pixel_rect.h"

#include <spice.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <span>

namespace spice_overlay::host {

/// One drawing command on its way: the pixels of `box`, of which only `areas` are drawn.
/// One command is one message to the client, so what it draws appears at once or not at all.
struct Drawing {
    Rect box;                ///< guest pixels, inside the display
    std::vector<Rect> areas; ///< guest pixels, disjoint, inside `box`
    Pixels pixels;           ///< box.w * box.h; what lies outside `areas` is not looked at
};

/// A QXL device with one primary surface and an arrow for a cursor. Main thread, but for what spice-server's worker
/// thread calls back.
class QxlDisplay {
public:
    /// Adds the device to `server`, which must be initialised and outlive this. Both outlive the worker thread, which
    /// spice_server_destroy() ends.
    QxlDisplay(SpiceServer *server, int width, int height);
    QxlDisplay(const QxlDisplay &) = delete;
    QxlDisplay &operator=(const QxlDisplay &) = delete;
    ~QxlDisplay();

    void draw(const Drawing &drawing);

    /// Another primary surface. What was drawn before and is not taken yet is dropped.
    void resize(int width, int height);

    void move_cursor(int x, int y);

    /// A client asks for another size, in guest pixels, unchecked. With no handler the device says that it cannot.
    void on_resize_wish(std::function<void(unsigned width, unsigned height)> handler) { wish_ = std::move(handler); }

    /// Commands that the worker has not taken yet.
    [[nodiscard]] std::size_t waiting() const;

    /// Called on the main loop some time after the worker has taken the last waiting command.
    void on_drained(std::function<void()> handler) { drained_ = std::move(handler); }

    [[nodiscard]] std::uint64_t commands() const { return commands_; }
    [[nodiscard]] std::uint64_t drawn_pixels() const { return drawn_pixels_; }

private:
    struct Command;
    struct Interface;
    friend struct Interface;

    void create_primary();
    void set_cursor();
    bool take(std::deque<Command *> &queue, QXLCommandExt *out);

    struct Instance { // the instance first, so that a callback finds its way back here
        QXLInstance qxl{};
        QxlDisplay *display = nullptr;
    } instance_;
    int width_;
    int height_;
    Pixels primary_; ///< spice-server renders here when it has to
    std::vector<std::uint8_t> monitors_;
    std::function<void()> drained_;
    std::function<void(unsigned, unsigned)> wish_;
    std::uint64_t commands_ = 0;
    std::uint64_t drawn_pixels_ = 0;

    mutable std::mutex mutex_; ///< guards the two queues
    std::deque<Command *> drawings_;
    std::deque<Command *> cursors_;
    std::atomic<std::size_t> outstanding_ = 0; ///< taken by the worker, not released
    std::atomic<unsigned> drained_source_ = 0;
};

} // namespace spice_overlay::host
