// SPDX-License-Identifier: LGPL-2.1-or-later
#include "decoder_process.h"

#include "child.h"
#include "dmabuf/memfd.h"
#include "ipc.h"
#include "portclient/base/clock.h"
#include "slot_table.h"
#include "unit_places.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <limits>
#include <optional>
#include <thread>

namespace spice_overlay {

namespace {

constexpr std::size_t kUnitsKept = 4u << 20; ///< bytes; pages beyond are given back when no unit is left
constexpr unsigned kBatch = 4;               ///< messages read by one system call
constexpr unsigned kBatchesPerDispatch = 16; ///< then the caller's other work has its turn
/// Slots on their way back of which a decoder at work is told before a unit follows. Below the least
/// ipc::max_held(), at which it waits for them.
constexpr int kReleaseBatch = 2;
constexpr std::uint64_t kFramesPerUnit = 8; ///< a VP9 superframe holds as many

constexpr std::int64_t kEndPatience = 2'000'000'000; ///< ns, with one that has hung up and is not gone
const std::string kEndedByItself = "the decoder process ended by itself (";
constexpr const char *kNotGone = "killed, but not gone)";

constexpr unsigned kMaxPaths = 4; ///< hardware and software, and some to spare

/// One received packet, its descriptors already owned.
struct Packet {
    /// One more than any message, to see that it is longer.
    alignas(8) std::array<std::uint8_t, ipc::kMaxReply + 1> bytes;
    std::size_t size = 0;
    std::vector<UniqueFd> fds;
    bool truncated = false;
};

/// Reads what is there. Negative: errno is set.
int receive_batch(int socket, std::array<Packet, kBatch> &packets)
{
    // Room for more descriptors than any message has; the kernel drops what goes beyond and says so.
    struct alignas(cmsghdr) Ancillary {
        std::array<std::uint8_t, CMSG_SPACE((kMaxPlanes + 2) * sizeof(int))> bytes;
    };
    std::array<Ancillary, kBatch> ancillary;
    std::array<iovec, kBatch> vectors;
    std::array<mmsghdr, kBatch> headers{};
    for (unsigned i = 0; i < kBatch; ++i) {
        vectors[i] = {packets[i].bytes.data(), packets[i].bytes.size()};
        headers[i].msg_hdr.msg_iov = &vectors[i];
        headers[i].msg_hdr.msg_iovlen = 1;
        headers[i].msg_hdr.msg_control = ancillary[i].bytes.data();
        headers[i].msg_hdr.msg_controllen = ancillary[i].bytes.size();
    }
    const int count = ::recvmmsg(socket, headers.data(), kBatch, MSG_DONTWAIT | MSG_CMSG_CLOEXEC, nullptr);
    for (int i = 0; i < count; ++i) {
        msghdr &header = headers[static_cast<std::size_t>(i)].msg_hdr;
        Packet &packet = packets[static_cast<std::size_t>(i)];
        packet.size = headers[static_cast<std::size_t>(i)].msg_len;
        packet.truncated = (header.msg_flags & (MSG_CTRUNC | MSG_TRUNC)) != 0;
        packet.fds.clear();
        for (cmsghdr *part = CMSG_FIRSTHDR(&header); part; part = CMSG_NXTHDR(&header, part)) {
            if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS)
                continue;
            const std::size_t fds = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
            for (std::size_t k = 0; k < fds; ++k) {
                int fd = -1;
                std::memcpy(&fd, CMSG_DATA(part) + k * sizeof fd, sizeof fd);
                packet.fds.emplace_back(fd);
            }
        }
    }
    return count;
}

/// The struct in a packet, if it has exactly that size.
template <typename T>
std::optional<T> as(const Packet &packet)
{
    T message;
    if (packet.size != sizeof message)
        return std::nullopt;
    std::memcpy(&message, packet.bytes.data(), sizeof message);
    return message;
}

bool may_end_with(std::uint32_t reason)
{
    switch (static_cast<wire::Reason>(reason)) {
    case wire::Reason::kUnsupportedCodec:
    case wire::Reason::kUnsupportedProfile:
    case wire::Reason::kTooLarge:
    case wire::Reason::kBadParameters:
    case wire::Reason::kDecoderFailed:
    case wire::Reason::kNoResources:
        return true;
    default:
        return false;
    }
}

/// Text for a log line out of a hostile array.
std::string printable(const char *text, std::size_t size)
{
    std::string out(text, ::strnlen(text, size));
    std::replace_if(
        out.begin(), out.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
    return out;
}

} // namespace

struct DecoderProcess::Private {
    Private(const Config &config, Listener &owner)
        : listener(owner),
          budget(config.budget ? *config.budget : unshared),
          slots(config.fourccs, config.allocator, config.dmabuf_fourccs, config.surfaces),
          places(ipc::kUnitsSize, ipc::kMaxUnits),
          told_colours(config.told_colours)
    {
    }

