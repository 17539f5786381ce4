// SPDX-License-Identifier: LGPL-2.1-or-later
// A double of Rockchip's MPP: what FFmpeg's rkmpp decoders call, decoding in software on a thread of its own into memory that stands for the
// device's. As with the real one, units are queued, it decodes ahead as long as one of the group's buffers is free, and pictures are asked
// for with a wait that ends.
#include "tests/mpp/rockchip/rk_mpi.h"

#include "dmabuf/allocator.h"
#include "dmabuf/formats.h"
#include "portclient/base/unique_fd.h"
#include "tests/vadriver/fault.h"
#include "tests/vadriver/interleave.h"

extern "C" {
#include <libavcodec/avcodec.h>
}

#include <fcntl.h>
#include <sys/ioctl.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdarg>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

using namespace spice_overlay;

namespace {

/// What goes wrong on purpose (Fault): the environment variable mpp_test_fault.
constexpr const char *kFaults[] = {
    "support", ///< the device does not know the codec
    "init",    ///< it cannot be opened
    "black",   ///< pictures come out black
    "stride",  ///< lines are said to be longer than they are
    "beyond",  ///< lines are said to end outside their memory
    "memory",  ///< pictures are said to lie where nothing is decoded into
    "error",   ///< asking for a picture fails
    "errinfo", ///< pictures are said to be damaged
    "hang",    ///< asking for a picture never returns
    "stall",   ///< nothing is decoded any more
    "crash",   ///< the process ends
    "slow",    ///< some pictures take longer than anybody waits for them at once
};
constexpr std::chrono::milliseconds kSlow{350};
constexpr unsigned kSlowPictures = 6;

constexpr std::size_t kUnits = 4;            ///< that wait in the device
constexpr std::size_t kReferences = 9;       ///< of the newest pictures, which the device goes on reading
constexpr std::uint32_t kLineAlignment = 64; ///< pixels
constexpr std::uint32_t kHeightAlignment = 16;

/// As the real one does, of everything that is worth a line.
__attribute__((format(printf, 1, 2))) void log_text(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    ::vsyslog(LOG_INFO, format, arguments);
    va_end(arguments);
}
/// An ioctl of the device's: each picture takes some.
constexpr unsigned long kIoctl = _IOW('v', 1, unsigned);

std::uint32_t aligned(std::uint32_t value, std::uint32_t to)
{
    return (value + to - 1) / to * to;
}

AVCodecID codec_of(MppCodingType coding)
{
    switch (coding) {
    case MPP_VIDEO_CodingAVC:
        return AV_CODEC_ID_H264;
    case MPP_VIDEO_CodingHEVC:
        return AV_CODEC_ID_HEVC;
    case MPP_VIDEO_CodingVP8:
        return AV_CODEC_ID_VP8;
    case MPP_VIDEO_CodingVP9:
        return AV_CODEC_ID_VP9;
    case MPP_VIDEO_CodingUnused:
        break;
    }
    return AV_CODEC_ID_NONE;
}

struct FreeContext {
    void operator()(AVCodecContext *context) const { avcodec_free_context(&context); }
};
struct FreeFrame {
    void operator()(AVFrame *frame) const { av_frame_free(&frame); }
};
struct FreePacket {
    void operator()(AVPacket *packet) const { av_packet_free(&packet); }
};

} // namespace

struct MppBufferOfTests {
    explicit MppBufferOfTests(FrameMemory frame) : memory(std::move(frame)) {}
    FrameMemory memory;
};
using Buffer = std::shared_ptr<MppBufferOfTests>;

/// Buffers of one size; those that nobody else holds may be decoded into.
struct MppGroupOfTests {
    std::mutex mutex;
    std::size_t limit = 0;
    std::size_t size = 0; ///< bytes of each
    std::vector<Buffer> buffers;

    /// Null: all are in use.
    Buffer take(std::size_t bytes)
    {
        const std::lock_guard lock(mutex);
        if (std::exchange(size, bytes) != bytes)
            std::erase_if(buffers, [](const Buffer &b) { return b.use_count() == 1; });
        for (const Buffer &buffer : buffers)
            if (buffer.use_count() == 1 && buffer->memory.pixels.size() >= bytes)
                return buffer;
        std::erase_if(buffers, [&](const Buffer &b) { return b.use_count() == 1 && b->memory.pixels.size() < bytes; });
        if (buffers.size() >= limit)
            return nullptr;
        auto memory = allocate_frame(Allocator::kStandIn, -1, "spice-overlay-frame-mp", whole_pages(bytes));
        if (!memory)
            return nullptr;
        buffers.push_back(std::make_shared<MppBufferOfTests>(std::move(*memory)));
        return buffers.back();
    }
};

