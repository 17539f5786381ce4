// SPDX-License-Identifier: LGPL-2.1-or-later
// In place of dmabuf/decoder/child.cpp, so that no process is started.
#include "stand_in_decoder.h"

#include "dmabuf/decoder/child.h"
#include "dmabuf/decoder/ipc.h"
#include "dmabuf/formats.h"
#include "dmabuf/memfd.h"

#include <fcntl.h>
#include <sys/socket.h>

#include <array>
#include <cstring>

namespace spice_overlay {

namespace {

constexpr std::uint32_t kSide = 16; ///< of a picture, pixels
constexpr std::uint32_t kSlots = 8;

std::map<pid_t, std::shared_ptr<StandInDecoder>> &decoders()
{
    static std::map<pid_t, std::shared_ptr<StandInDecoder>> all;
    return all;
}

} // namespace

Result<pid_t> spawn(const std::string &, const std::vector<std::string> &, std::span<const int> fds, int)
{
    static pid_t last = 1'000'000'000; // beyond all that Linux gives
    auto own = [&](std::size_t i) { return ::fcntl(fds[i], F_DUPFD_CLOEXEC, 0); };
    decoders()[++last] = std::make_shared<StandInDecoder>(own(0), own(1));
    return last;
}

std::optional<std::string> kill_and_reap(pid_t pid, std::chrono::milliseconds)
{
    decoders().erase(pid);
    return "killed";
}

void kill_and_leave(pid_t pid)
{
    decoders().erase(pid);
}

std::vector<std::shared_ptr<StandInDecoder>> live_decoders()
{
    std::vector<std::shared_ptr<StandInDecoder>> live;
    for (const auto &[pid, decoder] : decoders())
        live.push_back(decoder);
    return live;
}

void StandInDecoder::hear()
{
    static std::array<std::uint8_t, ipc::kMaxRequest> packet;
    for (;;) {
        const ssize_t size = socket_.valid() ? ::recv(socket_.get(), packet.data(), packet.size(), MSG_DONTWAIT) : 0;
        if (size <= 0)
            return;
        ipc::Control control;
        std::memcpy(&control.head, packet.data(), sizeof control.head);
        if (control.head.kind == ipc::Kind::kOpen)
            continue;
        std::memcpy(&control, packet.data(), sizeof control);
        held_ &= ~control.released;
        Unit unit{{}, control.epoch, control.pts};
        if (control.head.kind == ipc::Kind::kUnit
            && ::pread(units_.get(), &unit.tag, sizeof unit.tag, static_cast<off_t>(control.offset)) > 0)
            waiting_.push_back(unit);
    }
}

bool StandInDecoder::decode()
{
    std::uint32_t slot = 0;
    while (slot < kSlots && (held_ >> slot & 1) != 0)
        ++slot;
    if (waiting_.empty() || slot == kSlots || !socket_.valid())
        return false;
    const Unit unit = waiting_.front();
    waiting_.pop_front();
    if (!slots_.contains(slot)) {
        ipc::Buffer buffer;
        buffer.slot = slot;
        buffer.fourcc = kFourccXrgb8888;
        buffer.width = buffer.height = kSide;
        buffer.size = whole_pages(std::size_t{kSide} * kSide * 4);
        buffer.plane_count = 1;
        buffer.planes[0] = {0, 0, kSide * 4};
        slots_[slot] = std::move(make_sealed_memfd("stand-in", buffer.size).value());
        send(buffer, slots_[slot].get());
    }
    if (::pwrite(slots_[slot].get(), &unit.tag, sizeof unit.tag, 0) != sizeof unit.tag)
        return false;
    held_ |= std::uint64_t{1} << slot;
    ipc::Frame frame;
    frame.consumed = 1;
    frame.slot = slot;
    frame.epoch = unit.epoch;
    frame.crop = {0, 0, kSide, kSide};
    frame.pts = unit.pts;
    send(frame);
    return true;
}

void StandInDecoder::say_nonsense()
{
    ipc::Frame frame;
    frame.slot = ipc::kMaxSlots;
    send(frame);
}

template <typename Message>
void StandInDecoder::send(const Message &message, int fd)
{
    Message bytes = message;
    iovec vector{&bytes, sizeof bytes};
    msghdr header{};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(sizeof(int))> ancillary{};
    if (fd >= 0) {
        header.msg_control = ancillary.data();
        header.msg_controllen = ancillary.size();
        cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int));
        std::memcpy(CMSG_DATA(rights), &fd, sizeof fd);
    }
    if (socket_.valid())
        ::sendmsg(socket_.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
}

} // namespace spice_overlay
