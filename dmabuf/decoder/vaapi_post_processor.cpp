// SPDX-License-Identifier: LGPL-2.1-or-later
#include "post_processor.h"

#include "dmabuf/formats.h"

extern "C" {
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_vaapi.h>
}

#include <va/va.h>
#include <va/va_drmcommon.h>
#include <va/va_vpp.h>

#include <algorithm>
#include <string>

namespace spice_overlay {

namespace {

Error va_error(const std::string &what, VAStatus status)
{
    return Error{what + ": " + vaErrorStr(status)};
}

VASurfaceID surface_of(const AVFrame &frame)
{
    return static_cast<VASurfaceID>(reinterpret_cast<std::uintptr_t>(frame.data[3]));
}

AVPixelFormat pixel_format(std::uint32_t fourcc)
{
    return fourcc == kFourccNv12 ? AV_PIX_FMT_NV12 : fourcc == kFourccP010 ? AV_PIX_FMT_P010 : AV_PIX_FMT_BGR0;
}

VAProcColorStandardType standard_of(int matrix)
{
    switch (matrix) {
    case AVCOL_SPC_BT709:
        return VAProcColorStandardBT709;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL:
        return VAProcColorStandardBT2020;
    default: // as software has it
        return VAProcColorStandardBT601;
    }
}

std::uint8_t range_of(bool full)
{
    return full ? VA_SOURCE_RANGE_FULL : VA_SOURCE_RANGE_REDUCED;
}

class VaapiPostProcessor : public PostProcessor {
public:
    VaapiPostProcessor(VADisplay display, const ProcessedKind &kind)
        : display_(display), rgb_(kind.fourcc == kFourccXrgb8888), modifiers_(kind.modifiers)
    {
    }
    ~VaapiPostProcessor() override
    {
        if (context_ != VA_INVALID_ID)
            vaDestroyContext(display_, context_);
        if (config_ != VA_INVALID_ID)
            vaDestroyConfig(display_, config_);
        av_buffer_unref(&frames_);
    }

    [[nodiscard]] Status open(AVBufferRef *device, AVPixelFormat format, int width, int height);
    [[nodiscard]] Result<std::shared_ptr<AVFrame>> convert(const AVFrame &frame, const Colour &colour) override;

private:
    [[nodiscard]] Status make_surfaces(AVBufferRef *device, AVPixelFormat format, int width, int height, bool choose);
    void choose_output_standard();
    [[nodiscard]] Status run(VASurfaceID from, VASurfaceID to, const Colour &colour);

