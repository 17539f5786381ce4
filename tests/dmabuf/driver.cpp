// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver.h"

#include "dmabuf/formats.h"
#include "dmabuf/memfd.h"

#include <array>

#include <poll.h>

namespace spice_overlay {

namespace {

void copy_plane(std::vector<std::uint8_t> &out, const std::uint8_t *plane, std::uint32_t stride, std::uint32_t x,
                std::uint32_t y, std::uint32_t bytes, std::uint32_t lines)
{
    for (std::uint32_t line = 0; line < lines; ++line) {
        const std::uint8_t *start = plane + std::size_t{stride} * (y + line) + x;
        out.insert(out.end(), start, start + bytes);
    }
}

/// The picture in a surface: of NV12 or P010 as planes in the order and the bits that FFmpeg has for software, of XRGB8888 as it is.
std::vector<std::uint8_t> planar(const Image &image, const wire::Rect &crop)
{
    std::array<Mapping, 2> memory;
    for (unsigned i = 0; i < image.plane_count(); ++i) {
        auto size = dmabuf_size(image.plane(i).fd, Image::Backing::kStandIn);
        auto mapping = Mapping::map(image.plane(i).fd, static_cast<std::size_t>(*size), Mapping::Access::kRead);
        if (!mapping)
            return {};
        memory[i] = std::move(*mapping);
    }
    const bool deep = image.fourcc() == kFourccP010;
    std::vector<std::uint8_t> out;
    const auto copy = [&](unsigned plane, std::uint32_t first, std::uint32_t step, std::uint32_t x, std::uint32_t y,
                          std::uint32_t width, std::uint32_t height) {
        const Image::Plane where = image.plane(plane);
        for (std::uint32_t line = y; line < y + height; ++line) {
            const std::uint8_t *start = memory[plane].data() + where.offset + std::size_t{where.stride} * line;
            for (std::uint32_t i = 0; i < width; ++i) {
                const std::size_t at = std::size_t{x + i} * step + first;
                if (!deep) {
                    out.push_back(start[at]);
                    continue;
                }
                const unsigned sample = (start[2 * at] | start[2 * at + 1] << 8) >> 6;
                out.push_back(static_cast<std::uint8_t>(sample));
                out.push_back(static_cast<std::uint8_t>(sample >> 8));
            }
        }
    };
    const auto x = static_cast<std::uint32_t>(crop.x);
    const auto y = static_cast<std::uint32_t>(crop.y);
    if (image.fourcc() == kFourccXrgb8888) {
        copy_plane(out, memory[0].data() + image.plane(0).offset, image.plane(0).stride, 4 * x, y, 4 * crop.width,
                   crop.height);
        return out;
    }
    copy(0, 0, 1, x, y, crop.width, crop.height);
    for (const std::uint32_t first : {0u, 1u})
        copy(1, first, 2, x / 2, y / 2, (crop.width + 1) / 2, (crop.height + 1) / 2);
    return out;
}

} // namespace

DecoderProcess::Config Driver::config(const std::string &program, wire::Codec codec, std::uint32_t width,
                                      std::uint32_t height)
{
    DecoderProcess::Config config;
    config.program = program;
    config.stream.stream = 1;
    config.stream.codec = codec;
    config.stream.coded_width = width;
    config.stream.coded_height = height;
    config.fourccs = {kFourccYu12, kFourccNv12, kFourccXrgb8888};
    config.yuv_matrix = 0;
    config.threads = 2;
    return config;
}

Driver::Driver(const DecoderProcess::Config &config)
{
    auto started = DecoderProcess::start(config, *this);
    if (started)
        decoder = std::move(*started);
    else
        start_error = started.error().message;
}

bool Driver::wait(const std::function<bool()> &done, std::chrono::milliseconds deadline)
{
    const auto end = std::chrono::steady_clock::now() + deadline;
    while (!done()) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(end - std::chrono::steady_clock::now()).count();
        if (left <= 0 || !decoder || failures > 0)
            return false;
        pollfd poll{decoder->fd(), POLLIN, 0};
        if (::poll(&poll, 1, static_cast<int>(left)) > 0)
            decoder->dispatch();
    }
    return true;
}

bool Driver::feed(const Unit &unit, std::uint16_t flags)
{
    if (!wait([&] { return units_sent - units_consumed < window; }))
        return false;
    wire::AccessUnit sent;
    sent.stream = 1;
    sent.serial = static_cast<std::uint32_t>(units_sent);
    sent.epoch = epoch;
    sent.flags = static_cast<std::uint16_t>(flags | (unit.key ? wire::kKey : 0));
    sent.pts = unit.pts;
    sent.total_size = static_cast<std::uint32_t>(unit.data.size());
    sent.data = unit.data;
    if (!decoder->send(sent))
        return false;
    ++units_sent;
    return true;
}

bool Driver::feed_all(const std::vector<Unit> &units)
{
    for (const Unit &unit : units) {
        if (!feed(unit))
            return false;
    }
    decoder->drain();
    const std::size_t expected = units.size();
    return wait([&] { return units_consumed == units_sent && pictures.size() >= expected; });
}

void Driver::release_all()
{
    for (std::uint32_t slot : std::exchange(held, {}))
        decoder->release(slot);
}

void Driver::buffer(FrameBuffer buffer)
{
    ++buffers;
    slots.insert(buffer.slot);
    buffers_[buffer.slot] = std::move(buffer);
}

void Driver::frame(const DecodedFrame &frame)
{
    const FrameBuffer &buffer = buffers_.at(frame.slot);
    Picture picture{frame, buffer.fourcc, buffer.width, buffer.height, {}};
    if (keep_pixels && buffer.image) {
        if (!buffer.fd.valid())
            picture.pixels = planar(*buffer.image, frame.crop);
    }
    if (keep_pixels && buffer.fd.valid()) {
        auto memory = Mapping::map(buffer.fd.get(), buffer.size, Mapping::Access::kRead);
        if (!memory)
            return;
        const std::uint8_t *data = memory->data();
        const auto x = static_cast<std::uint32_t>(frame.crop.x);
        const auto y = static_cast<std::uint32_t>(frame.crop.y);
        const std::uint32_t width = frame.crop.width;
        const std::uint32_t height = frame.crop.height;
        if (buffer.fourcc == kFourccXrgb8888) {
            copy_plane(picture.pixels, data, buffer.planes[0].stride, 4 * x, y, 4 * width, height);
        } else {
            copy_plane(picture.pixels, data, buffer.planes[0].stride, x, y, width, height);
            for (int i : {1, 2})
                copy_plane(picture.pixels, data + buffer.planes[i].offset, buffer.planes[i].stride, x / 2, y / 2,
                           (width + 1) / 2, (height + 1) / 2);
        }
    }
    pictures.push_back(std::move(picture));
    if (hold)
        held.push_back(frame.slot);
    else
        decoder->release(frame.slot);
}

void Driver::path(const DecodePath &path)
{
    paths.push_back(path);
}

void Driver::consumed(std::uint32_t units)
{
    units_consumed += units;
}

void Driver::failed(wire::Reason failed_reason, const std::string &text)
{
    ++failures;
    reason = failed_reason;
    why = text;
}

} // namespace spice_overlay
