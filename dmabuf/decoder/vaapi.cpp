// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hardware.h"
#include "log.h"
#include "surface_image.h"

extern "C" {
#include <libavutil/hwcontext.h>
#include <libavutil/hwcontext_vaapi.h>
}

#include <va/va.h>
#include <va/va_drm.h>
#include <va/va_drmcommon.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string_view>

namespace spice_overlay {

namespace {

/// Drivers that are not to be tried, by a part of what they call themselves. (What they get wrong that can be seen in a picture
/// needs no place here: the first one is looked at.)
struct Quirk {
    std::string_view vendor;
    const char *why;
};
constexpr Quirk kQuirks[] = {
    {"VDPAU", "it exports no memory"},
    {"NVDEC", "it works by files and devices of NVIDIA's, which this process may not open"},
};

Error va_error(const std::string &what, VAStatus status)
{
    return Error{what + ": " + vaErrorStr(status)};
}

void log(void *, const char *message)
{
    log_line("libva: " + std::string(message, std::strcspn(message, "\n")));
}

class Vaapi : public Hardware {
public:
    Vaapi(VADisplay display, AVBufferRef *device, Image::Backing backing)
        : display_(display), device_(device), backing_(backing)
    {
    }
    ~Vaapi() override
    {
        av_buffer_unref(&device_);
        vaTerminate(display_);
    }

    [[nodiscard]] std::string name() const override
    {
        const char *vendor = vaQueryVendorString(display_);
        return std::string("VA-API (") + (vendor ? vendor : "a driver without a name") + ")";
    }
    [[nodiscard]] const AVCodec *codec(AVCodecID id) const override
    {
        return find_hardware_decoder(id, AV_PIX_FMT_VAAPI, AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX);
    }
    [[nodiscard]] AVBufferRef *device() const override { return device_; }
    [[nodiscard]] AVPixelFormat format() const override { return AV_PIX_FMT_VAAPI; }
    [[nodiscard]] std::uint64_t surface(const AVFrame &frame) const override { return id_of(frame); }
    [[nodiscard]] Status finish(const AVFrame &frame, std::optional<Image> *memory) const override;

private:
    /// As FFmpeg has it.
    static VASurfaceID id_of(const AVFrame &frame)
    {
        return static_cast<VASurfaceID>(reinterpret_cast<std::uintptr_t>(frame.data[3]));
    }

    VADisplay display_;
    AVBufferRef *device_;
    Image::Backing backing_;
};

Status Vaapi::finish(const AVFrame &frame, std::optional<Image> *memory) const
{
    // A compositor that is given an unfinished picture makes everything else of its surface wait with it.
    if (const VAStatus status = vaSyncSurface(display_, id_of(frame)); status != VA_STATUS_SUCCESS)
        return va_error("the driver does not finish a picture", status);
    if (!memory)
        return Success{};
    VADRMPRIMESurfaceDescriptor exported{};
    const auto export_as = [&](std::uint32_t layers) {
        return vaExportSurfaceHandle(display_, id_of(frame), VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2,
                                     VA_EXPORT_SURFACE_READ_ONLY | layers, &exported);
    };
    VAStatus status = export_as(VA_EXPORT_SURFACE_COMPOSED_LAYERS);
    if (status != VA_STATUS_SUCCESS)
        status = export_as(VA_EXPORT_SURFACE_SEPARATE_LAYERS);
    if (status != VA_STATUS_SUCCESS)
        return va_error("the driver does not export its memory", status);

    std::vector<UniqueFd> objects;
    AVDRMFrameDescriptor descriptor{};
    descriptor.nb_objects = static_cast<int>(std::min<std::uint32_t>(exported.num_objects, AV_DRM_MAX_PLANES));
    descriptor.nb_layers = static_cast<int>(std::min<std::uint32_t>(exported.num_layers, AV_DRM_MAX_PLANES));
    for (int i = 0; i < descriptor.nb_objects; ++i) {
        objects.emplace_back(exported.objects[i].fd);
        descriptor.objects[i] = {exported.objects[i].fd, exported.objects[i].size,
                                 exported.objects[i].drm_format_modifier};
    }
    for (int i = 0; i < descriptor.nb_layers; ++i) {
        auto &layer = descriptor.layers[i];
        layer.format = exported.layers[i].drm_format;
        layer.nb_planes = static_cast<int>(std::min<std::uint32_t>(exported.layers[i].num_planes, AV_DRM_MAX_PLANES));
        for (int k = 0; k < layer.nb_planes; ++k)
            layer.planes[k] = {static_cast<int>(exported.layers[i].object_index[k]),
                               static_cast<std::ptrdiff_t>(exported.layers[i].offset[k]),
                               static_cast<std::ptrdiff_t>(exported.layers[i].pitch[k])};
    }
    auto image = image_of(descriptor, std::move(objects), exported.width, exported.height, backing_);
    if (!image)
        return Error{"the driver's memory cannot be shown: " + image.error().message};
    *memory = std::move(*image);
    return Success{};
}

} // namespace

Result<std::unique_ptr<Hardware>> open_vaapi(int render_node, bool wary, Image::Backing backing)
{
    // Mesa keeps the programs by which it converts pictures in files that the sandbox would not let it open by then.
    ::setenv("MESA_SHADER_CACHE_DISABLE", "true", 0);
    VADisplay display = vaGetDisplayDRM(render_node);
    if (!display)
        return Error{"libva does not take the GPU's render node"};
    vaSetErrorCallback(display, log, nullptr);
    vaSetInfoCallback(display, nullptr, nullptr);
    int major = 0;
    int minor = 0;
    if (const VAStatus status = vaInitialize(display, &major, &minor); status != VA_STATUS_SUCCESS) {
        vaTerminate(display);
        return va_error("libva finds no driver for the GPU (is its package installed? vainfo tells more)", status);
    }
    AVBufferRef *device = av_hwdevice_ctx_alloc(AV_HWDEVICE_TYPE_VAAPI);
    if (device) {
        auto *context = reinterpret_cast<AVHWDeviceContext *>(device->data);
        static_cast<AVVAAPIDeviceContext *>(context->hwctx)->display = display;
        if (av_hwdevice_ctx_init(device) < 0)
            av_buffer_unref(&device);
    }
    if (!device) {
        vaTerminate(display);
        return Error{"this FFmpeg has no VA-API"};
    }
    std::unique_ptr<Hardware> opened = std::make_unique<Vaapi>(display, device, backing);
    if (wary) {
        const std::string name = opened->name();
        for (const Quirk &quirk : kQuirks)
            if (name.find(quirk.vendor) != std::string::npos)
                return Error{name + ": " + quirk.why};
    }
    return opened;
}

} // namespace spice_overlay
