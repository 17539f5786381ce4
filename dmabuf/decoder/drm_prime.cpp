// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hardware.h"
#include "surface_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace spice_overlay {

namespace {

const AVDRMFrameDescriptor *descriptor_of(const AVFrame &frame)
{
    const auto *descriptor = reinterpret_cast<const AVDRMFrameDescriptor *>(frame.data[0]);
    return descriptor && descriptor->nb_objects > 0 ? descriptor : nullptr;
}

/// Decoders that give out dmabufs: by themselves (rkmpp, and V4L2 in some builds of FFmpeg), or as others do that are given a device
/// (stateless V4L2, in others).
class DrmPrime : public Hardware {
public:
    /// Takes over `device`, or null.
    DrmPrime(AVBufferRef *device, Image::Backing backing) : device_(device), backing_(backing) {}
    ~DrmPrime() override { av_buffer_unref(&device_); }

    [[nodiscard]] std::string name() const override
    {
        return device_ ? "a decoder of the kernel's (DRM PRIME)" : "a decoder of the system's own (DRM PRIME)";
    }
    [[nodiscard]] const AVCodec *codec(AVCodecID id) const override
    {
        return device_ ? find_hardware_decoder(id, AV_PIX_FMT_DRM_PRIME, AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX,
                                               AV_HWDEVICE_TYPE_DRM)
                       : find_hardware_decoder(id, AV_PIX_FMT_DRM_PRIME, AV_CODEC_HW_CONFIG_METHOD_INTERNAL);
    }
    [[nodiscard]] AVBufferRef *device() const override { return device_; }
    [[nodiscard]] AVPixelFormat format() const override { return AV_PIX_FMT_DRM_PRIME; }

    /// The dmabuf's inode: descriptors may change from frame to frame.
    [[nodiscard]] std::uint64_t surface(const AVFrame &frame) const override
    {
        struct stat info = {};
        const AVDRMFrameDescriptor *descriptor = descriptor_of(frame);
        // As a system call: glibc makes one with a path of it, which the sandbox denies.
        return descriptor && ::syscall(SYS_fstat, descriptor->objects[0].fd, &info) == 0 ? info.st_ino : 0;
    }

    [[nodiscard]] Status finish(const AVFrame &frame, std::optional<Image> *memory) const override
    {
        if (!descriptor_of(frame))
            return Error{"the decoder gives out a frame without memory"};
        if (!memory)
            return Success{};
        auto image = image_of_drm_prime(frame, backing_);
        if (!image)
            return image.error();
        *memory = std::move(*image);
        return Success{};
    }

private:
    AVBufferRef *device_;
    Image::Backing backing_;
};

} // namespace

Result<Image> image_of_drm_prime(const AVFrame &frame, Image::Backing backing)
{
    const AVDRMFrameDescriptor *descriptor = descriptor_of(frame);
    if (!descriptor)
        return Error{"the decoder gives out a frame without memory"};
    std::vector<UniqueFd> objects;
    for (int i = 0; i < std::min(descriptor->nb_objects, int{AV_DRM_MAX_PLANES}); ++i) {
        objects.emplace_back(::fcntl(descriptor->objects[i].fd, F_DUPFD_CLOEXEC, 0));
        if (!objects.back().valid())
            return Error{std::string("a frame's memory cannot be handed on: ") + std::strerror(errno)};
    }
    auto image = image_of(*descriptor, std::move(objects), static_cast<std::uint32_t>(std::max(frame.width, 0)),
                          static_cast<std::uint32_t>(std::max(frame.height, 0)), backing);
    if (!image)
        return Error{"a frame's memory cannot be shown: " + image.error().message};
    return image;
}

Result<std::unique_ptr<Hardware>> open_drm_prime(int, bool, Image::Backing backing)
{
    return std::unique_ptr<Hardware>(std::make_unique<DrmPrime>(nullptr, backing));
}

Result<std::unique_ptr<Hardware>> open_drm_prime_by_device(int render_node, bool, Image::Backing backing)
{
    if (!find_hardware_decoder(AV_CODEC_ID_NONE, AV_PIX_FMT_DRM_PRIME, AV_CODEC_HW_CONFIG_METHOD_HW_DEVICE_CTX,
                               AV_HWDEVICE_TYPE_DRM))
        return Error{"this FFmpeg has no such decoder"};
    AVBufferRef *device = drm_device(render_node);
    if (!device)
        return Error{"FFmpeg does not take the GPU's render node"};
    return std::unique_ptr<Hardware>(std::make_unique<DrmPrime>(device, backing));
}

} // namespace spice_overlay
