// SPDX-License-Identifier: LGPL-2.1-or-later
#include "ladder.h"

#include "transport.h"

#include <drm_fourcc.h>

#include <algorithm>

namespace spice_overlay {

namespace {

bool is_rgb(std::uint32_t fourcc)
{
    return fourcc == DRM_FORMAT_XRGB8888;
}

std::string why_no_dmabuf(const Transport::Offer &offer, const Transport &transport, bool rgb)
{
    const auto &formats = offer.dmabuf_fourccs;
    if (std::any_of(formats.begin(), formats.end(), [rgb](std::uint32_t f) { return is_rgb(f) == rgb; }))
        return {};
    if (formats.empty() || !transport.why_not().empty())
        return transport.why_not();
    return std::string("the compositor takes no ") + (rgb ? "XRGB" : "YUV (YU12 or NV12)")
           + " that is laid out line by line";
}

std::string why_no_shm(const WaylandConnection &connection)
{
    if (connection.shm_takes(DRM_FORMAT_YUV420) || connection.shm_takes(DRM_FORMAT_NV12))
        return {};
    return "the compositor takes no YUV in shared memory (wl_shm): use one that draws by OpenGL, as Weston with --renderer=gl";
}

} // namespace

std::vector<Rung> ladder(const WaylandConnection &connection)
{
    Transport &transport = connection.transport();
    const Transport::Offer offer = transport.offer();
    return {
        {"dmabuf", "decoded into memory that the GPU reads", why_no_dmabuf(offer, transport, false)},
        {"dmabuf-rgb", "the same, after one conversion to RGB", why_no_dmabuf(offer, transport, true)},
        {"shm", "decoded into memory that the compositor copies", why_no_shm(connection)},
        {"shm-rgb", "the same, after one conversion to RGB", {}},
    };
}

Rung gpu_rung(bool processed, const std::string &why_not)
{
    if (processed)
        return {"gpu-vpp", "the same, after the GPU has converted it", why_not};
    return {"gpu", "decoded by the GPU into memory of its own", why_not};
}

const char *rung_of(const VideoBuffer &buffer)
{
    if (is_rgb(buffer.fourcc()))
        return buffer.is_dmabuf() ? "dmabuf-rgb" : "shm-rgb";
    return buffer.is_dmabuf() ? "dmabuf" : "shm";
}

CpuCopies cpu_copies(const VideoFrame &frame)
{
    const std::uint64_t pixels = std::uint64_t{frame.decoded.crop.width} * frame.decoded.crop.height;
    const bool rgb = is_rgb(frame.buffer->fourcc());
    const std::uint64_t bytes = rgb ? pixels * 4 : pixels * 3 / 2;
    return {rgb ? bytes : 0, frame.buffer->is_dmabuf() ? 0 : bytes};
}

std::string describe(const CpuCopies &copies)
{
    std::string text;
    if (copies.by_decoder > 0)
        text = "the decoder converts";
    if (copies.by_compositor > 0)
        text += std::string(text.empty() ? "" : ", ") + "the compositor copies";
    return text;
}

} // namespace spice_overlay
