// SPDX-License-Identifier: LGPL-2.1-or-later
#include "hardware.h"
#include "surface_image.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace spice_overlay {

namespace {

/// Decoders that give out dmabufs by themselves: rkmpp, and whatever else a build of FFmpeg has.
class DrmPrime : public Hardware {
public:
    explicit DrmPrime(Image::Backing backing) : backing_(backing) {}

    [[nodiscard]] std::string name() const override { return "a decoder of the system's own (DRM PRIME)"; }
    [[nodiscard]] const AVCodec *codec(AVCodecID id) const override
    {
        return find_hardware_decoder(id, AV_PIX_FMT_DRM_PRIME, AV_CODEC_HW_CONFIG_METHOD_INTERNAL);
    }
    [[nodiscard]] AVBufferRef *device() const override { return nullptr; }
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
        const AVDRMFrameDescriptor *descriptor = descriptor_of(frame);
        if (!descriptor)
            return Error{"the decoder gives out a frame without memory"};
        if (!memory)
            return Success{};
        std::vector<UniqueFd> objects;
        for (int i = 0; i < descriptor->nb_objects && i < AV_DRM_MAX_PLANES; ++i) {
            objects.emplace_back(::fcntl(descriptor->objects[i].fd, F_DUPFD_CLOEXEC, 0));
            if (!objects.back().valid())
                return Error{std::string("a frame's memory cannot be handed on: ") + std::strerror(errno)};
        }
        auto image = image_of(*descriptor, std::move(objects), static_cast<std::uint32_t>(frame.width),
                              static_cast<std::uint32_t>(frame.height), backing_);
        if (!image)
            return Error{"a frame's memory cannot be shown: " + image.error().message};
        *memory = std::move(*image);
        return Success{};
    }

private:
    static const AVDRMFrameDescriptor *descriptor_of(const AVFrame &frame)
    {
        const auto *descriptor = reinterpret_cast<const AVDRMFrameDescriptor *>(frame.data[0]);
        return descriptor && descriptor->nb_objects > 0 ? descriptor : nullptr;
    }

    Image::Backing backing_;
};

} // namespace

Result<std::unique_ptr<Hardware>> open_drm_prime(int, bool, Image::Backing backing)
{
    return std::unique_ptr<Hardware>(std::make_unique<DrmPrime>(backing));
}

} // namespace spice_overlay