    ~Private() { budget.left += static_cast<std::int64_t>(slots.bytes()); }
    Private(const Private &) = delete;
    Private &operator=(const Private &) = delete;

    Listener &listener;
    FrameBudget unshared;
    FrameBudget &budget;
    UniqueFd socket;
    pid_t pid = -1; ///< -1: collected
    Mapping units_memory;
    SlotTable slots;
    UnitPlaces places;
    YuvColourSet told_colours; ///< that the presenter can tell

    std::uint32_t epoch = 0;
    std::uint64_t released = 0; ///< not told to the decoder yet
    bool notice_due = false;    ///< something is to be said although no unit follows
    bool drain_due = false;
    bool draining = false; ///< no unit since the drain
    bool failed = false;
    /// Since when it has hung up and is not gone yet: `socket` is a handle of its process then, which has input when it is. Negative: no.
    std::int64_t ending = -1;
    bool reset = false; ///< the socket has told that the decoder is gone
    std::uint64_t units_sent = 0;
    std::uint64_t frames_seen = 0;
    unsigned log_lines = 0;
    std::uint64_t progress = 0; ///< frames seen and given back, units used up, paths taken
    std::uint64_t progress_watched = 0;
    std::int64_t silent_since = -1;                                  ///< negative: nobody watches
    unsigned paths_seen = 0;
    std::int64_t started = monotonic_now();
    bool ready = false;
    std::int64_t min_pts = std::numeric_limits<std::int64_t>::max(); ///< of this epoch's units
    std::int64_t max_pts = std::numeric_limits<std::int64_t>::min();

    bool transmit(ipc::Control &control);
    void give_back(std::uint32_t slot);
    void send_notice();
    void end(wire::Reason reason, const std::string &why);
    void end_by_itself();
    [[nodiscard]] Status handle(Packet &packet);
    [[nodiscard]] Status consumed(std::uint32_t units);
    [[nodiscard]] Status handle_buffer(const ipc::Buffer &message, std::vector<UniqueFd> fds);
    [[nodiscard]] Status handle_frame(const ipc::Frame &message);
};

// ---- to the decoder

/// False: the socket is full, nothing was said. A peer that is gone counts as told: dispatch() will find out.
bool DecoderProcess::Private::transmit(ipc::Control &control)
{
    control.epoch = epoch;
    control.released = released;
    ssize_t sent = -1;
    do
        sent = ::send(socket.get(), &control, sizeof control, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS))
        return false;
    released = 0;
    notice_due = drain_due && control.head.kind == ipc::Kind::kUnit;
    return true;
}

void DecoderProcess::Private::send_notice()
{
    ipc::Control notice;
    notice.flags = drain_due ? ipc::kDrain : 0;
    notice_due = !transmit(notice);
    drain_due = drain_due && notice_due;
}

