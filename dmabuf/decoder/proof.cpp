// SPDX-License-Identifier: LGPL-2.1-or-later
#include "proof.h"

#include "dmabuf/fence.h"
#include "dmabuf/memfd.h"

extern "C" {
#include <libavutil/hwcontext.h>
}

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

namespace spice_overlay {

namespace {

constexpr int kRounding =
    4; ///< steps of 255: what an inverse transform that is not laid down to the bit may differ by, and sums of it

/// NV12 or P010 in memory.
struct SemiPlanar {
    std::array<const std::uint8_t *, 2> planes{};
    std::array<std::size_t, 2> strides{}; ///< bytes
    bool deep = false;                    ///< P010: 10 bits, the upper ones of 16
};

template <typename Sample>
std::size_t count_wrong(const SemiPlanar &picture, const AVFrame &reference, int tolerance)
{
    const int shift = picture.deep ? 6 : 0;
    std::size_t wrong = 0;
    const auto compare = [&](unsigned plane, int x, int step, int from, int width, int height) {
        for (int y = 0; y < height; ++y) {
            const auto *is = reinterpret_cast<const Sample *>(picture.planes[plane]
                                                              + picture.strides[plane] * static_cast<std::size_t>(y));
            const auto *should = reinterpret_cast<const Sample *>(reference.data[from] + y * reference.linesize[from]);
            for (int i = 0; i < width; ++i)
                wrong += std::abs((is[x + i * step] >> shift) - should[i]) > tolerance ? 1 : 0;
        }
    };
    const int width = reference.width;
    const int height = reference.height;
    compare(0, 0, 1, 0, width, height);
    compare(1, 0, 2, 1, (width + 1) / 2, (height + 1) / 2);
    compare(1, 1, 2, 2, (width + 1) / 2, (height + 1) / 2);
    return wrong;
}

Status compare(const SemiPlanar &picture, const AVFrame &reference, bool exact)
{
    const int tolerance = exact ? 0 : kRounding * (picture.deep ? 4 : 1);
    const std::size_t wrong = picture.deep ? count_wrong<std::uint16_t>(picture, reference, tolerance)
                                           : count_wrong<std::uint8_t>(picture, reference, tolerance);
    if (wrong == 0)
        return Success{};
    const auto samples = static_cast<std::size_t>(reference.width) * static_cast<std::size_t>(reference.height) * 3 / 2;
    return Error{"its first picture is wrong (" + std::to_string(std::max<std::size_t>(wrong * 100 / samples, 1))
                 + " % of it)"};
}

/// The dmabufs of an image, mapped for reading; not good when the kernel does not let us.
class Mapped {
public:
    explicit Mapped(const Image &image) : image_(image)
    {
        for (const UniqueFd &object : image.objects()) {
            auto size = dmabuf_size(object.get(), Image::Backing::kStandIn);
            auto mapping = size ? Mapping::map(object.get(), static_cast<std::size_t>(*size), Mapping::Access::kRead)
                                : Result<Mapping>(size.error());
            if (!mapping)
                return;
            mappings_.push_back(std::move(*mapping));
            begin_reading(object.get());
        }
        good_ = true;
    }
    ~Mapped()
    {
        for (std::size_t i = 0; i < mappings_.size(); ++i)
            end_reading(image_.objects()[i].get());
    }
    [[nodiscard]] bool good() const { return good_; }
    [[nodiscard]] SemiPlanar picture() const
    {
        SemiPlanar picture;
        picture.deep = image_.fourcc() == kFourccP010;
        for (unsigned i = 0; i < 2; ++i) {
            const ImageDescription::Plane &plane = image_.description().planes[i];
            picture.planes[i] = mappings_[plane.object].data() + plane.offset;
            picture.strides[i] = plane.stride;
        }
        return picture;
    }

private:
    const Image &image_;
    std::vector<Mapping> mappings_;
    bool good_ = false;
};

struct FreeFrame {
    void operator()(AVFrame *frame) const { av_frame_free(&frame); }
};

} // namespace

Result<Proof> prove(const AVFrame &surface, const Image &memory, const AVFrame &reference, bool exact)
{
    const bool deep = memory.fourcc() == kFourccP010;
    if (reference.format != (deep ? AV_PIX_FMT_YUV420P10 : AV_PIX_FMT_YUV420P))
        return Error{"it decodes into another format than software does"};
    if (surface.width != reference.width || surface.height != reference.height
        || memory.width() < static_cast<std::uint32_t>(reference.width)
        || memory.height() < static_cast<std::uint32_t>(reference.height))
        return Error{"its first picture has another size than software makes it"};

    const auto verdict = [](const Status &status) { return status ? Result<Proof>(Proof::kRight) : status.error(); };
    if (memory.modifier() == kModifierLinear) {
        const Mapped mapped(memory);
        if (mapped.good())
            return verdict(compare(mapped.picture(), reference, exact));
    }
    const std::unique_ptr<AVFrame, FreeFrame> read(av_frame_alloc());
    read->format = deep ? AV_PIX_FMT_P010 : AV_PIX_FMT_NV12;
    if (!surface.hw_frames_ctx || av_hwframe_transfer_data(read.get(), &surface, 0) < 0)
        return Proof::kUnreadable;
    const SemiPlanar picture{{read->data[0], read->data[1]},
                             {static_cast<std::size_t>(read->linesize[0]), static_cast<std::size_t>(read->linesize[1])},
                             deep};
    return verdict(compare(picture, reference, exact));
}

} // namespace spice_overlay