struct MppPacketOfTests {
    std::vector<std::uint8_t> data;
    RK_S64 pts = 0;
    bool end = false;
};

struct MppFrameOfTests {
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::uint32_t line = 0;  ///< bytes
    std::uint32_t lines = 0; ///< of luma
    RK_S64 pts = 0;
    int range = 0;
    int primaries = 0;
    int transfer = 0;
    int matrix = 0;
    bool info_change = false;
    bool damaged = false;
    bool end = false;
    Buffer buffer;
};

/// The device. All but the group's own is guarded by the mutex; the codec belongs to the thread, which is stopped while others touch it.
struct MppContextOfTests {
    explicit MppContextOfTests() : fault(Fault::from_environment("mpp_test_fault", kFaults)) {}
    ~MppContextOfTests() { stop(); }
    MppContextOfTests(const MppContextOfTests &) = delete;
    MppContextOfTests &operator=(const MppContextOfTests &) = delete;

    bool open(AVCodecID id)
    {
        codec.reset(avcodec_alloc_context3(avcodec_find_decoder(id)));
        if (!codec || fault.is("init"))
            return false;
        codec->thread_count = 1;
        if (avcodec_open2(codec.get(), nullptr, nullptr) < 0)
            return false;
        start();
        return true;
    }

    void start()
    {
        ending = false;
        thread = std::thread([this] { run(); });
    }
    void stop()
    {
        {
            const std::lock_guard lock(mutex);
            ending = true;
        }
        changed.notify_all();
        if (thread.joinable())
            thread.join();
    }
    /// The thread goes on: in the sandbox another might not begin.
    void reset()
    {
        if (!thread.joinable())
            return; // it was never opened
        std::unique_lock lock(mutex);
        resetting = true;
        changed.notify_all();
        changed.wait(lock, [this] { return !resetting; });
    }

    void run()
    {
        std::unique_lock lock(mutex);
        while (!ending) {
            if (resetting) {
                units.clear();
                frames.clear();
                references.clear();
                avcodec_flush_buffers(codec.get());
                resetting = false;
                changed.notify_all();
                continue;
            }
            if (units.empty() || fault.is("stall")) {
                changed.wait(lock);
                continue;
            }
            const MppPacketOfTests unit = std::move(units.front());
            units.pop_front();
            changed.notify_all();
            lock.unlock();
            decode(unit);
            lock.lock();
        }
    }

    [[nodiscard]] bool interrupted() const { return ending || resetting; }

    void decode(const MppPacketOfTests &unit)
    {
        const std::unique_ptr<AVPacket, FreePacket> packet(av_packet_alloc());
        if (!unit.end) {
            if (av_new_packet(packet.get(), static_cast<int>(unit.data.size())) < 0)
                return;
            std::memcpy(packet->data, unit.data.data(), unit.data.size());
            packet->pts = unit.pts;
        }
        const std::unique_ptr<AVFrame, FreeFrame> frame(av_frame_alloc());
        avcodec_send_packet(codec.get(), unit.end ? nullptr : packet.get());
        while (avcodec_receive_frame(codec.get(), frame.get()) >= 0)
            if (!give_out(*frame))
                return;
        if (unit.end) {
            MppFrameOfTests last;
            last.end = true;
            put(std::move(last));
        }
    }

    void put(MppFrameOfTests frame)
    {
        {
            const std::lock_guard lock(mutex);
            frames.push_back(std::move(frame));
        }
        changed.notify_all();
    }

    /// False: it is no longer wanted.
    bool give_out(const AVFrame &picture)
    {
        MppFrameOfTests out;
        out.width = static_cast<std::uint32_t>(picture.width);
        out.height = static_cast<std::uint32_t>(picture.height);
        out.line = aligned(out.width, kLineAlignment);
        out.lines = aligned(out.height, kHeightAlignment);
        out.pts = picture.pts;
        out.range = picture.color_range;
        out.primaries = picture.color_primaries;
        out.transfer = picture.color_trc;
        out.matrix = picture.colorspace;
        if (out.width != width || out.height != height) {
            width = out.width;
            height = out.height;
            log_text("mpp_test: pictures of %ux%u from here on", width, height);
            MppFrameOfTests change = out;
            change.info_change = true;
            {
                const std::lock_guard lock(mutex);
                references.clear();
                waits_for_size = true;
            }
            put(std::move(change));
            std::unique_lock lock(mutex);
            changed.wait(lock, [this] { return !waits_for_size || interrupted(); });
            waits_for_size = false;
        }
        // Larger than it need be, as the real one's, which lays other things behind the picture.
        const std::size_t size = std::size_t{out.line + kLineAlignment} * out.lines * 3 / 2;
        out.buffer = free_buffer(size);
        if (!out.buffer)
            return false;
        ::ioctl(device.get(), kIoctl, nullptr);
        if (fault.is("slow") && slow_pictures < kSlowPictures) {
            ++slow_pictures;
            std::this_thread::sleep_for(kSlow);
        }
        fill(out, picture);
        put(std::move(out));
        return true;
    }

