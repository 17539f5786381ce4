// SPDX-License-Identifier: LGPL-2.1-or-later
// A decoder process that misbehaves in the way its stream's extradata names. Decodes nothing.
#include "dmabuf/decoder/ipc.h"
#include "dmabuf/memfd.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstring>
#include <functional>
#include <initializer_list>
#include <limits>
#include <map>
#include <string>
#include <vector>

using namespace spice_overlay;

namespace {

constexpr std::uint32_t kWidth = 64;
constexpr std::uint32_t kHeight = 32;
constexpr std::uint64_t kSize = 8192;

void send_bytes(const void *data, std::size_t size, std::vector<int> fds = {})
{
    iovec vector{const_cast<void *>(data), size};
    msghdr header{};
    header.msg_iov = &vector;
    header.msg_iovlen = 1;
    std::vector<std::uint8_t> ancillary(CMSG_SPACE(sizeof(int) * fds.size()));
    if (!fds.empty()) {
        header.msg_control = ancillary.data();
        header.msg_controllen = ancillary.size();
        cmsghdr *rights = CMSG_FIRSTHDR(&header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
        std::memcpy(CMSG_DATA(rights), fds.data(), sizeof(int) * fds.size());
    }
    ::sendmsg(ipc::kSocketFd, &header, MSG_NOSIGNAL);
}

template <typename T>
void say(const T &message, std::vector<int> fds = {})
{
    send_bytes(&message, sizeof message, std::move(fds));
}

ipc::Control hear(bool unit)
{
    for (;;) {
        ipc::Control control;
        const ssize_t size = ::recv(ipc::kSocketFd, &control, sizeof control, 0);
        if (size <= 0)
            std::_Exit(0);
        if (size == sizeof control && (control.head.kind == ipc::Kind::kUnit) == unit)
            return control;
    }
}

int memory(std::uint64_t size = kSize)
{
    auto fd = make_sealed_memfd("fake", size);
    return fd ? fd->release() : -1;
}

int memory_with_seals(int seals, std::uint64_t size = kSize)
{
    const int fd = ::memfd_create("fake", MFD_ALLOW_SEALING);
    if (::ftruncate(fd, static_cast<off_t>(size)) != 0 || ::fcntl(fd, F_ADD_SEALS, seals) != 0)
        std::_Exit(3);
    return fd;
}

void describe(ipc::Buffer &message, std::uint32_t stride)
{
    if (const auto layout = shm_layout(message.fourcc, message.width, message.height, stride)) {
        message.plane_count = layout->plane_count;
        for (unsigned i = 0; i < layout->plane_count; ++i)
            message.planes[i] = {0, layout->planes[i].offset, layout->planes[i].stride};
    }
}

ipc::Buffer buffer(std::uint32_t slot = 0)
{
    ipc::Buffer message;
    message.slot = slot;
    message.fourcc = kFourccYu12;
    message.width = kWidth;
    message.height = kHeight;
    message.size = kSize;
    describe(message, 64);
    return message;
}

ipc::Frame frame(std::uint32_t slot = 0)
{
    ipc::Frame message;
    message.slot = slot;
    message.crop = {0, 0, kWidth, kHeight};
    message.pts = 1000; // what the test sends
    return message;
}

/// A good buffer but for one change; with good memory unless told otherwise.
void bad_buffer(const std::function<void(ipc::Buffer &)> &change, int fd = memory())
{
    ipc::Buffer message = buffer();
    change(message);
    say(message, {fd});
}

/// Of RGB, one for each slot.
void buffers_of(std::uint32_t count, std::uint32_t width, std::uint32_t height)
{
    for (std::uint32_t slot = 0; slot < count; ++slot) {
        ipc::Buffer m = buffer(slot);
        m.fourcc = kFourccXrgb8888;
        m.width = width;
        m.height = height;
        describe(m, 4 * width);
        m.size = std::uint64_t{4} * width * height;
        say(m, {memory(m.size)});
    }
}

ipc::Buffer ipc_with(const std::function<void(ipc::Buffer &)> &change)
{
    ipc::Buffer message = buffer();
    change(message);
    return message;
}

/// A good buffer, then a frame in it that is good but for one change.
void bad_frame(const std::function<void(ipc::Frame &)> &change)
{
    say(buffer(), {memory()});
    ipc::Frame message = frame();
    change(message);
    say(message);
}

void failure(std::uint32_t reason, const char *text)
{
    ipc::Failed message;
    message.reason = reason;
    std::memset(message.text, 'x', sizeof message.text); // without an end, unless the text brings it
    std::memcpy(message.text, text, std::strlen(text) + 1);
    say(message);
}

/// From here on this process, when it ends, is not gone for a second, as one is whose driver keeps it: somebody who traces it has to let go.
void be_slow_to_end()
{
    int ready[2];
    if (::pipe(ready) != 0)
        std::_Exit(3);
    const pid_t self = ::getpid();
    const pid_t tracer = ::fork();
    if (tracer == 0) {
        ::close(ipc::kSocketFd);
        const char attached = ::ptrace(PTRACE_SEIZE, self, nullptr, nullptr) == 0 ? 'y' : 'n';
        if (::write(ready[1], &attached, 1) == 1)
            ::usleep(1'000'000);
        std::_Exit(0);
    }
    ::prctl(PR_SET_PTRACER, tracer);
    char attached = 'n';
    if (::read(ready[0], &attached, 1) != 1 || attached != 'y')
        failure(static_cast<std::uint32_t>(wire::Reason::kNoResources), "no process may trace another here");
}

const std::map<std::string, std::function<void()>> kBehaviours = {
    {"other_version",
     [] {
         ipc::Consumed m;
         m.head.version = 99;
         m.consumed = 1;
         say(m);
     }},
    {"size_field_wrong",
     [] {
         ipc::Consumed m;
         m.head.size = 4;
         m.consumed = 1;
         say(m);
     }},
    {"one_byte", [] { send_bytes("x", 1); }},
    {"no_byte",
     [] {
         send_bytes("", 0);
         ::pause();
     }},
    {"shorter_than_its_struct",
     [] {
         ipc::Frame m = frame();
         m.head.size = 16;
         send_bytes(&m, 16);
     }},
    {"longer_than_any_message",
     [] {
         std::vector<std::uint8_t> m(4096);
         ipc::Head h{ipc::kVersion, ipc::Kind::kFailed, 4096};
         std::memcpy(m.data(), &h, sizeof h);
         send_bytes(m.data(), m.size());
     }},
    {"unknown_kind",
     [] {
         ipc::Consumed m;
         m.head.kind = static_cast<ipc::Kind>(77);
         m.consumed = 1;
         say(m);
     }},
    {"speaks_as_viewer",
     [] {
         ipc::Control m;
         say(m);
     }},
    {"descriptor_missing", [] { say(buffer()); }},
    {"two_descriptors",
     [] {
         say(buffer(), {memory(), memory()});
     }},
    {"many_descriptors",
     [] {
         const int fd = memory();
         say(buffer(), std::vector<int>(100, fd));
     }},
    {"descriptor_with_frame",
     [] {
         say(buffer(), {memory()});
         say(frame(), {memory()});
     }},
    {"slot_64", [] { bad_buffer([](auto &m) { m.slot = 64; }); }},
    {"slot_huge", [] { bad_buffer([](auto &m) { m.slot = 0xffffffff; }); }},
    {"format_not_offered", [] { bad_buffer([](auto &m) { m.fourcc = kFourccNv12; }); }},
    {"format_unknown", [] { bad_buffer([](auto &m) { m.fourcc = 0; }); }},
    {"width_zero", [] { bad_buffer([](auto &m) { m.width = 0; }); }},
    {"height_zero", [] { bad_buffer([](auto &m) { m.height = 0; }); }},
    {"width_odd", [] { bad_buffer([](auto &m) { m.width = 63; }); }},
    {"width_beyond_limit",
     [] {
         bad_buffer([](auto &m) {
             m.width = 100000;
             m.planes[0].stride = 100000;
         });
     }},
    {"height_wraps_the_product", [] { bad_buffer([](auto &m) { m.height = 0xfffffffe; }); }},
    {"stride_below_width", [] { bad_buffer([](auto &m) { m.planes[0].stride = 32; }); }},
    {"stride_odd", [] { bad_buffer([](auto &m) { m.planes[0].stride = 65; }); }},
    {"stride_huge", [] { bad_buffer([](auto &m) { m.planes[0].stride = 0xfffffffe; }); }},
    {"stride_leads_outside", [] { bad_buffer([](auto &m) { m.planes[0].stride = 1024; }); }},
    {"memory_below_picture", [] { bad_buffer([](auto &m) { m.size = 1024; }, memory(1024)); }},
    {"memory_smaller_than_said", [] { bad_buffer([](auto &) {}, memory(4096)); }},
    {"memory_larger_than_said", [] { bad_buffer([](auto &) {}, memory(16384)); }},
    {"memory_huge", [] { bad_buffer([](auto &m) { m.size = 1ull << 40; }, memory(1ull << 40)); }},
    {"no_memory_at_all", [] { say(ipc_with([](auto &m) { m.size = 0; })); }},
    {"descriptors_wrap", [] { say(ipc_with([](auto &m) { m.dmabufs = 0xffffffff; }), {memory()}); }},
    {"chroma_lies_elsewhere", [] { bad_buffer([](auto &m) { m.planes[1].offset += 64; }); }},
    {"chroma_has_a_stride_of_its_own", [] { bad_buffer([](auto &m) { m.planes[2].stride = 64; }); }},
    {"planes_too_few", [] { bad_buffer([](auto &m) { m.plane_count = 2; }); }},
    {"planes_too_many", [] { bad_buffer([](auto &m) { m.plane_count = 0xffffffff; }); }},
    {"dmabuf_without_being_asked",
     [] {
         say(ipc_with([](auto &m) { m.dmabufs = 1; }), {memory(), memory()});
     }},
    // ---- with a test that asks for dmabufs
    {"dmabuf_missing", [] { say(ipc_with([](auto &m) { m.dmabufs = 1; }), {memory()}); }},
    {"dmabufs_more_than_said",
     [] {
         say(ipc_with([](auto &m) { m.dmabufs = 1; }), {memory(), memory(), memory()});
     }},
    {"dmabufs_more_than_planes",
     [] {
         say(ipc_with([](auto &m) { m.dmabufs = 2; }), {memory(), memory(), memory()});
     }},
    {"memfd_as_dmabuf",
     [] {
         say(ipc_with([](auto &m) { m.dmabufs = 1; }), {memory(), memory()});
     }},
    {"dmabuf_smaller_than_its_picture",
     [] {
         say(ipc_with([](auto &m) { m.dmabufs = 1; }), {memory(), memory(1024)});
     }},
    {"dmabuf_alone_smaller_than_its_picture",
     [] {
         say(ipc_with([](auto &m) {
                 m.size = 0;
                 m.dmabufs = 1;
             }),
             {memory(1024)});
     }},
    {"dmabuf_alone_huge",
     [] {
         say(ipc_with([](auto &m) {
                 m.size = 0;
                 m.dmabufs = 1;
             }),
             {memory(1ull << 30)});
     }},
    {"dmabuf_of_a_tiled_modifier",
     [] {
         say(ipc_with([](auto &m) {
                 m.dmabufs = 1;
                 m.modifier = 0x0100'0000'0000'0001; // Intel's X tiling
             }),
             {memory(), memory()});
     }},
    {"dmabuf_alone_of_a_format_without_being_asked",
     [] {
         bad_buffer([](auto &m) {
             m.fourcc = kFourccXrgb8888;
             describe(m, 4 * kWidth);
             m.size = 0;
             m.dmabufs = 1;
         });
     }},
    {"dmabuf_of_a_format_without_being_asked",
     [] {
         say(ipc_with([](auto &m) {
                 m.fourcc = kFourccXrgb8888;
                 describe(m, 4 * kWidth);
                 m.dmabufs = 1;
             }),
             {memory(), memory()});
     }},
    {"plane_in_a_dmabuf_that_is_not_there",
     [] {
         say(ipc_with([](auto &m) {
                 m.dmabufs = 1;
                 m.planes[2].object = 7;
             }),
             {memory(), memory()});
     }},
    {"regular_file",
     [] {
         const int fd = ::open("/tmp", O_TMPFILE | O_RDWR, 0600);
         if (::ftruncate(fd, kSize) != 0)
             return;
         bad_buffer([](auto &) {}, fd);
     }},
    {"pipe",
     [] {
         int ends[2];
         if (::pipe(ends) == 0)
             bad_buffer([](auto &) {}, ends[0]);
     }},
    {"socket", [] { bad_buffer([](auto &) {}, ipc::kSocketFd); }},
    {"not_sealed", [] { bad_buffer([](auto &) {}, memory_with_seals(0)); }},
    {"sealed_against_growing_alone", [] { bad_buffer([](auto &) {}, memory_with_seals(F_SEAL_GROW | F_SEAL_SEAL)); }},
    {"seals_may_be_added", [] { bad_buffer([](auto &) {}, memory_with_seals(F_SEAL_GROW | F_SEAL_SHRINK)); }},
    {"sealed_against_writing",
     [] { bad_buffer([](auto &) {}, memory_with_seals(F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL)); }},
    {"read_only",
     [] {
         const int fd = memory();
         const int again = ::open(("/proc/self/fd/" + std::to_string(fd)).c_str(), O_RDONLY);
         bad_buffer([](auto &) {}, again);
     }},
    {"too_much_memory", [] { buffers_of(8, 8192, 4608); }},
    {"too_much_memory_of_small_frames", [] { buffers_of(33, 2048, 1024); }}, // of 8 MiB
    {"too_many_descriptors",
     [] {
         for (std::uint32_t slot = 0; slot < 33; ++slot) {
             ipc::Buffer m = buffer(slot);
             m.dmabufs = 1;
             say(m, {memory(), memory()});
         }
     }},
    {"buffer_again_without_use",
     [] {
         say(buffer(), {memory()});
         say(buffer(), {memory()});
     }},
    {"buffer_for_held_slot",
     [] {
         say(buffer(), {memory()});
         say(frame());
         say(buffer(), {memory()});
     }},
    {"frame_before_buffer", [] { say(frame()); }},
    {"frame_in_other_slot", [] { bad_frame([](auto &m) { m.slot = 1; }); }},
    {"frame_in_slot_64", [] { bad_frame([](auto &m) { m.slot = 64; }); }},
    {"frame_in_held_slot",
     [] {
         bad_frame([](auto &) {});
         say(frame());
     }},
    {"crop_empty", [] { bad_frame([](auto &m) { m.crop.width = 0; }); }},
    {"crop_negative", [] { bad_frame([](auto &m) { m.crop.x = -1; }); }},
    {"crop_outside", [] { bad_frame([](auto &m) { m.crop.y = 1; }); }},
    {"crop_wraps",
     [] { bad_frame([](auto &m) {
              m.crop = {std::numeric_limits<std::int32_t>::max(), 0, 0xffffffff, 1};
          }); }},
    {"epoch_of_the_future", [] { bad_frame([](auto &m) { m.epoch = 1; }); }},
    {"time_of_no_unit", [] { bad_frame([](auto &m) { m.pts = 1001; }); }},
    {"negative_decoding_time", [] { bad_frame([](auto &m) { m.decode_ns = -1; }); }},
    {"consumed_nothing",
     [] {
         ipc::Consumed m;
         say(m);
     }},
    {"consumed_more_than_sent",
     [] {
         ipc::Consumed m;
         m.consumed = 2;
         say(m);
     }},
    {"frame_in_colours_not_asked_for", [] { bad_frame([](auto &m) { m.colour = 3; }); }},
    {"frame_in_unknown_colours", [] { bad_frame([](auto &m) { m.colour = 32; }); }},
    {"rgb_frame_in_colours_of_yuv",
     [] {
         bad_buffer([](auto &m) {
             m.fourcc = kFourccXrgb8888;
             describe(m, 4 * kWidth);
         });
         ipc::Frame m = frame();
         m.colour = 1; // asked for, of YUV
         say(m);
     }},
    {"frame_consumed_more_than_sent", [] { bad_frame([](auto &m) { m.consumed = 0xffffffff; }); }},
    {"more_frames_than_units",
     [] {
         for (std::uint32_t slot = 0; slot < 9; ++slot) {
             say(buffer(slot), {memory()});
             say(frame(slot));
         }
     }},
    {"changes_its_path_without_end",
     [] {
         ipc::Path m;
         for (unsigned i = 0; i < 16; ++i)
             say(m);
     }},
    {"is_ready_twice",
     [] {
         ipc::Ready m;
         say(m);
         say(m);
     }},
    {"talks_without_end",
     [] {
         ipc::Log m;
         std::memset(m.text, 'x', sizeof m.text); // and without an end of the text
         for (unsigned i = 0; i <= ipc::kMaxLogLines; ++i)
             say(m);
     }},
    {"log_of_a_wrong_size",
     [] {
         ipc::Log m;
         m.head.size = sizeof m - 8;
         send_bytes(&m, sizeof m - 8);
     }},
    {"fails_for_no_reason", [] { failure(0, "x"); }},
    {"fails_without_a_word", [] { failure(static_cast<std::uint32_t>(wire::Reason::kDecoderFailed), ""); }},
    {"fails_for_a_strange_reason", [] { failure(static_cast<std::uint32_t>(wire::Reason::kClosedByUser), "x"); }},
    {"exits", [] { std::_Exit(7); }},
    {"crashes",
     [] {
         ::signal(SIGSEGV, SIG_DFL);
         ::raise(SIGSEGV);
     }},
    {"hangs_up_and_stays",
     [] {
         ::close(ipc::kSocketFd);
         for (;;)
             ::pause();
     }},
    {"is_slow_to_end",
     [] {
         be_slow_to_end();
         say(frame());
     }},
    {"ends_slowly",
     [] {
         be_slow_to_end();
         std::_Exit(7);
     }},
    // ---- allowed
    {"fails_well",
     [] { failure(static_cast<std::uint32_t>(wire::Reason::kUnsupportedProfile), "no\tsuch\x1b[31m thing"); }},
    {"deaf",
     [] {
         for (;;)
             ::pause();
     }},
    {"path_and_silence", [] { say(ipc::Path{}); }},
    {"three_frames_and_silence",
     [] {
         for (std::uint32_t slot = 0; slot < 3; ++slot) {
             say(buffer(slot), {memory()});
             say(frame(slot));
         }
     }},
    {"frames_of_an_old_epoch",
     [] {
         say(buffer(0), {memory()});
         say(buffer(1), {memory()});
         while (hear(false).epoch != 1) {
         }
         say(frame(0)); // decoded before the flush was heard
         const ipc::Control unit = hear(true);
         if ((unit.released & 1) == 0)
             return;
         ipc::Frame m = frame(1);
         m.epoch = unit.epoch;
         m.pts = unit.pts;
         m.consumed = 2;
         say(m);
     }},
};

} // namespace

int main()
{
    std::vector<char> open(ipc::kMaxRequest);
    const ssize_t size = ::recv(ipc::kSocketFd, open.data(), open.size(), 0);
    if (size < static_cast<ssize_t>(sizeof(ipc::Open)))
        return 4;
    const auto behaviour = kBehaviours.find(std::string(open.data() + sizeof(ipc::Open), open.data() + size));
    if (behaviour == kBehaviours.end())
        return 5;
    hear(true);
    behaviour->second();
    for (;;) // whether this is left running is part of the test
        ::pause();
}
