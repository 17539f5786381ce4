// SPDX-License-Identifier: LGPL-2.1-or-later
#include "stream_format.h"

#include <gst/pbutils/codec-utils.h>
#include <gst/video/video.h>

#include <cstdint>
#include <cstring>
#include <string>

namespace spice_overlay::gst {

const char *const kEncodedCaps = "video/x-h264, stream-format=(string)byte-stream, alignment=(string)au; "
                                 "video/x-h265, stream-format=(string)byte-stream, alignment=(string)au; "
                                 "video/x-vp8; "
                                 "video/x-vp9; "
                                 "video/x-av1, stream-format=(string)obu-stream, alignment=(string)tu; "
                                 "video/mpeg, mpegversion=(int)2, systemstream=(boolean)false";

namespace {

struct CodecName {
    const char *caps;
    spice_overlay_codec codec;
};
constexpr CodecName kCodecs[] = {
    {"video/x-h264", SPICE_OVERLAY_CODEC_H264}, {"video/x-h265", SPICE_OVERLAY_CODEC_HEVC},
    {"video/x-vp8", SPICE_OVERLAY_CODEC_VP8},   {"video/x-vp9", SPICE_OVERLAY_CODEC_VP9},
    {"video/x-av1", SPICE_OVERLAY_CODEC_AV1},   {"video/mpeg", SPICE_OVERLAY_CODEC_MPEG2},
};

/// Profiles as GStreamer names them, and the codecs' own numbers.
struct Profile {
    spice_overlay_codec codec;
    const char *name;
    int number;
};
constexpr Profile kProfiles[] = {
    {SPICE_OVERLAY_CODEC_H264, "constrained-baseline", 66},
    {SPICE_OVERLAY_CODEC_H264, "baseline", 66},
    {SPICE_OVERLAY_CODEC_H264, "main", 77},
    {SPICE_OVERLAY_CODEC_H264, "extended", 88},
    {SPICE_OVERLAY_CODEC_H264, "high", 100},
    {SPICE_OVERLAY_CODEC_H264, "progressive-high", 100},
    {SPICE_OVERLAY_CODEC_H264, "constrained-high", 100},
    {SPICE_OVERLAY_CODEC_H264, "high-10", 110},
    {SPICE_OVERLAY_CODEC_H264, "progressive-high-10", 110},
    {SPICE_OVERLAY_CODEC_H264, "high-10-intra", 110},
    {SPICE_OVERLAY_CODEC_H264, "high-4:2:2", 122},
    {SPICE_OVERLAY_CODEC_H264, "high-4:2:2-intra", 122},
    {SPICE_OVERLAY_CODEC_H264, "high-4:4:4", 244},
    {SPICE_OVERLAY_CODEC_H264, "high-4:4:4-intra", 244},
    {SPICE_OVERLAY_CODEC_HEVC, "main", 1},
    {SPICE_OVERLAY_CODEC_HEVC, "main-10", 2},
    {SPICE_OVERLAY_CODEC_HEVC, "main-still-picture", 3},
    {SPICE_OVERLAY_CODEC_VP9, "0", 0},
    {SPICE_OVERLAY_CODEC_VP9, "1", 1},
    {SPICE_OVERLAY_CODEC_VP9, "2", 2},
    {SPICE_OVERLAY_CODEC_VP9, "3", 3},
    {SPICE_OVERLAY_CODEC_AV1, "main", 0},
    {SPICE_OVERLAY_CODEC_AV1, "high", 1},
    {SPICE_OVERLAY_CODEC_AV1, "professional", 2},
    {SPICE_OVERLAY_CODEC_MPEG2, "simple", 5},
    {SPICE_OVERLAY_CODEC_MPEG2, "main", 4},
    {SPICE_OVERLAY_CODEC_MPEG2, "4:2:2", 0},
    {SPICE_OVERLAY_CODEC_MPEG2, "high", 1},
};

int profile_number(spice_overlay_codec codec, const char *name)
{
    for (const Profile &profile : kProfiles)
        if (name && profile.codec == codec && std::strcmp(profile.name, name) == 0)
            return profile.number;
    return codec == SPICE_OVERLAY_CODEC_HEVC && name ? 4 : -1; // all others of HEVC are format range extensions
}

int level_number(spice_overlay_codec codec, const char *name)
{
    int level = 0;
    if (name && codec == SPICE_OVERLAY_CODEC_H264)
        level = gst_codec_utils_h264_get_level_idc(name);
    if (name && codec == SPICE_OVERLAY_CODEC_HEVC)
        level = gst_codec_utils_h265_get_level_idc(name);
    return level > 0 ? level : -1;
}

bool is(const GstStructure *caps, const char *field, const char *value)
{
    const char *string = gst_structure_get_string(caps, field);
    return string && std::strcmp(string, value) == 0;
}

void colours(const GstStructure *caps, spice_overlay_format &format)
{
    GstVideoColorimetry colour{};
    const char *text = gst_structure_get_string(caps, "colorimetry");
    if (!text || !gst_video_colorimetry_from_string(&colour, text))
        return;
    format.primaries = static_cast<std::uint8_t>(gst_video_color_primaries_to_iso(colour.primaries));
    format.transfer = static_cast<std::uint8_t>(gst_video_transfer_function_to_iso(colour.transfer));
    format.matrix = static_cast<std::uint8_t>(gst_video_color_matrix_to_iso(colour.matrix));
    format.full_range = colour.range == GST_VIDEO_COLOR_RANGE_0_255;
}

/// Both, or neither: a fraction of caps that the protocol can carry.
bool fraction(const GstStructure *caps, const char *field, std::uint32_t &num, std::uint32_t &den)
{
    int n = 0, d = 0;
    if (!gst_structure_get_fraction(caps, field, &n, &d) || n <= 0 || d <= 0)
        return false;
    num = static_cast<std::uint32_t>(n);
    den = static_cast<std::uint32_t>(d);
    return true;
}

} // namespace

spice_overlay_codec codec_of(const GstCaps *caps)
{
    if (caps && !gst_caps_is_any(caps) && !gst_caps_is_empty(caps))
        for (const CodecName &codec : kCodecs)
            if (gst_structure_has_name(gst_caps_get_structure(caps, 0), codec.caps))
                return codec.codec;
    return static_cast<spice_overlay_codec>(0);
}

Result<spice_overlay_format> stream_format(const GstCaps *caps)
{
    spice_overlay_format format = SPICE_OVERLAY_FORMAT_INIT;
    format.codec = codec_of(caps);
    if (format.codec == 0)
        return Error{"a codec that is not redirected"};
    const GstStructure *fields = gst_caps_get_structure(caps, 0);

    if (is(fields, "interlace-mode", "interleaved") || is(fields, "interlace-mode", "mixed")
        || is(fields, "interlace-mode", "fields") || is(fields, "interlace-mode", "alternate"))
        return Error{"interlaced video, which clients do not deinterlace"};
    if (gst_structure_has_field(fields, "protection-system"))
        return Error{"encrypted video"};
    if (is(fields, "alignment", "frame") && format.codec == SPICE_OVERLAY_CODEC_VP9)
        return Error{"single VP9 frames, where whole superframes are needed"};
    if (is(fields, "multiview-mode", "frame-by-frame") || is(fields, "multiview-mode", "multiview-frame-by-frame"))
        return Error{"stereoscopic video"};

    int width = 0, height = 0;
    if (!gst_structure_get_int(fields, "width", &width) || !gst_structure_get_int(fields, "height", &height))
        return Error{"video whose size is not known"};
    if (width <= 0 || height <= 0 || width > 8192 || height > 8192)
        return Error{"video of " + std::to_string(width) + "x" + std::to_string(height)
                     + " pixels, where 8192 a side is the most"};
    format.width = static_cast<std::uint32_t>(width);
    format.height = static_cast<std::uint32_t>(height);

    format.profile = profile_number(format.codec, gst_structure_get_string(fields, "profile"));
    format.level = level_number(format.codec, gst_structure_get_string(fields, "level"));
    fraction(fields, "pixel-aspect-ratio", format.aspect_num, format.aspect_den);
    fraction(fields, "framerate", format.frame_rate_num, format.frame_rate_den);
    colours(fields, format);
    return format;
}

} // namespace spice_overlay::gst
