// SPDX-License-Identifier: LGPL-2.1-or-later
#include "service.h"

#include "dmabuf/fence.h"
#include "log.h"
#include "portclient/base/clock.h"
#include "sandbox.h"

extern "C" {
#include <libavutil/imgutils.h>
}

#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace spice_overlay {

namespace {

constexpr unsigned kBatch = 16;  ///< messages read by one system call
constexpr unsigned kTries = 400; ///< to send a message: two seconds

wire::Rect cropped(const AVFrame &frame)
{
    const auto width = static_cast<std::size_t>(frame.width);
    const auto height = static_cast<std::size_t>(frame.height);
    if (frame.crop_left + frame.crop_right >= width || frame.crop_top + frame.crop_bottom >= height)
        return {0, 0, static_cast<std::uint32_t>(width), static_cast<std::uint32_t>(height)};
    return {static_cast<std::int32_t>(frame.crop_left), static_cast<std::int32_t>(frame.crop_top),
            static_cast<std::uint32_t>(width - frame.crop_left - frame.crop_right),
            static_cast<std::uint32_t>(height - frame.crop_top - frame.crop_bottom)};
}

} // namespace

Service::Service(bool sandboxed)
    : sandboxed_(sandboxed),
      socket_(ipc::kSocketFd),
      units_fd_(ipc::kUnitsFd),
      device_(ipc::kDeviceFd),
      render_node_(ipc::kRenderNodeFd)
{
}

int Service::run()
{
    if (auto failure = open())
        return send_failed(*failure);
    send_ready();
    while (!hung_up_) {
        const bool idle = units_.empty() || pool_.viewer_has_enough(units_.size());
        if (idle)
            send_consumed();
        if (!receive(idle))
            return 0;
        drop_stale_units();
        if (units_.empty() || pool_.viewer_has_enough(units_.size()))
            continue;
        if (auto failure = decode_next())
            return send_failed(*failure);
    }
    return 0;
}

std::optional<Failure> Service::open()
{
    std::vector<std::uint8_t> bytes(ipc::kMaxRequest + 1);
    const ssize_t size = ::recv(socket_.get(), bytes.data(), bytes.size(), 0);
    if (size < static_cast<ssize_t>(sizeof open_))
        return Failure{wire::Reason::kDecoderFailed, "the decoder was not told what to decode"};
    std::memcpy(&open_, bytes.data(), sizeof open_);
    if (open_.head.version != ipc::kVersion || open_.head.kind != ipc::Kind::kOpen)
        return Failure{wire::Reason::kDecoderFailed, "viewer and decoder are of different versions"};
    const std::size_t formats_size = std::size_t{open_.surface_formats} * sizeof(ipc::SurfaceFormat);
    if (open_.head.size != static_cast<std::size_t>(size) || open_.surface_formats > ipc::kMaxSurfaceFormats
        || open_.hardware > static_cast<std::uint32_t>(ipc::HardwareUse::kAlways)
        || formats_size + open_.extradata_size != static_cast<std::size_t>(size) - sizeof open_
        || open_.fourcc_count > std::size(open_.fourccs) || open_.threads == 0 || open_.threads > 64
        || open_.allocator > static_cast<std::uint16_t>(Allocator::kDisplay))
        return Failure{wire::Reason::kBadParameters, "the decoder was told nonsense"};

    auto memory = Mapping::map(units_fd_.get(), ipc::kUnitsSize, Mapping::Access::kRead);
    if (!memory)
        return Failure{wire::Reason::kNoResources, memory.error().message};
    memory_ = std::move(*memory);
    units_fd_.reset();

    const auto allocator = static_cast<Allocator>(open_.allocator);
    std::vector<std::uint32_t> dmabuf_fourccs;
    for (unsigned i = 0; i < open_.fourcc_count; ++i)
        if ((open_.dmabuf_fourccs >> i & 1) != 0)
            dmabuf_fourccs.push_back(open_.fourccs[i]);
    pool_.make_dmabufs(allocator, std::move(device_), std::move(dmabuf_fourccs));

    std::vector<ipc::SurfaceFormat> formats(open_.surface_formats);
    std::memcpy(formats.data(), bytes.data() + sizeof open_, formats_size);
    std::vector<FormatSet::Entry> accepted;
    accepted.reserve(formats.size());
    for (const ipc::SurfaceFormat &format : formats)
        accepted.emplace_back(format.fourcc, format.modifier);
    ladder_.emplace(open_, std::move(accepted), std::move(render_node_), pool_,
                    Ladder::Listener{[this](const Ladder::Path &path) { send_path(path); },
                                     [this](AVFrame &frame, FramePool::Slot *surface) { show(frame, surface); },
                                     [this] {
                                         send_failed({wire::Reason::kDecoderFailed, "the GPU's driver hangs"});
                                         std::_Exit(1);
                                     }});
    return start_codec({bytes.data() + sizeof open_ + formats_size, open_.extradata_size});
}

