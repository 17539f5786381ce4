// SPDX-License-Identifier: LGPL-2.1-or-later
#include "proof.h"

#include "convert.h"
#include "dmabuf/fence.h"
#include "dmabuf/memfd.h"

extern "C" {
#include <libavutil/hwcontext.h>
}

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace spice_overlay {

namespace {

constexpr int kRounding =
    4; ///< steps of 255: what an inverse transform that is not laid down to the bit may differ by, and sums of it

constexpr int kSquare = 16; ///< pixels a side, of what RGB is judged by
constexpr double kSquareTolerance =
    10; ///< steps of 255; an edge between colours that is half a pixel beside its place makes 8
constexpr double kFarSquares = 0.05; ///< that may be further off, where colours change from pixel to pixel
constexpr double kMeanTolerance = 3;
constexpr double kNearer = 0.25; ///< a picture without colour is as near to all

/// NV12, P010 or, as one plane, XRGB8888 in memory.
struct Samples {
    std::array<const std::uint8_t *, 2> planes{};
    std::array<std::size_t, 2> strides{}; ///< bytes
    bool deep = false;                    ///< P010: 10 bits, the upper ones of 16
};

/// `from` are the reference's samples: those of a deep picture in 10 bits, of another in as many more as `loss` says.
template <typename Sample, typename From>
std::size_t count_wrong(const Samples &picture, const AVFrame &reference, int tolerance, int loss)
{
    const int shift = picture.deep ? 6 : 0;
    std::size_t wrong = 0;
    const auto compare = [&](unsigned plane, int x, int step, int from, int width, int height) {
        for (int y = 0; y < height; ++y) {
            const auto *is = reinterpret_cast<const Sample *>(picture.planes[plane]
                                                              + picture.strides[plane] * static_cast<std::size_t>(y));
            const auto *should = reinterpret_cast<const From *>(reference.data[from] + y * reference.linesize[from]);
            for (int i = 0; i < width; ++i)
                wrong += std::abs((is[x + i * step] >> shift) - (should[i] >> loss)) > tolerance ? 1 : 0;
        }
    };
    const int width = reference.width;
    const int height = reference.height;
    compare(0, 0, 1, 0, width, height);
    compare(1, 0, 2, 1, (width + 1) / 2, (height + 1) / 2);
    compare(1, 1, 2, 2, (width + 1) / 2, (height + 1) / 2);
    return wrong;
}

Status compare(const Samples &picture, const AVFrame &reference, bool exact)
{
    using Narrow = std::uint8_t;
    using Wide = std::uint16_t;
    const int tolerance = exact ? 0 : kRounding * (picture.deep ? 4 : 1);
    const bool deep_reference = reference.format == AV_PIX_FMT_YUV420P10;
    const std::size_t wrong = picture.deep     ? count_wrong<Wide, Wide>(picture, reference, tolerance, 0)
                              : deep_reference ? count_wrong<Narrow, Wide>(picture, reference, tolerance, 2)
                                               : count_wrong<Narrow, Narrow>(picture, reference, tolerance, 0);
    if (wrong == 0)
        return Success{};
    const auto samples = static_cast<std::size_t>(reference.width) * static_cast<std::size_t>(reference.height) * 3 / 2;
    return Error{"its first picture is wrong (" + std::to_string(std::max<std::size_t>(wrong * 100 / samples, 1))
                 + " % of it)"};
}

/// How far a picture in XRGB8888 is from another, by the averages of their squares, in steps of 255.
struct Distance {
    double mean = 0;
    double far = 0; ///< what part of them is further off than it may be
};
Distance distance(const Samples &picture, const std::uint8_t *other, std::size_t stride, int width, int height)
{
    Distance found;
    std::size_t squares = 0;
    for (int top = 0; top < height; top += kSquare)
        for (int left = 0; left < width; left += kSquare) {
            const int bottom = std::min(top + kSquare, height);
            const int right = std::min(left + kSquare, width);
            std::array<std::int64_t, 3> sums{};
            for (int y = top; y < bottom; ++y) {
                const std::uint8_t *a = picture.planes[0] + picture.strides[0] * static_cast<std::size_t>(y);
                const std::uint8_t *b = other + stride * static_cast<std::size_t>(y);
                for (int x = 4 * left; x < 4 * right; x += 4)
                    for (int channel = 0; channel < 3; ++channel)
                        sums[static_cast<std::size_t>(channel)] += a[x + channel] - b[x + channel];
            }
            const double pixels = double(bottom - top) * (right - left);
            for (const std::int64_t sum : sums) {
                const double off = std::abs(static_cast<double>(sum)) / pixels;
                found.mean += off;
                found.far += off > kSquareTolerance ? 1 : 0;
            }
            squares += 3;
        }
    found.mean /= static_cast<double>(squares);
    found.far /= static_cast<double>(squares);
    return found;
}

Status compare_rgb(const Samples &picture, const AVFrame &reference, const Colour &colour)
{
    const int width = reference.width;
    const int height = reference.height;
    const std::uint32_t stride = (static_cast<std::uint32_t>(width) * 4 + 255) / 256 * 256;
    std::vector<std::uint8_t> pixels(std::size_t{stride} * static_cast<std::size_t>(height) + 256);
    RgbConverter converter;
    const auto distance_to = [&](const Colour &other) {
        const Status made = converter.convert(reference, other, pixels.data(), stride);
        return made ? Result<Distance>(distance(picture, pixels.data(), stride, width, height)) : made.error();
    };
    auto right = distance_to(colour);
    if (!right)
        return right.error();
    if (right->mean > kMeanTolerance || right->far > kFarSquares)
        return Error{"its first picture is wrong (by " + std::to_string(right->mean) + " of 255, and more in "
                     + std::to_string(static_cast<int>(std::ceil(100 * right->far))) + " % of it)"};
    for (const int matrix : {AVCOL_SPC_BT709, AVCOL_SPC_SMPTE170M, AVCOL_SPC_BT2020_NCL})
        for (const bool full : {false, true})
            if (auto other = distance_to({matrix, full}); other && other->mean + kNearer < right->mean)
                return Error{"the colours of its first picture are wrong"};
    return Success{};
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
    [[nodiscard]] Samples picture() const
    {
        Samples picture;
        picture.deep = image_.fourcc() == kFourccP010;
        for (unsigned i = 0; i < std::min(image_.plane_count(), 2u); ++i) {
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

AVPixelFormat pixel_format(std::uint32_t fourcc)
{
    return fourcc == kFourccP010 ? AV_PIX_FMT_P010 : fourcc == kFourccNv12 ? AV_PIX_FMT_NV12 : AV_PIX_FMT_BGR0;
}

using Frame = std::unique_ptr<AVFrame, FreeFrame>;

/// The reference without what is cropped off, where the device has left that out already (MPP does).
Frame cropped_as(const AVFrame &surface, const AVFrame &reference)
{
    Frame cropped(av_frame_clone(&reference));
    if (surface.width != reference.width || surface.height != reference.height)
        if (av_frame_apply_cropping(cropped.get(), AV_FRAME_CROP_UNALIGNED) < 0)
            cropped.reset(av_frame_clone(&reference));
    return cropped;
}

/// What `judge` says of the picture in a surface, however it can be read back, beside the reference.
Result<Proof> read_and_judge(const AVFrame &surface, const Image &memory, const AVFrame &whole_reference,
                             const std::function<Status(const Samples &, const AVFrame &reference)> &judge)
{
    const Frame cropped = cropped_as(surface, whole_reference);
    const AVFrame &reference = *cropped;
    if (surface.width != reference.width || surface.height != reference.height
        || memory.width() < static_cast<std::uint32_t>(reference.width)
        || memory.height() < static_cast<std::uint32_t>(reference.height))
        return Error{"its first picture has another size than software makes it"};

    const auto verdict = [](const Status &status) { return status ? Result<Proof>(Proof::kRight) : status.error(); };
    if (memory.modifier() == kModifierLinear) {
        const Mapped mapped(memory);
        if (mapped.good())
            return verdict(judge(mapped.picture(), reference));
    }
    const Frame read(av_frame_alloc());
    read->format = pixel_format(memory.fourcc());
    if (!surface.hw_frames_ctx || av_hwframe_transfer_data(read.get(), &surface, 0) < 0)
        return Proof::kUnreadable;
    return verdict(judge({{read->data[0], read->data[1]},
                          {static_cast<std::size_t>(read->linesize[0]), static_cast<std::size_t>(read->linesize[1])},
                          memory.fourcc() == kFourccP010},
                         reference));
}

} // namespace

Result<Proof> prove(const AVFrame &surface, const Image &memory, const AVFrame &reference, bool exact)
{
    const bool deep = memory.fourcc() == kFourccP010;
    if (reference.format != (deep ? AV_PIX_FMT_YUV420P10 : AV_PIX_FMT_YUV420P))
        return Error{"it decodes into another format than software does"};
    return read_and_judge(surface, memory, reference, [&](const Samples &picture, const AVFrame &as_shown) {
        return compare(picture, as_shown, exact);
    });
}

Result<Proof> prove_converted(const AVFrame &surface, const Image &memory, const AVFrame &reference,
                              const Colour &colour)
{
    if (memory.fourcc() == kFourccXrgb8888)
        return read_and_judge(surface, memory, reference, [&](const Samples &picture, const AVFrame &as_shown) {
            return compare_rgb(picture, as_shown, colour);
        });
    const bool eight = reference.format == AV_PIX_FMT_YUV420P || reference.format == AV_PIX_FMT_YUVJ420P;
    if (reference.format != AV_PIX_FMT_YUV420P10 && (!eight || memory.fourcc() == kFourccP010))
        return Error{"it decodes into another format than software does"};
    return read_and_judge(surface, memory, reference, [&](const Samples &picture, const AVFrame &as_shown) {
        return compare(picture, as_shown, false);
    });
}

} // namespace spice_overlay