bool DecoderProcess::send(const wire::AccessUnit &unit)
{
    Private &p = *p_;
    if (p.failed)
        return true; // nobody will decode it; the owner knows by failed()
    if (p.drain_due) // the unit must not overtake it
        p.send_notice();
    if (p.drain_due)
        return false;
    const auto offset = p.places.put(unit.data.size());
    if (!offset)
        return false;
    std::memcpy(p.units_memory.data() + *offset, unit.data.data(), unit.data.size());

    ipc::Control control;
    control.head.kind = ipc::Kind::kUnit;
    control.flags = unit.flags;
    control.offset = *offset;
    control.unit_size = static_cast<std::uint32_t>(unit.data.size());
    control.pts = unit.pts;
    if (!p.transmit(control)) {
        p.places.undo_put();
        return false;
    }
    p.draining = false;
    ++p.units_sent;
    p.min_pts = std::min(p.min_pts, unit.pts);
    p.max_pts = std::max(p.max_pts, unit.pts);
    return true;
}

void DecoderProcess::release(std::uint32_t slot)
{
    Private &p = *p_;
    if (!p.slots.release(slot))
        return;
    p.give_back(slot);
}

/// A decoder without work does not wait for slots: it is told with the next unit, and not woken before.
void DecoderProcess::Private::give_back(std::uint32_t slot)
{
    released |= std::uint64_t{1} << slot;
    ++progress; // it may have waited for this: its silence counts from here
    const bool at_work = places.units() > 0 || draining;
    if (!failed && at_work && std::popcount(released) >= kReleaseBatch)
        send_notice();
}

void DecoderProcess::flush(std::uint32_t epoch)
{
    Private &p = *p_;
    if (epoch <= p.epoch)
        return;
    p.epoch = epoch;
    p.min_pts = std::numeric_limits<std::int64_t>::max();
    p.max_pts = std::numeric_limits<std::int64_t>::min();
    if (!p.failed)
        p.send_notice();
}

void DecoderProcess::drain()
{
    p_->drain_due = true;
    p_->draining = true;
    if (!p_->failed)
        p_->send_notice();
}

// ---- from the decoder

void DecoderProcess::dispatch()
{
    Private &p = *p_;
    if (p.failed)
        return;
    if (p.ending >= 0)
        return p.end_by_itself();
    std::array<Packet, kBatch> packets;
    for (unsigned batch = 0; batch < kBatchesPerDispatch && !p.failed && p.ending < 0; ++batch) {
        const int count = receive_batch(p.socket.get(), packets);
        if (count < 0) {
            // It left without reading all that it was sent: said once, before what it said last.
            if (errno == ECONNRESET && !std::exchange(p.reset, true))
                continue;
            if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
                p.end_by_itself();
            break;
        }
        for (int i = 0; i < count && !p.failed && p.ending < 0; ++i) {
            Packet &packet = packets[static_cast<std::size_t>(i)];
            if (packet.size == 0)
                p.end_by_itself();
            else if (Status status = p.handle(packet); !status)
                p.end(wire::Reason::kDecoderFailed,
                      "the decoder process sent what it must not: " + status.error().message);
        }
        if (count < static_cast<int>(kBatch))
            break;
    }
    if (p.notice_due && !p.failed && p.ending < 0)
        p.send_notice();
}

