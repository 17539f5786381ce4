// SPDX-License-Identifier: LGPL-2.1-or-later
#include "linux_dmabuf.h"

#include "linux-dmabuf-unstable-v1-client-protocol.h"
#include "portclient/base/unique_fd.h"

#include <wayland-client.h>

#include <cstring>
#include <span>
#include <utility>

namespace spice_overlay {

namespace {

/// A dev_t comes as bytes of an array.
std::optional<dev_t> device_in(const wl_array *bytes)
{
    dev_t device = 0;
    if (bytes->size != sizeof device)
        return std::nullopt;
    std::memcpy(&device, bytes->data, sizeof device);
    return device;
}

} // namespace

struct LinuxDmabufEvents {
    static LinuxDmabuf &self(void *data) { return *static_cast<LinuxDmabuf *>(data); }

    // ---- to version 3: formats come one by one, and there is no last one

    static void format(void *data, zwp_linux_dmabuf_v1 *global, std::uint32_t fourcc)
    {
        if (zwp_linux_dmabuf_v1_get_version(global) < 3) // later said again, with modifiers
            self(data).feedback_.formats.add(fourcc, kModifierInvalid);
    }
    static void modifier(void *data, zwp_linux_dmabuf_v1 *, std::uint32_t fourcc, std::uint32_t high, std::uint32_t low)
    {
        self(data).feedback_.formats.add(fourcc, std::uint64_t{high} << 32 | low);
    }

    // ---- from version 4 on: feedback, complete with `done`

    static void format_table(void *data, zwp_linux_dmabuf_feedback_v1 *, std::int32_t descriptor, std::uint32_t size)
    {
        const UniqueFd fd(descriptor);
        auto table = FormatTable::read(fd.get(), size);
        self(data).broken_ = self(data).broken_ || !table;
        self(data).table_ = table ? std::move(*table) : FormatTable();
    }
    static void main_device(void *data, zwp_linux_dmabuf_feedback_v1 *, wl_array *bytes)
    {
        const auto device = device_in(bytes);
        self(data).next_.has_device = device.has_value();
        self(data).next_.main_device = device.value_or(0);
    }
    static void tranche_target_device(void *data, zwp_linux_dmabuf_feedback_v1 *, wl_array *bytes)
    {
        self(data).tranche_.device = device_in(bytes).value_or(0);
    }
    static void tranche_formats(void *data, zwp_linux_dmabuf_feedback_v1 *, wl_array *bytes)
    {
        auto set = self(data).table_.pick({static_cast<const std::uint16_t *>(bytes->data), bytes->size / 2});
        if (set)
            self(data).tranche_.formats.add(*set);
        else
            self(data).broken_ = true;
    }
    static void tranche_flags(void *data, zwp_linux_dmabuf_feedback_v1 *, std::uint32_t flags)
    {
        self(data).tranche_.scanout = (flags & ZWP_LINUX_DMABUF_FEEDBACK_V1_TRANCHE_FLAGS_SCANOUT) != 0;
    }
    static void tranche_done(void *data, zwp_linux_dmabuf_feedback_v1 *)
    {
        LinuxDmabuf &d = self(data);
        d.next_.formats.add(d.tranche_.formats);
        d.next_.tranches.push_back(std::exchange(d.tranche_, {}));
    }
    static void done(void *data, zwp_linux_dmabuf_feedback_v1 *)
    {
        LinuxDmabuf &d = self(data);
        d.feedback_ = std::exchange(d.next_, {});
        if (std::exchange(d.broken_, false))
            d.feedback_ = {};
        d.on_change_();
    }
};

LinuxDmabuf::LinuxDmabuf(zwp_linux_dmabuf_v1 *global, std::function<void()> on_change)
    : global_(global), on_change_(std::move(on_change))
{
    static const zwp_linux_dmabuf_v1_listener listener = {LinuxDmabufEvents::format, LinuxDmabufEvents::modifier};
    static const zwp_linux_dmabuf_feedback_v1_listener feedback_listener = {
        LinuxDmabufEvents::done,          LinuxDmabufEvents::format_table,          LinuxDmabufEvents::main_device,
        LinuxDmabufEvents::tranche_done,  LinuxDmabufEvents::tranche_target_device, LinuxDmabufEvents::tranche_formats,
        LinuxDmabufEvents::tranche_flags,
    };
    zwp_linux_dmabuf_v1_add_listener(global_, &listener, this);
    if (zwp_linux_dmabuf_v1_get_version(global_) >= ZWP_LINUX_DMABUF_V1_GET_DEFAULT_FEEDBACK_SINCE_VERSION) {
        feedback_object_ = zwp_linux_dmabuf_v1_get_default_feedback(global_);
        zwp_linux_dmabuf_feedback_v1_add_listener(feedback_object_, &feedback_listener, this);
    }
}

LinuxDmabuf::~LinuxDmabuf()
{
    if (feedback_object_)
        zwp_linux_dmabuf_feedback_v1_destroy(feedback_object_);
    zwp_linux_dmabuf_v1_destroy(global_);
}

std::uint32_t LinuxDmabuf::version() const
{
    return zwp_linux_dmabuf_v1_get_version(global_);
}

void LinuxDmabuf::use_default_queue()
{
    wl_proxy_set_queue(reinterpret_cast<wl_proxy *>(global_), nullptr);
    if (feedback_object_)
        wl_proxy_set_queue(reinterpret_cast<wl_proxy *>(feedback_object_), nullptr);
}

struct DmabufImportEvents {
    static void created(void *data, zwp_linux_buffer_params_v1 *params, wl_buffer *buffer)
    {
        if (auto *import = static_cast<DmabufImport *>(data))
            return std::exchange(import->on_answer_, nullptr)(buffer); // which may destroy the import
        if (buffer)
            wl_buffer_destroy(buffer);
        zwp_linux_buffer_params_v1_destroy(params);
    }
    static void failed(void *data, zwp_linux_buffer_params_v1 *params) { created(data, params, nullptr); }
};

DmabufImport::DmabufImport(LinuxDmabuf &dmabuf, const Image &image, std::function<void(wl_buffer *)> on_answer)
    : params_(zwp_linux_dmabuf_v1_create_params(dmabuf.get())), on_answer_(std::move(on_answer))
{
    static const zwp_linux_buffer_params_v1_listener listener = {DmabufImportEvents::created,
                                                                 DmabufImportEvents::failed};
    zwp_linux_buffer_params_v1_add_listener(params_, &listener, this);
    for (unsigned i = 0; i < image.plane_count(); ++i) {
        const Image::Plane plane = image.plane(i);
        zwp_linux_buffer_params_v1_add(params_, plane.fd, i, plane.offset, plane.stride,
                                       static_cast<std::uint32_t>(image.modifier() >> 32),
                                       static_cast<std::uint32_t>(image.modifier()));
    }
    zwp_linux_buffer_params_v1_create(params_, static_cast<std::int32_t>(image.width()),
                                      static_cast<std::int32_t>(image.height()), image.fourcc(), 0);
}

/// The answer may bring a buffer with a number of the compositor's. An event for what is destroyed is thrown away unread: the number
/// would be missing, and the next one end the connection. So who has not been answered is destroyed by the answer.
DmabufImport::~DmabufImport()
{
    if (on_answer_)
        zwp_linux_buffer_params_v1_set_user_data(params_, nullptr);
    else
        zwp_linux_buffer_params_v1_destroy(params_);
}

} // namespace spice_overlay
