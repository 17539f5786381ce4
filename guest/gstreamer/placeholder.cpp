// SPDX-License-Identifier: LGPL-2.1-or-later
#include "placeholder.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace spice_overlay::gst {
namespace {

/// A colour in the four components that a format's packing function takes, 16 bits each; A first.
struct Components {
    std::uint16_t value[4];
};

std::uint16_t sixteen_bits(double value)
{
    return static_cast<std::uint16_t>(std::lround(std::clamp(value, 0.0, 1.0) * 65535));
}

Components components(const GstVideoInfo &info, std::uint32_t colour)
{
    double r = (colour >> 16 & 255) / 255.0, g = (colour >> 8 & 255) / 255.0, b = (colour & 255) / 255.0;
    if (!GST_VIDEO_INFO_IS_YUV(&info))
        return {{65535, sixteen_bits(r), sixteen_bits(g), sixteen_bits(b)}};
    double kr = 0.299, kb = 0.114;
    (void)gst_video_color_matrix_get_Kr_Kb(info.colorimetry.matrix, &kr, &kb);
    double y = kr * r + (1 - kr - kb) * g + kb * b;
    double u = (b - y) / (2 * (1 - kb)), v = (r - y) / (2 * (1 - kr));
    bool full = info.colorimetry.range == GST_VIDEO_COLOR_RANGE_0_255;
    double luma = full ? y : (16 + 219 * y) / 255;
    double scale = full ? 1 : 224.0 / 255;
    // Rounded in 8 bits where that is what is stored, so that a packing function that cuts off does no harm.
    auto eight = [](double value) { return sixteen_bits(std::lround(value * 255) / 255.0); };
    return {{65535, eight(luma), eight(u * scale + 128 / 255.0), eight(v * scale + 128 / 255.0)}};
}

} // namespace

void Placeholder::forget()
{
    if (pool_) {
        gst_buffer_pool_set_active(pool_, FALSE);
        gst_object_unref(pool_);
        pool_ = nullptr;
    }
}

Result<GstCaps *> Placeholder::choose(const GstCaps *encoded)
{
    const GstStructure *from = gst_caps_get_structure(encoded, 0);
    GstCaps *mine = gst_caps_new_empty_simple("video/x-raw");
    for (const char *field : {"width", "height", "framerate", "pixel-aspect-ratio", "multiview-mode"})
        if (const GValue *value = gst_structure_get_value(from, field))
            gst_caps_set_value(mine, field, value);
    GstCaps *formats = gst_caps_from_string(GST_VIDEO_CAPS_MAKE(GST_VIDEO_FORMATS_ALL));
    GstCaps *wanted = gst_caps_intersect(formats, mine);
    gst_caps_unref(formats);
    gst_caps_unref(mine);

    GstCaps *allowed = gst_pad_peer_query_caps(src_, wanted);
    GstCaps *common = gst_caps_intersect_full(allowed, wanted, GST_CAPS_INTERSECT_FIRST);
    gst_caps_unref(allowed);
    gst_caps_unref(wanted);
    if (gst_caps_is_empty(common)) {
        gst_caps_unref(common);
        return Error{"what is downstream takes no pictures in main memory"};
    }
    common = gst_caps_truncate(gst_caps_make_writable(common));
    GstStructure *fields = gst_caps_get_structure(common, 0);
    // Converters put first what goes on without being converted. Whoever takes everything, or is not there yet, has no such wish.
    const GValue *formats_left = gst_structure_get_value(fields, "format");
    if (formats_left && GST_VALUE_HOLDS_LIST(formats_left) && gst_value_list_get_size(formats_left) > 20)
        gst_structure_fixate_field_string(fields, "format", "I420");
    gst_structure_fixate_field_nearest_fraction(fields, "framerate", 30, 1);
    if (gst_structure_has_field(fields, "pixel-aspect-ratio"))
        gst_structure_fixate_field_nearest_fraction(fields, "pixel-aspect-ratio", 1, 1);
    common = gst_caps_fixate(common);

    GstVideoInfo info;
    if (!gst_video_info_from_caps(&info, common)) {
        gst_caps_unref(common);
        return Error{"no form of pictures could be agreed upon"};
    }
    gst_caps_unref(common);
    return gst_video_info_to_caps(&info);
}