/// Between the sandbox's two steps: FFmpeg's threads inherit the first, and nothing of the stream is decoded before the
/// second. A device's driver is loaded before both, and may have threads by then (Rockchip's has): of the first step they have
/// what goes before, the second holds for them as well.
std::optional<Failure> Service::start_codec(std::span<const std::uint8_t> extradata)
{
    if (Status status = sandboxed_ ? give_up_privileges() : Status(Success{}); !status)
        return Failure{wire::Reason::kNoResources, status.error().message};
    ladder_->open_device(extradata);
    if (!sandboxed_) {
        log_line("runs WITHOUT A SANDBOX (--no-sandbox): whoever takes it over has this account");
        return ladder_->start(extradata);
    }
    auto layers = give_up_rights();
    if (!layers)
        return Failure{wire::Reason::kNoResources, layers.error().message};
    if (auto failure = ladder_->start(extradata))
        return failure;
    if (!kSanitized) {
        log_to_viewer();
        ::dup2(STDIN_FILENO, STDERR_FILENO);
    }
    layers->push_back(enter_sandbox(ladder_->sandbox()));
    for (const SandboxLayer &layer : *layers)
        if (!layer.holds)
            log_line("the sandbox lacks a layer, " + layer.name + ": " + layer.detail);
    return std::nullopt;
}