    VADisplay display_;
    const bool rgb_;
    std::vector<std::uint64_t> modifiers_; ///< the surfaces' attribute points here
    VADRMFormatModifierList modifier_list_{};
    VASurfaceAttrib attribute_{};
    AVBufferRef *frames_ = nullptr;
    int width_ = 0;
    int height_ = 0;
    VAConfigID config_ = VA_INVALID_ID;
    VAContextID context_ = VA_INVALID_ID;
    VAProcColorStandardType rgb_standard_ = VAProcColorStandardNone;
};

/// Surfaces are made one by one as they are needed: the pool bounds how many are out. `choose`: of one of the modifiers.
Status VaapiPostProcessor::make_surfaces(AVBufferRef *device, AVPixelFormat format, int width, int height, bool choose)
{
    frames_ = av_hwframe_ctx_alloc(device);
    if (!frames_)
        return Error{"out of memory"};
    auto *frames = reinterpret_cast<AVHWFramesContext *>(frames_->data);
    frames->format = AV_PIX_FMT_VAAPI;
    frames->sw_format = format;
    frames->width = width;
    frames->height = height;
    if (choose) {
        modifier_list_ = {static_cast<std::uint32_t>(modifiers_.size()), modifiers_.data()};
        attribute_.type = VASurfaceAttribDRMFormatModifiers;
        attribute_.flags = VA_SURFACE_ATTRIB_SETTABLE;
        attribute_.value.type = VAGenericValueTypePointer;
        attribute_.value.value.p = &modifier_list_;
        auto *own = static_cast<AVVAAPIFramesContext *>(frames->hwctx);
        own->attributes = &attribute_;
        own->nb_attributes = 1;
    }
    if (av_hwframe_ctx_init(frames_) >= 0)
        return Success{};
    av_buffer_unref(&frames_);
    return Error{"the driver makes no such surfaces"};
}

Status VaapiPostProcessor::open(AVBufferRef *device, AVPixelFormat format, int width, int height)
{
    if (const VAStatus status = vaCreateConfig(display_, VAProfileNone, VAEntrypointVideoProc, nullptr, 0, &config_);
        status != VA_STATUS_SUCCESS) {
        config_ = VA_INVALID_ID;
        return va_error("the driver converts no pictures", status);
    }
    width_ = width;
    height_ = height;
    if (modifiers_.empty() || !make_surfaces(device, format, width, height, true))
        if (Status made = make_surfaces(device, format, width, height, false); !made)
            return made;
    if (const VAStatus status =
            vaCreateContext(display_, config_, width, height, VA_PROGRESSIVE, nullptr, 0, &context_);
        status != VA_STATUS_SUCCESS) {
        context_ = VA_INVALID_ID;
        return va_error("the driver converts no pictures of this size", status);
    }
    choose_output_standard();
    return Success{};
}

/// RGB is what the screen shows, where the driver knows that by name; else its own idea of it. The first picture tells.
void VaapiPostProcessor::choose_output_standard()
{
    VAProcPipelineCaps caps{};
    if (vaQueryVideoProcPipelineCaps(display_, context_, nullptr, 0, &caps) != VA_STATUS_SUCCESS
        || !caps.output_color_standards)
        return;
    auto *const end = caps.output_color_standards + caps.num_output_color_standards;
    if (std::find(caps.output_color_standards, end, VAProcColorStandardSRGB) != end)
        rgb_standard_ = VAProcColorStandardSRGB;
}

Status VaapiPostProcessor::run(VASurfaceID from, VASurfaceID to, const Colour &colour)
{
    const VARectangle whole{0, 0, static_cast<std::uint16_t>(width_), static_cast<std::uint16_t>(height_)};
    VAProcPipelineParameterBuffer pipeline{};
    pipeline.surface = from;
    pipeline.surface_region = &whole;
    pipeline.surface_color_standard = standard_of(colour.matrix);
    pipeline.input_color_properties.color_range = range_of(colour.full_range);
    pipeline.output_region = &whole;
    pipeline.output_color_standard = rgb_ ? rgb_standard_ : pipeline.surface_color_standard;
    pipeline.output_color_properties.color_range = range_of(rgb_ || colour.full_range);
    pipeline.output_background_color = 0xff000000;

    VABufferID buffer = VA_INVALID_ID;
    VAStatus status =
        vaCreateBuffer(display_, context_, VAProcPipelineParameterBufferType, sizeof pipeline, 1, &pipeline, &buffer);
    if (status != VA_STATUS_SUCCESS)
        return va_error("the driver converts no picture", status);
    status = vaBeginPicture(display_, context_, to);
    if (status == VA_STATUS_SUCCESS) {
        status = vaRenderPicture(display_, context_, &buffer, 1);
        const VAStatus ended = vaEndPicture(display_, context_); // in any case, or no other begins
        status = status == VA_STATUS_SUCCESS ? ended : status;
    }
    vaDestroyBuffer(display_, buffer);
    return status == VA_STATUS_SUCCESS ? Status(Success{}) : va_error("the driver fails to convert a picture", status);
}

Result<std::shared_ptr<AVFrame>> VaapiPostProcessor::convert(const AVFrame &frame, const Colour &colour)
{
    if (frame.width != width_ || frame.height != height_)
        return Error{"the picture has another size than those before it"};
    std::shared_ptr<AVFrame> made(av_frame_alloc(), [](AVFrame *f) { av_frame_free(&f); });
    if (!made || av_hwframe_get_buffer(frames_, made.get(), 0) < 0)
        return Error{"the driver makes no surface for a converted picture"};
    if (av_frame_copy_props(made.get(), &frame) < 0)
        return Error{"out of memory"};
    if (Status status = run(surface_of(frame), surface_of(*made), colour); !status)
        return status.error();
    return made;
}

} // namespace

Result<std::unique_ptr<PostProcessor>> open_post_processor(AVBufferRef *device, const ProcessedKind &kind, int width,
                                                           int height)
{
    const auto *context = device ? reinterpret_cast<const AVHWDeviceContext *>(device->data) : nullptr;
    if (!context || context->type != AV_HWDEVICE_TYPE_VAAPI)
        return Error{"the decoder's device converts no pictures"};
    VADisplay display = static_cast<const AVVAAPIDeviceContext *>(context->hwctx)->display;
    auto processor = std::make_unique<VaapiPostProcessor>(display, kind);
    if (Status status = processor->open(device, pixel_format(kind.fourcc), width, height); !status)
        return status.error();
    return std::unique_ptr<PostProcessor>(std::move(processor));
}

} // namespace spice_overlay