Status Placeholder::prepare(GstCaps *caps, std::uint32_t colour)
{
    forget();
    colour_ = colour;
    if (!gst_video_info_from_caps(&info_, caps))
        return Error{"no form of pictures could be agreed upon"};
    guint size = static_cast<guint>(info_.size), least = 2, most = 0;
    GstQuery *query = gst_query_new_allocation(caps, TRUE);
    if (gst_pad_peer_query(src_, query) && gst_query_get_n_allocation_pools(query) > 0)
        gst_query_parse_nth_allocation_pool(query, 0, &pool_, &size, &least, &most);
    gst_query_unref(query);
    size = std::max(size, static_cast<guint>(info_.size));
    for (bool own = !pool_;; own = true) {
        if (own) {
            if (pool_)
                gst_object_unref(std::exchange(pool_, nullptr));
            pool_ = gst_video_buffer_pool_new();
            most = 0;
        }
        GstStructure *config = gst_buffer_pool_get_config(pool_);
        gst_buffer_pool_config_set_params(config, caps, size, std::max(least, 2u), most);
        if (gst_buffer_pool_set_config(pool_, config) && gst_buffer_pool_set_active(pool_, TRUE))
            return Success{};
        if (own)
            break;
    }
    gst_object_unref(std::exchange(pool_, nullptr));
    return Error{"there is no memory for pictures"};
}

GstBuffer *Placeholder::frame(GstFlowReturn &flow)
{
    GstBuffer *buffer = nullptr;
    flow = gst_buffer_pool_acquire_buffer(pool_, &buffer, nullptr);
    if (flow != GST_FLOW_OK)
        return nullptr;
    // Each time anew: the pool gives the same few buffers again and again, with what elements behind us drew into them.
    if (!paint(buffer)) {
        gst_buffer_unref(buffer);
        flow = GST_FLOW_ERROR;
        return nullptr;
    }
    return buffer;
}

bool Placeholder::paint(GstBuffer *buffer) const
{
    GstVideoFrame frame;
    if (!gst_video_frame_map(&frame, &info_, buffer, GST_MAP_WRITE))
        return false;
    const GstVideoFormatInfo *format = info_.finfo;
    const GstVideoFormatInfo *unpacked = gst_video_format_get_info(format->unpack_format);
    bool wide = GST_VIDEO_FORMAT_INFO_DEPTH(unpacked, 0) > 8;
    Components colour = components(info_, colour_);
    int width = GST_VIDEO_INFO_WIDTH(&info_), height = GST_VIDEO_INFO_HEIGHT(&info_);

    // Lines in the form that every format can be packed from; subsampled formats take several at a time.
    std::size_t step = wide ? 8 : 4;
    int lines = 1 << format->h_sub[1];
    std::vector<std::uint8_t> line(static_cast<std::size_t>(width + 16) * step * static_cast<std::size_t>(lines));
    for (std::size_t at = 0; at < line.size(); at += step)
        for (std::size_t i = 0; i < 4; i++) {
            if (wide) {
                line[at + 2 * i] = static_cast<std::uint8_t>(colour.value[i] & 255);
                line[at + 2 * i + 1] = static_cast<std::uint8_t>(colour.value[i] >> 8);
            } else {
                line[at + i] = static_cast<std::uint8_t>(colour.value[i] >> 8);
            }
        }
    for (int y = 0; y < height; y++)
        format->pack_func(format, GST_VIDEO_PACK_FLAG_NONE, line.data(),
                          static_cast<gint>((width + 16) * static_cast<int>(step)), frame.data, frame.info.stride,
                          GST_VIDEO_CHROMA_SITE_UNKNOWN, y, width);
    gst_video_frame_unmap(&frame);
    return true;
}

} // namespace spice_overlay::gst