Status DecoderProcess::Private::handle(Packet &packet)
{
    if (packet.truncated || packet.size < sizeof(ipc::Head))
        return Error{"message of a wrong size"};
    ipc::Head head;
    std::memcpy(&head, packet.bytes.data(), sizeof head);
    if (head.version != ipc::kVersion)
        return Error{"version " + std::to_string(head.version) + " of the decoder protocol"};
    if (head.size != packet.size)
        return Error{"message of a wrong size"};
    if (head.kind != ipc::Kind::kBuffer && !packet.fds.empty())
        return Error{std::to_string(packet.fds.size()) + " descriptors with a message"};

    switch (head.kind) {
    case ipc::Kind::kBuffer:
        if (const auto message = as<ipc::Buffer>(packet))
            return handle_buffer(*message, std::move(packet.fds));
        break;
    case ipc::Kind::kFrame:
        if (const auto message = as<ipc::Frame>(packet))
            return handle_frame(*message);
        break;
    case ipc::Kind::kConsumed:
        if (const auto message = as<ipc::Consumed>(packet)) {
            if (message->consumed == 0)
                return Error{"message that says nothing"};
            return consumed(message->consumed);
        }
        break;
    case ipc::Kind::kPath:
        if (const auto message = as<ipc::Path>(packet)) {
            if (++paths_seen > kMaxPaths)
                return Error{"more changes of path than there are paths"};
            ++progress;
            listener.path({message->hardware != 0, message->processed != 0,
                           printable(message->name, sizeof message->name),
                           printable(message->why, sizeof message->why)});
            return Success{};
        }
        break;
    case ipc::Kind::kReady:
        if (const auto message = as<ipc::Ready>(packet)) {
            if (std::exchange(ready, true))
                return Error{"that it is ready a second time"};
            listener.ready(std::clamp(message->at, started, monotonic_now()));
            return Success{};
        }
        break;
    case ipc::Kind::kFailed:
        if (const auto message = as<ipc::Failed>(packet)) {
            if (!may_end_with(message->reason))
                return Error{"failure with reason " + std::to_string(message->reason)};
            const std::string why = printable(message->text, sizeof message->text);
            end(static_cast<wire::Reason>(message->reason), why.empty() ? "the decoder process does not say why" : why);
            return Success{};
        }
        break;
    case ipc::Kind::kLog:
        if (const auto message = as<ipc::Log>(packet)) {
            if (++log_lines > ipc::kMaxLogLines)
                return Error{"more to say than " + std::to_string(ipc::kMaxLogLines) + " lines"};
            std::fprintf(stderr, "spice-overlay-decoder: %s\n", printable(message->text, sizeof message->text).c_str());
            return Success{};
        }
        break;
    default:
        return Error{"message of unknown kind " + std::to_string(static_cast<unsigned>(head.kind))};
    }
    return Error{"message of a wrong size"};
}

Status DecoderProcess::Private::consumed(std::uint32_t units)
{
    if (units == 0)
        return Success{};
    if (!places.take(units))
        return Error{"more access units used up than it was given"};
    progress += units;
    if (places.units() == 0 && places.high_water() > kUnitsKept) {
        // An oversized unit has been through: give its pages back.
        ::madvise(units_memory.data() + kUnitsKept, units_memory.size() - kUnitsKept, MADV_REMOVE);
        places.reset_high_water();
    }
    listener.consumed(units);
    return Success{};
}

Status DecoderProcess::Private::handle_buffer(const ipc::Buffer &message, std::vector<UniqueFd> fds)
{
    const std::uint64_t expected = std::uint64_t{message.dmabufs} + (message.size > 0 ? 1 : 0);
    if (expected == 0 || fds.size() != expected)
        return Error{std::to_string(fds.size()) + " descriptors with a buffer of " + std::to_string(expected)};
    const auto before = static_cast<std::int64_t>(slots.bytes());
    auto buffer = slots.buffer(message, std::move(fds));
    if (!buffer)
        return buffer.error();
    budget.left -= static_cast<std::int64_t>(slots.bytes()) - before;
    if (budget.left < 0) {
        end(wire::Reason::kNoResources, "all streams together have more frames than there is memory for");
        return Success{};
    }
    listener.buffer(std::move(*buffer));
    return Success{};
}

Status DecoderProcess::Private::handle_frame(const ipc::Frame &message)
{
    if (message.epoch > epoch)
        return Error{"frame of an epoch that has not begun"};
    const auto colour = static_cast<YuvColour>(message.colour);
    if (message.colour >= kYuvColours || (colour != YuvColour::kUnsaid && (told_colours & set_of(colour)) == 0))
        return Error{"frame in colours that nobody asked for"};
    if (message.epoch == epoch && (message.pts < min_pts || message.pts > max_pts))
        return Error{"frame with a time that no access unit has"};
    if (++frames_seen > kFramesPerUnit * units_sent)
        return Error{"more frames than access units can hold"};
    if (Status status = slots.frame(message); !status)
        return status;
    ++progress;
    if (Status status = consumed(message.consumed); !status)
        return status;
    if (message.epoch < epoch || failed) {
        slots.release(message.slot);
        give_back(message.slot);
        return Success{};
    }
    listener.frame({message.slot, message.epoch, message.pts, message.decode_ns, message.crop, colour});
    return Success{};
}

