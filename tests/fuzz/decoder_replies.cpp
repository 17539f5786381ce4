// SPDX-License-Identifier: LGPL-2.1-or-later
// The viewer's side of the decoder: DecoderProcess as it is, with a socket whose other end is the fuzzer's. In place of
// dmabuf/decoder/child.cpp, so that no process is started.
#include "dmabuf/decoder/child.h"
#include "dmabuf/decoder/decoder_process.h"
#include "dmabuf/decoder/ipc.h"
#include "dmabuf/memfd.h"
#include "input.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <array>
#include <map>

namespace {
spice_overlay::UniqueFd decoder_end; ///< of the process that was "started" last
bool decoder_lives = false;
bool decoder_is_slow = false;         ///< to end
constexpr pid_t kPid = 1'000'000'000; ///< beyond all that Linux gives
} // namespace

spice_overlay::Result<pid_t> spice_overlay::spawn(const std::string &, const std::vector<std::string> &,
                                                  std::span<const int> fds, int)
{
    decoder_end.reset(::fcntl(fds[0], F_DUPFD_CLOEXEC, 0));
    decoder_lives = true;
    return kPid;
}

void spice_overlay::kill_and_leave(pid_t pid)
{
    fuzz::require(pid == kPid && std::exchange(decoder_lives, false), "the process, and no other, is ended once");
}

std::optional<std::string> spice_overlay::kill_and_reap(pid_t pid, std::chrono::milliseconds)
{
    fuzz::require(pid == kPid && decoder_lives, "nobody asks how a process has ended that is left, or was never there");
    if (decoder_is_slow)
        return std::nullopt;
    kill_and_leave(pid);
    return "killed";
}

