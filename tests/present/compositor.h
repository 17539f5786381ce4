// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/format_set.h"
#include "surfaces.h"

#include <wayland-client-core.h>
#include <wayland-server-core.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace spice_overlay {

/// A compositor that draws nothing, in the test's own thread: it says what a test wants said, and answers when it is told to.
/// One client, whose connection is `display`.
class Compositor {
public:
    /// What it offers. `version` 0: no linux-dmabuf.
    struct Offer {
        std::uint32_t version = 4;
        std::vector<std::uint32_t> shm_formats; ///< besides those that every compositor has
        FormatSet dmabuf_formats;               ///< for versions below 4
        std::vector<std::string> without;       ///< globals that it lacks
    };
    explicit Compositor(Offer offer);
    ~Compositor();
    Compositor(const Compositor &) = delete;
    Compositor &operator=(const Compositor &) = delete;

    /// One tranche of feedback; formats are indices of the table.
    struct Tranche {
        std::vector<std::uint16_t> formats;
        bool scanout = false;
        dev_t device = 0;
    };
    /// To every feedback object, or kept for those to come.
    void send_feedback(dev_t main_device, std::vector<FormatSet::Entry> table, std::vector<Tranche> tranches);

    /// Handles all that both sides have to say to each other.
    void exchange();
    /// The same on a thread of its own while `call` blocks in round trips.
    template <typename F>
    auto serving(F call)
    {
        start_thread();
        auto result = call();
        stop_thread();
        return result;
    }

    wl_display *display = nullptr; ///< the client's

    struct Request {
        std::uint32_t fourcc = 0;
        std::int32_t width = 0;
        std::int32_t height = 0;
        std::uint64_t modifier = 0;
        std::vector<std::pair<std::uint32_t, std::uint32_t>> planes; ///< offset, stride
        wl_resource *params = nullptr;                               ///< null: answered, or the client has let go of it
    };
    std::vector<std::shared_ptr<Request>> requests; ///< `create`, in the order they came
    unsigned immediate = 0;                         ///< `create_immed`: none is allowed
    unsigned shm_buffers = 0;                       ///< that exist
    unsigned dmabuf_buffers = 0;

    std::unique_ptr<Surfaces> surfaces;

    void accept(std::size_t request);
    void refuse(std::size_t request);

private:
    friend struct CompositorRequests;
    void start_thread();
    void stop_thread();
    void send_feedback_to(wl_resource *feedback);

    struct Thread;
    Offer offer_;
    wl_display *server_ = nullptr;
    wl_client *client_ = nullptr;
    std::unique_ptr<Thread> thread_;
    std::vector<wl_resource *> feedbacks_;
    dev_t main_device_ = 0;
    std::vector<FormatSet::Entry> table_;
    std::vector<Tranche> tranches_;
};

} // namespace spice_overlay