std::int64_t DecoderProcess::watch(std::int64_t now)
{
    Private &p = *p_;
    const auto patience = [&p] { return p.progress == 0 ? ipc::kSilenceAtStart : ipc::kSilence; };
    const auto silent = [&p] {
        // With so many frames out it may wait for some to come back, and has to be told of them.
        const std::size_t out = p.slots.held() + static_cast<std::size_t>(std::popcount(p.released));
        return p.silent_since >= 0 && p.progress == p.progress_watched && out < ipc::kLeastHeld;
    };
    const auto says_nothing = [&] { return !p.failed && p.ending < 0 && p.places.units() > 0 && silent(); };
    if (says_nothing() && now >= p.silent_since + patience()) {
        dispatch(); // it may have been us who slept
        if (says_nothing())
            p.end(wire::Reason::kDecoderFailed, "the decoder process says nothing");
    }
    if (!p.failed && p.ending >= 0) {
        if (now < p.ending + kEndPatience)
            return p.ending + kEndPatience;
        p.end(wire::Reason::kDecoderFailed, kEndedByItself + kNotGone);
    }
    if (p.failed || p.places.units() == 0)
        return p.silent_since = -1;
    if (!silent()) {
        p.progress_watched = p.progress;
        p.silent_since = now;
    }
    return p.silent_since + patience();
}

void DecoderProcess::Private::end(wire::Reason reason, const std::string &why)
{
    failed = true;
    kill_and_leave(std::exchange(pid, -1));
    listener.failed(reason, why);
}