    /// Waits until one is given back: nobody says when. Null: no more is wanted.
    Buffer free_buffer(std::size_t size)
    {
        std::unique_lock lock(mutex);
        while (!interrupted()) {
            if (Buffer buffer = group->take(size)) {
                references.push_back(buffer);
                if (references.size() > kReferences)
                    references.pop_front();
                return buffer;
            }
            changed.wait_for(lock, std::chrono::milliseconds(1));
        }
        return nullptr;
    }

    void fill(MppFrameOfTests &out, const AVFrame &picture)
    {
        std::uint8_t *luma = out.buffer->memory.pixels.data();
        std::uint8_t *chroma = luma + std::size_t{out.line} * out.lines;
        const std::lock_guard lock(mutex);
        if (fault.is("crash"))
            std::abort();
        if (fault.is("black")) {
            std::memset(luma, 0, std::size_t{out.line} * out.lines);
            std::memset(chroma, 0x80, std::size_t{out.line} * out.lines / 2);
        } else {
            interleave<std::uint8_t>(picture, luma, chroma, out.line, 0);
        }
        if (fault.is("stride"))
            out.line += kLineAlignment;
        if (fault.is("beyond"))
            out.line *= 4;
        if (fault.is("memory"))
            if (auto other =
                    allocate_frame(Allocator::kStandIn, -1, "spice-overlay-frame-no", out.buffer->memory.pixels.size()))
                out.buffer = std::make_shared<MppBufferOfTests>(std::move(*other));
        out.damaged = fault.is("errinfo");
        fault.picture_done();
    }

    std::mutex mutex;
    std::condition_variable changed;
    Fault fault;
    MppGroupOfTests *group = nullptr;
    std::chrono::milliseconds wait{0};
    std::deque<MppPacketOfTests> units;
    std::deque<MppFrameOfTests> frames;
    std::deque<Buffer> references;
    std::unique_ptr<AVCodecContext, FreeContext> codec;
    const UniqueFd device{::open("/dev/null", O_RDWR | O_CLOEXEC)};
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    unsigned slow_pictures = 0;
    bool waits_for_size = false;
    bool resetting = false;
    bool ending = false;
    std::thread thread;
};

namespace {

MPP_RET put_packet(MppCtx context, MppPacket packet)
{
    {
        const std::lock_guard lock(context->mutex);
        if (!packet->end && context->units.size() >= kUnits)
            return MPP_ERR_BUFFER_FULL;
        context->units.push_back(*packet);
    }
    context->changed.notify_all();
    return MPP_OK;
}

MPP_RET get_frame(MppCtx context, MppFrame *frame)
{
    *frame = nullptr;
    std::unique_lock lock(context->mutex);
    if (context->fault.is("hang"))
        context->changed.wait(lock, [] { return false; });
    if (context->fault.is("error"))
        return MPP_NOK;
    if (!context->changed.wait_for(lock, context->wait, [&] { return !context->frames.empty(); }))
        return MPP_ERR_TIMEOUT;
    *frame = new MppFrameOfTests(std::move(context->frames.front()));
    context->frames.pop_front();
    return MPP_OK;
}

MPP_RET reset(MppCtx context)
{
    context->reset();
    return MPP_OK;
}

MPP_RET control(MppCtx context, MpiCmd command, MppParam parameter)
{
    {
        const std::lock_guard lock(context->mutex);
        switch (command) {
        case MPP_SET_OUTPUT_BLOCK:
            break;
        case MPP_SET_OUTPUT_BLOCK_TIMEOUT:
            context->wait = std::chrono::milliseconds(*static_cast<RK_S64 *>(parameter));
            break;
        case MPP_DEC_SET_EXT_BUF_GROUP:
            context->group = static_cast<MppBufferGroup>(parameter);
            break;
        case MPP_DEC_SET_INFO_CHANGE_READY:
            context->waits_for_size = false;
            break;
        case MPP_DEC_GET_STREAM_COUNT:
            *static_cast<RK_S32 *>(parameter) = static_cast<RK_S32>(context->units.size());
            break;
        }
    }
    context->changed.notify_all();
    return MPP_OK;
}

MppApi api{put_packet, get_frame, reset, control};

} // namespace