namespace spice_overlay::fuzz {
namespace {

constexpr std::uint32_t kWidth = 64;
constexpr std::uint32_t kHeight = 32;
constexpr YuvColourSet kTold = set_of(YuvColour::kBt601) | set_of(YuvColour::kBt709);
constexpr std::uint64_t kTiled = 1; ///< a modifier other than linear
constexpr std::int64_t kBudget = 1 << 15; ///< bytes: less than four slots can take

/// What a decoder may send along: the first two are right for small pictures.
const std::vector<int> &descriptors()
{
    static const std::vector<int> fds = [] {
        std::vector<int> made;
        for (const std::size_t size : {8192, 16384})
            made.push_back(make_sealed_memfd("fuzz", size)->release());
        const auto memfd = [&](off_t size, int seals) {
            const int fd = ::memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
            require(::ftruncate(fd, size) == 0 && ::fcntl(fd, F_ADD_SEALS, seals) == 0, "memory can be had");
            made.push_back(fd);
        };
        memfd(8192, 0);
        memfd(8192, F_SEAL_GROW | F_SEAL_SEAL);
        memfd(8192, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
        memfd(100, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
        made.push_back(::open("/dev/null", O_RDWR | O_CLOEXEC));
        made.push_back(::open("/", O_PATH | O_CLOEXEC));
        return made;
    }();
    return fds;
}

class Viewer : public DecoderProcess::Listener {
public:
    void run(Input &in)
    {
        DecoderProcess::Config config;
        config.fourccs = {kFourccYu12, kFourccNv12, kFourccXrgb8888};
        config.dmabuf_fourccs = {kFourccNv12};
        config.told_colours = kTold;
        const unsigned choice = in.byte();
        config.allocator = choice % 4 == 0 ? Allocator::kNone : Allocator::kStandIn;
        config.sandbox = choice / 4 % 4 != 3;
        decoder_is_slow = !config.sandbox;
        config.surfaces.add(kFourccNv12, kTiled);
        config.surfaces.add(kFourccP010, kModifierLinear);
        config.budget = &budget_;
        config.stream.extradata = in.bytes(in.byte() % 4u);
        if (choice / 16 == 15)
            return start_wrongly(config, choice % 2 == 0);
        large_ = choice / 16 == 13;
        auto started = DecoderProcess::start(config, *this);
        require(started.ok(), "a decoder can be started");
        decoder_ = std::move(*started);
        if (choice / 16 == 14) { // it takes little until it is heard
            const int little = 1;
            ::setsockopt(decoder_->fd(), SOL_SOCKET, SO_SNDBUF, &little, sizeof little);
        }
        while (!in.empty() && !failed_)
            step(in);
        if (failed_)
            go_on();
        decoder_.reset();
        require(!decoder_lives, "no process is left behind");
        require(budget_.left == kBudget, "what a stream took of the budget comes back");
    }

    void buffer(FrameBuffer buffer) override
    {
        expect_alive();
        require(buffer.slot < ipc::kMaxSlots && !held_.contains(buffer.slot), "no new memory for what is on show");
        require(buffer.fd.valid() || buffer.image, "a buffer has memory");
        require(buffer.width > 0 && buffer.height > 0, "a buffer has a size");
        if (buffer.fd.valid()) {
            struct stat info = {};
            require(::fstat(buffer.fd.get(), &info) == 0 && static_cast<std::size_t>(info.st_size) == buffer.size,
                    "memory is as large as announced");
            const int seals = ::fcntl(buffer.fd.get(), F_GET_SEALS);
            require((seals & F_SEAL_SHRINK) && (seals & F_SEAL_SEAL) && !(seals & F_SEAL_WRITE),
                    "memory cannot shrink, and can be mapped");
            const std::uint64_t end = buffer.planes[0].offset + std::uint64_t{buffer.planes[0].stride} * buffer.height;
            require(end <= buffer.size, "the picture lies in its memory");
        }
        for (unsigned i = 0; buffer.image && i < buffer.image->plane_count(); ++i) {
            const Image::Plane plane = buffer.image->plane(i);
            require(buffer.fourcc == kFourccNv12 || buffer.fourcc == kFourccP010,
                    "a dmabuf is of a format of which some were asked for");
            require(plane.offset + std::int64_t{plane.stride} <= ::lseek(plane.fd, 0, SEEK_END),
                    "a plane lies in its memory");
        }
        const auto slot = buffer.slot;
        buffers_.insert_or_assign(slot, std::move(buffer));
        std::size_t count = 0;
        for (const auto &[id, each] : buffers_)
            count += each.fd.valid() + (each.image ? 1u : 0u);
        require(count <= ipc::kMaxDescriptors, "no more descriptors than a stream may have");
        require(budget_.left >= 0, "no more memory than all streams may have");
    }
    void frame(const DecodedFrame &frame) override
    {
        expect_alive();
        require(frame.epoch == epoch_, "no frame of another epoch");
        require(frame.pts >= 0 && frame.pts < units_, "a frame has the time of a unit");
        const auto found = buffers_.find(frame.slot);
        require(found != buffers_.end(), "a frame has a buffer");
        require(held_.emplace(frame.slot, true).second, "no frame in a slot that is on show");
        const wire::Rect &c = frame.crop;
        require(c.x >= 0 && c.y >= 0 && c.width > 0 && c.height > 0
                    && std::uint64_t{c.width} + static_cast<unsigned>(c.x) <= found->second.width
                    && std::uint64_t{c.height} + static_cast<unsigned>(c.y) <= found->second.height,
                "a picture lies in its buffer");
        require(frame.colour == YuvColour::kUnsaid || (kTold & set_of(frame.colour)),
                "only colours that were asked for");
        require(frame.colour == YuvColour::kUnsaid || found->second.fourcc != kFourccXrgb8888,
                "nothing that is said of YUV is said of RGB");
        require(frame.decode_ns >= 0, "time is not negative");
    }
    void path(const DecodePath &path) override
    {
        expect_alive();
        require(printable(path.name) && printable(path.why), "text is printable");
    }
    void consumed(std::uint32_t units) override
    {
        expect_alive();
        require(units > 0 && (consumed_ += units) <= units_, "no more units come back than were sent");
    }
    void failed(wire::Reason reason, const std::string &why) override
    {
        expect_alive();
        failed_ = true;
        require(reason != wire::Reason::kNone && !why.empty(), "there is a reason");
        require(printable(why), "text is printable");
        require(decoder_->pid() == -1, "who has failed has no process");
    }

private:
    static bool printable(const std::string &text)
    {
        return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
    }
    /// What cannot be told to a decoder is refused before there is one.
    void start_wrongly(DecoderProcess::Config &config, bool formats)
    {
        if (formats)
            config.fourccs = {kFourccYu12};
        else
            config.stream.extradata.resize(wire::kMaxExtradata + 1);
        require(!DecoderProcess::start(config, *this).ok(), "a wrong configuration is refused");
        require(!decoder_lives, "and nothing started");
    }
    /// Who has failed is told more, until its owner has heard of it.
    void go_on()
    {
        static const Bytes data(10, 1);
        wire::AccessUnit unit;
        unit.data = data;
        require(decoder_->send(unit), "units are swallowed after the end");
        decoder_->release(0);
        decoder_->flush(epoch_ + 1);
        decoder_->drain();
        decoder_->dispatch();
        require(decoder_->watch(now_ + 100 * ipc::kSilence) < 0, "nobody waits for who has failed");
    }
    void expect_alive() const { require(!failed_, "who has failed is silent"); }

    void step(Input &in)
    {
        switch (in.byte() % 16) {
        case 0:
        case 1:
        case 2: {
            static const Bytes data(5u << 20, 1); // more than the memory that is kept for units
            const auto size = in.rarely(64) && large_ ? data.size() : in.pick<std::size_t>({1, 10, 1000});
            wire::AccessUnit unit;
            unit.flags = wire::kKey;
            unit.pts = units_;
            unit.data = std::span(data).first(size);
            units_ += decoder_->send(unit) ? 1 : 0;
            return;
        }
        case 3:
        case 4: {
            const auto slot = static_cast<std::uint32_t>(in.byte() % 70);
            held_.erase(slot);
            return decoder_->release(slot);
        }
        case 5:
            epoch_ += in.byte() % 2;
            return decoder_->flush(epoch_);
        case 6:
            if (in.rarely(8))
                decoder_end.reset();
            return decoder_->drain();
        case 7:
            now_ += in.byte() * 100'000'000ll;
            (void)decoder_->watch(now_);
            return;
        default:
            require(decoder_->fd() >= 0, "there is something to wait for");
            say(in);
            if (in.byte() % 8 != 0)
                decoder_->dispatch();
            std::array<std::uint8_t, 512> heard;
            while (decoder_end.valid() && ::recv(decoder_end.get(), heard.data(), heard.size(), MSG_DONTWAIT) > 0)
                continue;
        }
    }

    /// One reply: right, most of the time.
    void say(Input &in)
    {
        const auto slot = static_cast<std::uint32_t>(in.rarely(16) ? in.range(0, 300) : in.byte() % 4);
        switch (in.byte() % 16) {
        case 0:
            return send(in, ipc::Consumed{.consumed = in.byte() % 4u}, {});
        case 1: {
            ipc::Failed failed{.reason = in.byte() % 16u};
            in_text(in, failed.text);
            return in.rarely(4) ? send(in, failed, {}) : send(in, ipc::Consumed{.consumed = 1}, {});
        }
        case 2: {
            ipc::Log log;
            in_text(in, log.text);
            return send(in, log, {});
        }
        case 3: {
            ipc::Path path{.hardware = in.byte() % 2u};
            in_text(in, path.name);
            in_text(in, path.why);
            return send(in, path, {});
        }
        case 4:
        case 5:
        case 6: {
            ipc::Buffer buffer;
            std::vector<int> fds;
            buffer.slot = slot;
            buffer.fourcc = in.pick({kFourccYu12, kFourccNv12, kFourccXrgb8888, kFourccP010});
            buffer.width = kWidth;
            buffer.height = kHeight;
            const auto stride = buffer.fourcc == kFourccXrgb8888 ? 4 * kWidth : kWidth;
            const auto layout = shm_layout(buffer.fourcc, kWidth, kHeight, stride);
            for (unsigned i = 0; layout && i < layout->plane_count; ++i)
                buffer.planes[i] = {0, layout->planes[i].offset, layout->planes[i].stride};
            buffer.plane_count = layout ? layout->plane_count : in.byte() % 5u;
            const unsigned kind = in.byte() % 4;
            if (kind != 1) {
                buffer.size = 8192u << in.byte() % 2;
                fds.push_back(in.rarely(8) ? any(in) : descriptors()[buffer.size > 8192]);
            }
            if (kind != 0) {
                buffer.dmabufs = 1;
                buffer.modifier = in.rarely(4) ? kTiled : kModifierLinear;
                fds.push_back(in.rarely(8) ? any(in) : descriptors()[0]);
            }
            return send(in, buffer, std::move(fds));
        }
        case 7:
            return send(in, ipc::Ready{.at = in.number<std::int64_t>()}, {});
        default: {
            ipc::Frame frame;
            frame.consumed = in.byte() % 2;
            frame.slot = slot;
            frame.epoch = in.rarely(8) ? epoch_ + in.byte() % 3u - 1 : epoch_;
            frame.colour = in.rarely(4) ? in.byte() % 9u : 0;
            frame.crop = {in.rarely(8) ? in.range(-1, 64) : 0, 0, in.rarely(8) ? in.byte() : kWidth, kHeight};
            frame.pts = units_ - 1 - (in.rarely(8) ? in.byte() % 4 - 1 : 0);
            return send(in, frame, {});
        }
        }
    }

    static int any(Input &in) { return descriptors()[in.byte() % descriptors().size()]; }

    template <std::size_t size>
    static void in_text(Input &in, char (&text)[size])
    {
        const Bytes some = in.bytes(in.byte());
        std::copy_n(some.begin(), std::min(some.size(), size), text);
    }

    template <typename Message>
    static void send(Input &in, const Message &message, std::vector<int> fds)
    {
        Bytes bytes(sizeof message);
        std::memcpy(bytes.data(), &message, sizeof message);
        if (in.rarely(16)) // anywhere in it
            bytes[in.byte() % bytes.size()] = in.byte();
        if (in.rarely(64))
            bytes.resize(in.number<std::uint16_t>() % 400u);
        if (in.rarely(32))
            fds.resize(in.byte() % 10u, descriptors()[0]);
        iovec vector{bytes.data(), bytes.size()};
        msghdr header{};
        header.msg_iov = &vector;
        header.msg_iovlen = 1;
        alignas(cmsghdr) std::array<std::uint8_t, CMSG_SPACE(16 * sizeof(int))> ancillary{};
        if (!fds.empty()) {
            header.msg_control = ancillary.data();
            header.msg_controllen = CMSG_SPACE(fds.size() * sizeof(int));
            cmsghdr *rights = CMSG_FIRSTHDR(&header);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(fds.size() * sizeof(int));
            std::memcpy(CMSG_DATA(rights), fds.data(), fds.size() * sizeof(int));
        }
        if (decoder_end.valid())
            ::sendmsg(decoder_end.get(), &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    }

    FrameBudget budget_{kBudget};
    bool large_ = false; ///< units may be: of few decoders, since touching so much memory takes longer than all else
    std::unique_ptr<DecoderProcess> decoder_;
    std::map<std::uint32_t, FrameBuffer> buffers_;
    std::map<std::uint32_t, bool> held_;
    std::uint32_t epoch_ = 0;
    std::int64_t units_ = 0;
    std::int64_t consumed_ = 0;
    std::int64_t now_ = 1'000'000'000;
    bool failed_ = false;
};

} // namespace
} // namespace spice_overlay::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t *data, std::size_t size)
{
    using namespace spice_overlay::fuzz;
    require(!descriptors().empty(), "memory can be had");
    const int free = free_descriptor();
    Input in(data, size);
    Viewer().run(in);
    decoder_end.reset();
    require(free_descriptor() == free, "no descriptor is left open");
    return 0;
}