/// It has hung up. How it ended is known when it is gone, which takes it a moment: until then fd() stands for that, under the number that the
/// owner polls.
void DecoderProcess::Private::end_by_itself()
{
    if (const auto how = kill_and_reap(pid)) {
        failed = true;
        pid = -1;
        return listener.failed(wire::Reason::kDecoderFailed, kEndedByItself + *how + ")");
    }
    if (ending >= 0)
        return;
    ending = monotonic_now();
    const UniqueFd handle(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
    if (!handle.valid() || ::dup3(handle.get(), socket.get(), O_CLOEXEC) < 0)
        end(wire::Reason::kDecoderFailed, kEndedByItself + kNotGone);
}

// ---- start and end

namespace {

std::vector<std::uint8_t> open_message(const DecoderProcess::Config &config)
{
    const wire::StreamOpen &stream = config.stream;
    ipc::Open open;
    open.codec = static_cast<std::uint16_t>(stream.codec);
    open.profile = stream.profile;
    open.level = stream.level;
    open.coded_width = stream.coded_width;
    open.coded_height = stream.coded_height;
    open.colour = stream.colour;
    open.frame_rate_num = stream.frame_rate_num;
    open.frame_rate_den = stream.frame_rate_den;
    open.fourcc_count = static_cast<std::uint16_t>(config.fourccs.size());
    std::copy(config.fourccs.begin(), config.fourccs.end(), open.fourccs);
    open.yuv_matrix = config.yuv_matrix;
    open.told_colours = config.told_colours;
    open.allocator = static_cast<std::uint16_t>(config.allocator);
    for (std::size_t i = 0; i < config.fourccs.size(); ++i) {
        const auto &wanted = config.dmabuf_fourccs;
        if (std::find(wanted.begin(), wanted.end(), config.fourccs[i]) != wanted.end())
            open.dmabuf_fourccs = static_cast<std::uint16_t>(open.dmabuf_fourccs | 1u << i);
    }
    open.threads = config.threads ? config.threads : std::clamp(std::thread::hardware_concurrency(), 1u, 4u);
    open.extradata_size = static_cast<std::uint32_t>(stream.extradata.size());
    open.hardware = static_cast<std::uint32_t>(config.hardware);
    std::vector<ipc::SurfaceFormat> formats;
    for (const auto &[fourcc, modifier] : config.surfaces.entries())
        if (formats.size() < ipc::kMaxSurfaceFormats)
            formats.push_back({fourcc, 0, modifier});
    open.surface_formats = static_cast<std::uint32_t>(formats.size());
    const std::size_t formats_size = formats.size() * sizeof(ipc::SurfaceFormat);
    open.head.size = static_cast<std::uint32_t>(sizeof open + formats_size + stream.extradata.size());

    std::vector<std::uint8_t> bytes(sizeof open);
    std::memcpy(bytes.data(), &open, sizeof open);
    const auto *listed = reinterpret_cast<const std::uint8_t *>(formats.data());
    bytes.insert(bytes.end(), listed, listed + formats_size); // there may be none, and no address then
    bytes.insert(bytes.end(), stream.extradata.begin(), stream.extradata.end());
    return bytes;
}

} // namespace

Result<std::unique_ptr<DecoderProcess>> DecoderProcess::start(const Config &config, Listener &listener)
{
    const auto &fourccs = config.fourccs;
    if (fourccs.empty() || fourccs.size() > std::size(ipc::Open{}.fourccs)
        || std::find(fourccs.begin(), fourccs.end(), kFourccXrgb8888) == fourccs.end())
        return Error{"decoder needs one to three frame formats, XRGB8888 among them"};
    if (config.stream.extradata.size() > wire::kMaxExtradata)
        return Error{"extradata of " + std::to_string(config.stream.extradata.size()) + " bytes"};

    auto p = std::make_unique<Private>(config, listener);
    auto units = make_sealed_memfd("spice-overlay-units", ipc::kUnitsSize);
    if (!units)
        return units.error();
    auto memory = Mapping::map(units->get(), ipc::kUnitsSize, Mapping::Access::kReadWrite);
    if (!memory)
        return memory.error();
    p->units_memory = std::move(*memory);

    int ends[2];
    if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0)
        return Error{std::string("cannot make a socket for the decoder: ") + std::strerror(errno)};
    p->socket.reset(ends[0]);
    UniqueFd theirs(ends[1]);
    // Room for kMaxUnits small messages and their overhead; with less, send() refuses earlier.
    const int room = 512 << 10;
    ::setsockopt(p->socket.get(), SOL_SOCKET, SO_SNDBUF, &room, sizeof room);

    const std::vector<std::uint8_t> open = open_message(config);
    if (::send(p->socket.get(), open.data(), open.size(), MSG_DONTWAIT | MSG_NOSIGNAL)
        != static_cast<ssize_t>(open.size()))
        return Error{std::string("cannot speak to the decoder: ") + std::strerror(errno)};

    static_assert(ipc::kSocketFd == 3 && ipc::kUnitsFd == 4 && ipc::kDeviceFd == 5 && ipc::kRenderNodeFd == 6);
    const std::array<int, 4> fds{theirs.get(), units->get(), config.device, config.render_node};
    std::vector<std::string> args;
    if (!config.sandbox)
        args.emplace_back("--no-sandbox");
    auto pid = spawn(config.program, args, fds);
    if (!pid)
        return pid.error();
    p->pid = *pid;
    return std::unique_ptr<DecoderProcess>(new DecoderProcess(std::move(p)));
}

DecoderProcess::DecoderProcess(std::unique_ptr<Private> p) : p_(std::move(p)) {}

DecoderProcess::~DecoderProcess()
{
    if (p_->pid > 0)
        kill_and_leave(p_->pid);
}

bool DecoderProcess::ending() const
{
    return p_->ending >= 0 && !p_->failed;
}

int DecoderProcess::fd() const
{
    return p_->socket.get();
}

int DecoderProcess::pid() const
{
    return p_->pid;
}

} // namespace spice_overlay