extern "C" {

MPP_RET mpp_check_support_format(MppCtxType, MppCodingType coding)
{
    return Fault::from_environment("mpp_test_fault", kFaults).is("support") || codec_of(coding) == AV_CODEC_ID_NONE
               ? MPP_NOK
               : MPP_OK;
}

MPP_RET mpp_create(MppCtx *context, MppApi **functions)
{
    *context = new MppContextOfTests;
    *functions = &api;
    return MPP_OK;
}

MPP_RET mpp_init(MppCtx context, MppCtxType, MppCodingType coding)
{
    return context->open(codec_of(coding)) ? MPP_OK : MPP_NOK;
}

MPP_RET mpp_destroy(MppCtx context)
{
    delete context;
    return MPP_OK;
}

MPP_RET mpp_packet_init(MppPacket *packet, void *data, size_t size)
{
    const auto *bytes = static_cast<const std::uint8_t *>(data);
    *packet = new MppPacketOfTests{{bytes, bytes + size}, 0, false};
    return MPP_OK;
}

MPP_RET mpp_packet_deinit(MppPacket *packet)
{
    delete std::exchange(*packet, nullptr);
    return MPP_OK;
}

void mpp_packet_set_pts(MppPacket packet, RK_S64 pts)
{
    packet->pts = pts;
}

MPP_RET mpp_packet_set_eos(MppPacket packet)
{
    packet->end = true;
    return MPP_OK;
}

MPP_RET mpp_frame_deinit(MppFrame *frame)
{
    delete std::exchange(*frame, nullptr);
    return MPP_OK;
}

RK_U32 mpp_frame_get_width(MppFrame frame)
{
    return frame->width;
}

RK_U32 mpp_frame_get_height(MppFrame frame)
{
    return frame->height;
}

RK_U32 mpp_frame_get_hor_stride(MppFrame frame)
{
    return frame->line;
}

RK_U32 mpp_frame_get_ver_stride(MppFrame frame)
{
    return frame->lines;
}

RK_U32 mpp_frame_get_mode(MppFrame)
{
    return 0;
}

RK_U32 mpp_frame_get_discard(MppFrame)
{
    return 0;
}

RK_U32 mpp_frame_get_errinfo(MppFrame frame)
{
    return frame->damaged ? 1 : 0;
}

RK_U32 mpp_frame_get_eos(MppFrame frame)
{
    return frame->end ? 1 : 0;
}

RK_U32 mpp_frame_get_info_change(MppFrame frame)
{
    return frame->info_change ? 1 : 0;
}

RK_S64 mpp_frame_get_pts(MppFrame frame)
{
    return frame->pts;
}

MppFrameFormat mpp_frame_get_fmt(MppFrame)
{
    return MPP_FMT_YUV420SP;
}

int mpp_frame_get_color_range(MppFrame frame)
{
    return frame->range;
}

int mpp_frame_get_color_primaries(MppFrame frame)
{
    return frame->primaries;
}

int mpp_frame_get_color_trc(MppFrame frame)
{
    return frame->transfer;
}

int mpp_frame_get_colorspace(MppFrame frame)
{
    return frame->matrix;
}

MppBuffer mpp_frame_get_buffer(MppFrame frame)
{
    return frame->buffer.get();
}

int mpp_buffer_get_fd(MppBuffer buffer)
{
    return buffer->memory.dmabuf.get();
}

size_t mpp_buffer_get_size(MppBuffer buffer)
{
    return buffer->memory.pixels.size();
}

MPP_RET mpp_buffer_group_get_internal(MppBufferGroup *group, MppBufferType)
{
    *group = new MppGroupOfTests;
    return MPP_OK;
}

MPP_RET mpp_buffer_group_put(MppBufferGroup group)
{
    delete group;
    return MPP_OK;
}

MPP_RET mpp_buffer_group_limit_config(MppBufferGroup group, size_t, RK_S32 count)
{
    const std::lock_guard lock(group->mutex);
    group->limit = static_cast<std::size_t>(count);
    return MPP_OK;
}

} // extern "C"