bool Service::receive(bool wait)
{
    std::array<ipc::Control, kBatch> controls;
    std::array<iovec, kBatch> vectors;
    std::array<mmsghdr, kBatch> headers{};
    for (unsigned i = 0; i < kBatch; ++i) {
        vectors[i] = {&controls[i], sizeof controls[i]};
        headers[i].msg_hdr.msg_iov = &vectors[i];
        headers[i].msg_hdr.msg_iovlen = 1;
    }
    const int count = ::recvmmsg(socket_.get(), headers.data(), kBatch, wait ? MSG_WAITFORONE : MSG_DONTWAIT, nullptr);
    if (count < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    for (int i = 0; i < count; ++i) {
        const ipc::Control &control = controls[static_cast<std::size_t>(i)];
        const msghdr &header = headers[static_cast<std::size_t>(i)].msg_hdr;
        const bool unit = control.head.kind == ipc::Kind::kUnit;
        if (headers[static_cast<std::size_t>(i)].msg_len != sizeof control || (header.msg_flags & MSG_TRUNC) != 0
            || control.head.version != ipc::kVersion || control.head.size != sizeof control
            || (!unit && control.head.kind != ipc::Kind::kNotice))
            return false;
        pool_.viewer_done(control.released);
        if (control.epoch > epoch_) {
            epoch_ = control.epoch;
            ladder_->flush();
        }
        if (!unit) {
            if ((control.flags & ipc::kDrain) != 0)
                units_.push_back({0, 0, control.epoch, 0, false});
            continue;
        }
        if (control.unit_size == 0 || control.unit_size > wire::kMaxAccessUnit
            || control.offset > ipc::kUnitsSize - control.unit_size)
            return false;
        units_.push_back(
            {control.offset, control.unit_size, control.epoch, control.pts, (control.flags & wire::kKey) != 0});
    }
    return true;
}

void Service::drop_stale_units()
{
    while (!units_.empty() && units_.front().epoch < epoch_) {
        consumed_ += units_.front().size != 0 ? 1 : 0;
        units_.pop_front();
    }
}

std::optional<Failure> Service::decode_next()
{
    const Unit unit = units_.front();
    units_.pop_front();
    clock_ = monotonic_now();
    if (unit.size == 0) {
        ladder_->drain();
        return failure_;
    }
    ++consumed_;
    last_pts_ = unit.pts;
    auto failure = ladder_->decode({{memory_.data() + unit.offset, unit.size}, unit.pts, unit.key});
    return failure ? failure : failure_;
}

// ---- pictures

void Service::show(AVFrame &frame, FramePool::Slot *surface)
{
    if (failure_)
        return;
    wire::Rect crop = cropped(frame);
    FramePool::Slot *slot = surface ? surface : place(frame, crop);
    if (!slot)
        return;
    if (!surface && slot->layout.plane_count > 1 && !ladder_->software().keeps_more_than_the_picture(frame))
        extend_edges(slot->layout, {slot->memory.data(), slot->memory.size()}, static_cast<std::uint32_t>(frame.width),
                     static_cast<std::uint32_t>(frame.height));
    const std::int64_t pts = frame.pts != AV_NOPTS_VALUE ? frame.pts : last_pts_;
    const bool rgb = holds_rgb(surface ? surface->surface->fourcc() : slot->layout.fourcc);
    send_frame(*slot, crop, pts, rgb ? YuvColour::kUnsaid : ladder_->software().rule().to_be_told(frame));
}

/// Finds or makes the slot that holds the picture and lends it to the viewer. Null: the picture is left out.
FramePool::Slot *Service::place(AVFrame &frame, wire::Rect &crop)
{
    const std::uint32_t fourcc = ladder_->software().rule().fourcc(frame);
    if (fourcc != 0) {
        FramePool::Slot *own = frame.buf[0] ? pool_.find(av_buffer_get_opaque(frame.buf[0])) : nullptr;
        if (own && pool_.lend(*own))
            return own;
    }
    // Decoded elsewhere (dav1d has an allocator of its own), or one picture shown twice, which has one slot for each
    // time.
    FramePool::Slot *made = fourcc != 0 ? copy(frame, fourcc) : convert(frame, crop);
    if (!made)
        return nullptr;
    const bool lent = pool_.lend(*made);
    pool_.codec_done(*made);
    return lent ? made : nullptr;
}

FramePool::Slot *Service::copy(const AVFrame &frame, std::uint32_t fourcc)
{
    const auto layout = ladder_->software().layout(fourcc, frame.width, frame.height);
    FramePool::Slot *slot = layout ? pool_.acquire(*layout) : nullptr;
    if (!slot)
        return nullptr;
    std::uint8_t *planes[4] = {};
    int strides[4] = {};
    for (unsigned i = 0; i < layout->plane_count; ++i) {
        planes[i] = slot->memory.data() + layout->planes[i].offset;
        strides[i] = static_cast<int>(layout->planes[i].stride);
    }
    av_image_copy(planes, strides, const_cast<const std::uint8_t **>(frame.data), frame.linesize,
                  static_cast<AVPixelFormat>(frame.format), frame.width, frame.height);
    return slot;
}

FramePool::Slot *Service::convert(AVFrame &frame, wire::Rect &crop)
{
    const Colour colour = colour_of(frame, open_.colour);
    if (av_frame_apply_cropping(&frame, AV_FRAME_CROP_UNALIGNED) < 0)
        return nullptr;
    crop = {0, 0, static_cast<std::uint32_t>(frame.width), static_cast<std::uint32_t>(frame.height)};
    const auto layout = shm_layout(kFourccXrgb8888, crop.width, crop.height, FFALIGN(crop.width * 4, 256u));
    FramePool::Slot *slot = layout ? pool_.acquire(*layout) : nullptr;
    if (!slot)
        return nullptr;
    if (Status status = converter_.convert(frame, colour, slot->memory.data(), layout->planes[0].stride); !status) {
        failure_ = Failure{wire::Reason::kUnsupportedProfile, status.error().message};
        pool_.codec_done(*slot);
        return nullptr;
    }
    return slot;
}

// ---- to the viewer

void Service::send_frame(FramePool::Slot &slot, const wire::Rect &crop, std::int64_t pts, YuvColour colour)
{
    if (const auto announcement = pool_.announce(slot))
        send_buffer(slot, *announcement);
    if (slot.dmabuf.valid())
        end_writing(slot.dmabuf.get());
    ipc::Frame frame;
    frame.consumed = std::exchange(consumed_, 0);
    frame.slot = slot.index;
    frame.epoch = epoch_;
    frame.colour = static_cast<std::uint32_t>(colour);
    frame.crop = crop;
    frame.pts = pts;
    const std::int64_t time = monotonic_now();
    frame.decode_ns = time - std::exchange(clock_, time);
    send(frame);
}

void Service::send_buffer(const FramePool::Slot &slot, const FramePool::Announcement &announcement)
{
    ipc::Buffer buffer;
    buffer.slot = slot.index;
    std::vector<int> fds;
    if (slot.surface) {
        const ImageDescription &image = slot.surface->description();
        buffer.fourcc = image.fourcc;
        buffer.width = image.width;
        buffer.height = image.height;
        buffer.modifier = image.modifier;
        buffer.plane_count = image.plane_count;
        std::copy(image.planes.begin(), image.planes.end(), buffer.planes);
        for (const UniqueFd &object : slot.surface->objects())
            fds.push_back(object.get());
        buffer.dmabufs = static_cast<std::uint32_t>(fds.size());
        send(buffer, fds);
        return;
    }
    buffer.fourcc = slot.layout.fourcc;
    buffer.width = slot.layout.width;
    buffer.height = slot.layout.height;
    buffer.plane_count = slot.layout.plane_count;
    for (unsigned i = 0; i < slot.layout.plane_count; ++i)
        buffer.planes[i] = {0, slot.layout.planes[i].offset, slot.layout.planes[i].stride};
    if (announcement.memfd.valid()) {
        buffer.size = slot.memory.size();
        fds.push_back(announcement.memfd.get());
    }
    if (announcement.dmabuf >= 0) {
        buffer.dmabufs = 1;
        fds.push_back(announcement.dmabuf);
    }
    send(buffer, fds);
}

void Service::send_consumed()
{
    if (consumed_ == 0)
        return;
    ipc::Consumed message;
    message.consumed = std::exchange(consumed_, 0);
    send(message);
}

void Service::send_ready()
{
    ipc::Ready message;
    message.at = monotonic_now();
    send(message);
}

void Service::send_path(const Ladder::Path &path)
{
    ipc::Path message;
    message.hardware = path.hardware ? 1 : 0;
    message.processed = path.processed ? 1 : 0;
    std::snprintf(message.name, sizeof message.name, "%s", path.name.c_str());
    std::snprintf(message.why, sizeof message.why, "%s", path.why.c_str());
    send(message);
}

int Service::send_failed(const Failure &failure)
{
    ipc::Failed message;
    message.reason = static_cast<std::uint32_t>(failure.reason);
    std::snprintf(message.text, sizeof message.text, "%s", failure.why.c_str());
    send(message);
    return 1;
}

template <typename T>
void Service::send(const T &message, std::span<const int> fds)
{
    iovec vector{const_cast<T *>(&message), sizeof message};
    msghdr header{};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(kMaxPlanes * sizeof(int))> ancillary{};
    if (!fds.empty()) {
        header.msg_control = ancillary.data();
        header.msg_controllen = CMSG_SPACE(fds.size_bytes());
        cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fds.size_bytes());
        std::memcpy(CMSG_DATA(rights), fds.data(), fds.size_bytes());
    }
    ssize_t sent = -1;
    for (unsigned tries = 0; tries < kTries; ++tries) {
        sent = ::sendmsg(socket_.get(), &header, MSG_NOSIGNAL);
        if (sent >= 0 || (errno != EINTR && errno != ETOOMANYREFS))
            break;
        // All descriptors of the account that nobody has received yet count, and others may send many.
        const timespec nap{0, 5'000'000};
        if (errno == ETOOMANYREFS)
            ::ppoll(nullptr, 0, &nap, nullptr);
    }
    hung_up_ = hung_up_ || sent < 0;
}

} // namespace spice_overlay
