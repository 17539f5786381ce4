// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "connection.h"
#include "dmabuf/format_set.h"
#include "dmabuf/image.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>

struct wl_buffer;
struct zwp_linux_buffer_params_v1;
struct zwp_linux_dmabuf_feedback_v1;
struct zwp_linux_dmabuf_v1;

namespace spice_overlay {

/// The compositor's zwp_linux_dmabuf_v1: what it takes, as it says now. One thread.
class LinuxDmabuf {
public:
    static constexpr std::uint32_t kMaxVersion = 4;

    /// Takes over the bound global. `on_change` is called when what it takes has become something else.
    LinuxDmabuf(zwp_linux_dmabuf_v1 *global, std::function<void()> on_change);
    ~LinuxDmabuf();
    LinuxDmabuf(const LinuxDmabuf &) = delete;
    LinuxDmabuf &operator=(const LinuxDmabuf &) = delete;

    /// Events come by the display's default queue from here on.
    void use_default_queue();

    [[nodiscard]] zwp_linux_dmabuf_v1 *get() const { return global_; }
    [[nodiscard]] std::uint32_t version() const; ///< of the protocol, as bound
    [[nodiscard]] const DmabufFeedback &feedback() const { return feedback_; }

private:
    friend struct LinuxDmabufEvents;
    zwp_linux_dmabuf_v1 *global_;
    zwp_linux_dmabuf_feedback_v1 *feedback_object_ = nullptr; ///< from version 4 on
    std::function<void()> on_change_;
    DmabufFeedback feedback_;
    // What has come of the next feedback:
    FormatTable table_; ///< stays until another comes
    DmabufFeedback next_;
    DmabufFeedback::Tranche tranche_;
    bool broken_ = false; ///< it contradicts itself
};

/// A compositor's answer to a dmabuf, once: a wl_buffer, or null when it refuses it. Asked for by `create`, never by
/// `create_immed`, which may end the connection. Who destroys it hears no answer. One thread.
class DmabufImport {
public:
    DmabufImport(LinuxDmabuf &dmabuf, const Image &image, std::function<void(wl_buffer *)> on_answer);
    ~DmabufImport();
    DmabufImport(const DmabufImport &) = delete;
    DmabufImport &operator=(const DmabufImport &) = delete;

private:
    friend struct DmabufImportEvents;
    zwp_linux_buffer_params_v1 *params_;
    std::function<void(wl_buffer *)> on_answer_;
};

} // namespace spice_overlay
