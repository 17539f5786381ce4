// SPDX-License-Identifier: LGPL-2.1-or-later
#include "overlay/present/wayland/transport.h"

#include "compositor.h"
#include "frames.h"
#include "overlay/present/wayland/linux_dmabuf.h"
#include "overlay/present/wayland/video_buffer.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/sysmacros.h>

#include <array>

namespace spice_overlay {
namespace {

constexpr std::uint64_t kTiled = 0x0100000000000001;
const dev_t kGpu = makedev(226, 128);

using Table = std::vector<FormatSet::Entry>;
const Table kLinear{{kFourccYu12, kModifierLinear}, {kFourccXrgb8888, kModifierLinear}, {kFourccYu12, kTiled}};

// ---- where dmabufs may be used

DmabufFeedback feedback(bool with_device)
{
    DmabufFeedback said;
    said.has_device = with_device;
    said.main_device = with_device ? kGpu : 0;
    said.formats.add(kFourccYu12, kModifierLinear);
    return said;
}

std::string verdict(const DmabufFeedback &said, DmabufUse use, const Result<DrmDevice> &device)
{
    const Status status = judge_dmabufs(said, use, [&](dev_t number) {
        EXPECT_EQ(number, said.main_device);
        return device;
    });
    return status ? "" : status.error().message;
}

void expect_refused(const std::string &verdict, const char *why)
{
    EXPECT_NE(verdict.find(why), std::string::npos) << "'" << verdict << "' does not say: " << why;
}

TEST(Judgement, dmabufs_go_to_a_gpu_that_is_named_and_to_nothing_else_by_itself)
{
    const Result<DrmDevice> gpu(DrmDevice{"i915", true});
    EXPECT_EQ(verdict(feedback(true), DmabufUse::kAutomatic, gpu), "");
    expect_refused(verdict({}, DmabufUse::kAutomatic, gpu), "takes no dmabufs");
    expect_refused(verdict(feedback(false), DmabufUse::kAutomatic, gpu), "names no GPU");
    expect_refused(verdict(feedback(true), DmabufUse::kAutomatic, DrmDevice{"simpledrm", false}),
                   "simpledrm) is a display");
    expect_refused(verdict(feedback(true), DmabufUse::kAutomatic, Error{"no such device"}), "no such device");
    expect_refused(verdict(feedback(true), DmabufUse::kAutomatic, DrmDevice{"vgem", true}), "vgem: it has no GPU");
    expect_refused(verdict(feedback(true), DmabufUse::kAutomatic, DrmDevice{"virtio_gpu", true}), "virtio_gpu");
}

TEST(Judgement, environment_overrules_what_is_known_but_not_what_is_offered)
{
    const Result<DrmDevice> vgem(DrmDevice{"vgem", true});
    EXPECT_EQ(verdict(feedback(true), DmabufUse::kAlways, vgem), "");
    EXPECT_EQ(verdict(feedback(false), DmabufUse::kAlways, vgem), "");
    expect_refused(verdict({}, DmabufUse::kAlways, vgem), "takes no dmabufs");
    expect_refused(verdict(feedback(true), DmabufUse::kNever, DrmDevice{"i915", true}), "forbids");

    EXPECT_EQ(dmabuf_use_from(nullptr).value(), DmabufUse::kAutomatic);
    EXPECT_EQ(dmabuf_use_from("").value(), DmabufUse::kAutomatic);
    EXPECT_EQ(dmabuf_use_from("always").value(), DmabufUse::kAlways);
    EXPECT_EQ(dmabuf_use_from("never").value(), DmabufUse::kNever);
    EXPECT_FALSE(dmabuf_use_from("yes"));
}

// ---- what compositors say, and what is given to them

class Presenting : public testing::Test {
protected:
    /// What nobody waits for any more stays until it is answered.
    void TearDown() override
    {
        if (!connection)
            return;
        compositor->exchange();
        for (std::size_t i = 0; i < compositor->requests.size(); ++i)
            compositor->refuse(i);
        compositor->exchange();
    }
    void connect(Compositor::Offer offer, DmabufUse use = DmabufUse::kAlways)
    {
        compositor = std::make_unique<Compositor>(std::move(offer));
        compositor->send_feedback(kGpu, table, tranches);
        auto made = compositor->serving([&] { return WaylandConnection::connect(compositor->display, use); });
        ASSERT_TRUE(made) << made.error().message;
        connection = std::move(*made);
    }
    /// Feedback with everything of kLinear, and YU12 in wl_shm.
    void connect_with_all()
    {
        table = kLinear;
        tranches = {{{0, 1, 2}}};
        connect({4, {kFourccYu12}, {}});
    }

    std::shared_ptr<VideoBuffer> give(FrameBuffer buffer)
    {
        auto made = VideoBuffer::create(*connection, std::move(buffer), [this](bool refused) {
            ++settled;
            refusals += refused ? 1 : 0;
        });
        EXPECT_TRUE(made);
        compositor->exchange();
        return made ? std::move(*made) : nullptr;
    }

    Table table;
    std::vector<Compositor::Tranche> tranches;
    std::unique_ptr<Compositor> compositor;
    std::unique_ptr<WaylandConnection> connection;
    unsigned settled = 0;
    unsigned refusals = 0;
};

TEST_F(Presenting, version_3_tells_modifiers_and_no_device)
{
    FormatSet formats;
    formats.add(kFourccNv12, kModifierLinear);
    formats.add(kFourccNv12, kTiled);
    connect({3, {}, formats});
    ASSERT_TRUE(connection->linux_dmabuf());
    EXPECT_EQ(connection->linux_dmabuf()->feedback().formats.entries(), formats.entries());
    EXPECT_FALSE(connection->linux_dmabuf()->feedback().has_device);
}

TEST_F(Presenting, versions_without_modifiers_leave_the_layout_to_the_driver)
{
    FormatSet formats;
    formats.add(kFourccNv12, kModifierInvalid);
    connect({1, {}, formats});
    EXPECT_EQ(connection->linux_dmabuf()->feedback().formats.entries(), formats.entries());
    EXPECT_TRUE(connection->transport().offer().dmabuf_fourccs.empty()) << "nobody knows how it lies in memory";
}

TEST_F(Presenting, feedback_tells_device_tranches_and_scanout)
{
    table = kLinear;
    tranches = {{{2}, true, kGpu}, {{0, 1}, false, kGpu}};
    connect({4, {}, {}});
    const DmabufFeedback &said = connection->linux_dmabuf()->feedback();
    EXPECT_TRUE(said.has_device);
    EXPECT_EQ(said.main_device, kGpu);
    ASSERT_EQ(said.tranches.size(), 2u);
    EXPECT_TRUE(said.tranches[0].scanout);
    EXPECT_EQ(said.tranches[0].formats.entries(), (Table{kLinear[2]}));
    EXPECT_FALSE(said.tranches[1].scanout);
    EXPECT_EQ(said.formats.entries().size(), 3u);
}

TEST_F(Presenting, feedback_that_changes_replaces_what_was_said)
{
    connect_with_all();
    EXPECT_EQ(connection->transport().offer().dmabuf_fourccs,
              (std::vector<std::uint32_t>{kFourccYu12, kFourccXrgb8888}));
    compositor->send_feedback(makedev(226, 129), {{kFourccNv12, kModifierLinear}}, {{{0}}});
    compositor->exchange();
    EXPECT_EQ(connection->linux_dmabuf()->feedback().main_device, makedev(226, 129));
    EXPECT_EQ(connection->transport().offer().dmabuf_fourccs, (std::vector<std::uint32_t>{kFourccNv12}));
}

TEST_F(Presenting, feedback_that_contradicts_itself_offers_nothing)
{
    connect_with_all();
    compositor->send_feedback(kGpu, kLinear, {{{0}}, {{3}}}); // the table has three
    compositor->exchange();
    EXPECT_TRUE(connection->linux_dmabuf()->feedback().formats.empty());
    compositor->send_feedback(kGpu, kLinear, {{{0}}});
    compositor->exchange();
    EXPECT_EQ(connection->linux_dmabuf()->feedback().formats.entries().size(), 1u) << "the next is heard again";
}

TEST_F(Presenting, formats_go_by_dmabuf_or_shm_best_first_and_xrgb_always)
{
    table = {{kFourccNv12, kModifierLinear}, {kFourccYu12, kTiled}};
    tranches = {{{0, 1}}};
    connect({4, {kFourccYu12}, {}});
    const Transport::Offer offer = connection->transport().offer();
    EXPECT_EQ(offer.fourccs, (std::vector<std::uint32_t>{kFourccYu12, kFourccNv12, kFourccXrgb8888}));
    EXPECT_EQ(offer.dmabuf_fourccs, (std::vector<std::uint32_t>{kFourccNv12})) << "tiled YU12 is none that we make";
    EXPECT_EQ(offer.allocator, Allocator::kStandIn);
}

// ---- GPUs that decode

TEST(Hardware, environment_says_whether_and_which)
{
    EXPECT_EQ(hardware_settings_from(nullptr, nullptr).value().use, ipc::HardwareUse::kAutomatic);
    EXPECT_EQ(hardware_settings_from("never", nullptr).value().use, ipc::HardwareUse::kNever);
    EXPECT_EQ(hardware_settings_from("always", "/dev/dri/renderD129").value().use, ipc::HardwareUse::kAlways);
    EXPECT_EQ(hardware_settings_from("", "/dev/dri/renderD129").value().render_node, "/dev/dri/renderD129");
    EXPECT_FALSE(hardware_settings_from("yes", nullptr));
}

TEST_F(Presenting, gpu_may_decode_into_what_the_compositor_takes_whatever_its_layout)
{
    table = {{kFourccNv12, kTiled},
             {kFourccYu12, kModifierLinear},
             {kFourccP010, kModifierLinear},
             {kFourccXrgb8888, kTiled}};
    tranches = {{{0, 1, 2, 3}}};
    connect({4, {}, {}});
    Transport &transport = connection->transport();
    transport.set_hardware({ipc::HardwareUse::kAutomatic, "/dev/null"});
    const Transport::Hardware given = transport.hardware(wire::Codec::kH264);
    EXPECT_EQ(given.use, ipc::HardwareUse::kAutomatic);
    EXPECT_GE(given.render_node, 0);
    EXPECT_EQ(given.surfaces.entries(),
              (Table{{kFourccNv12, kTiled}, {kFourccP010, kModifierLinear}, {kFourccXrgb8888, kTiled}}));
    EXPECT_EQ(given.why_not, "");

    EXPECT_TRUE(transport.refuse(kFourccNv12, kTiled));
    EXPECT_FALSE(transport.refuse(kFourccNv12, kTiled)) << "said once";
    EXPECT_EQ(transport.hardware(wire::Codec::kH264).surfaces.entries(),
              (Table{{kFourccP010, kModifierLinear}, {kFourccXrgb8888, kTiled}}));
}

TEST_F(Presenting, gpu_that_has_failed_at_a_codec_is_not_given_to_it_again)
{
    table = {{kFourccNv12, kModifierLinear}};
    tranches = {{{0}}};
    connect({4, {}, {}});
    Transport &transport = connection->transport();
    transport.set_hardware({ipc::HardwareUse::kAutomatic, "/dev/null"});
    transport.refuse_hardware(wire::Codec::kVp9, "it hangs");
    const Transport::Hardware none = transport.hardware(wire::Codec::kVp9);
    EXPECT_EQ(none.use, ipc::HardwareUse::kNever);
    EXPECT_EQ(none.render_node, -1);
    expect_refused(none.why_not, "it hangs");
    EXPECT_EQ(transport.hardware(wire::Codec::kH264).use, ipc::HardwareUse::kAutomatic);
}

TEST_F(Presenting, gpu_is_left_alone_for_reasons_that_people_can_do_something_about)
{
    const auto why_not = [&](const HardwareSettings &settings) {
        connection->transport().set_hardware(settings);
        return connection->transport().hardware(wire::Codec::kH264).why_not;
    };
    table = {{kFourccYu12, kModifierLinear}};
    tranches = {{{0}}};
    connect({4, {}, {}});
    expect_refused(why_not({ipc::HardwareUse::kNever, {}}), "SPICE_OVERLAY_HARDWARE forbids it");
    expect_refused(why_not({ipc::HardwareUse::kAutomatic, "/dev/null"}), "neither NV12 nor P010 nor XRGB");
    table = {{kFourccNv12, kModifierLinear}};
    tranches = {{{0}}};
    connection.reset();
    connect({4, {}, {}});
    expect_refused(why_not({ipc::HardwareUse::kAutomatic, "/nonexistent"}), "/nonexistent cannot be opened");
    connection.reset();
    connect({4, {}, {}}, DmabufUse::kNever);
    expect_refused(why_not({ipc::HardwareUse::kAutomatic, "/dev/null"}), "SPICE_OVERLAY_DMABUF forbids it");
}

TEST_F(Presenting, nothing_changes_where_there_is_no_linux_dmabuf)
{
    connect({0, {kFourccYu12}, {}}, DmabufUse::kAutomatic);
    EXPECT_FALSE(connection->linux_dmabuf());
    const Transport::Offer offer = connection->transport().offer();
    EXPECT_EQ(offer.fourccs, (std::vector<std::uint32_t>{kFourccYu12, kFourccXrgb8888}));
    EXPECT_TRUE(offer.dmabuf_fourccs.empty());
    EXPECT_EQ(offer.allocator, Allocator::kNone);
    expect_refused(connection->transport().why_not(), "takes no dmabufs");
    auto buffer = give(test_frame());
    EXPECT_TRUE(buffer->ready());
    EXPECT_EQ(buffer->transport(), "wl_shm/YU12");
}

TEST_F(Presenting, dmabuf_is_asked_for_whole_and_used_when_it_has_been_made)
{
    connect_with_all();
    static_cast<void>(connection->transport().offer());
    auto buffer = give(test_frame());
    EXPECT_TRUE(buffer->pending());
    EXPECT_FALSE(buffer->ready());
    ASSERT_EQ(compositor->requests.size(), 1u);
    const Compositor::Request &request = *compositor->requests[0];
    EXPECT_EQ(request.fourcc, kFourccYu12);
    EXPECT_EQ(request.width, 64);
    EXPECT_EQ(request.height, 32);
    EXPECT_EQ(request.modifier, kModifierLinear);
    using Plane = std::pair<std::uint32_t, std::uint32_t>;
    EXPECT_EQ(request.planes, (std::vector<Plane>{{0, 64}, {2048, 32}, {2560, 32}}));

    compositor->accept(0);
    compositor->exchange();
    EXPECT_TRUE(buffer->ready());
    EXPECT_EQ(buffer->transport(), "linux-dmabuf/YU12");
    EXPECT_EQ(settled, 1u);
    EXPECT_EQ(refusals, 0u);
    EXPECT_EQ(compositor->shm_buffers, 0u);
    EXPECT_EQ(compositor->immediate, 0u) << "a refused create_immed may end the connection";
    EXPECT_EQ(request.params, nullptr) << "params are left behind";
    EXPECT_TRUE(connection->transport().why_not().empty());
    buffer.reset();
    compositor->exchange();
    EXPECT_EQ(compositor->dmabuf_buffers, 0u);
}

TEST_F(Presenting, refused_dmabuf_goes_by_shm_at_once_and_its_format_from_then_on)
{
    connect_with_all();
    static_cast<void>(connection->transport().offer());
    auto first = give(test_frame());
    auto second = give(test_frame());
    compositor->refuse(0);
    compositor->exchange();
    EXPECT_TRUE(first->ready());
    EXPECT_EQ(first->transport(), "wl_shm/YU12");
    EXPECT_TRUE(second->pending()) << "was asked for before";
    compositor->accept(1);
    compositor->exchange();
    EXPECT_EQ(second->transport(), "linux-dmabuf/YU12");
    EXPECT_EQ(settled, 2u);
    EXPECT_EQ(refusals, 1u) << "said once";

    auto third = give(test_frame());
    EXPECT_TRUE(third->ready()) << "no flapping";
    EXPECT_EQ(compositor->requests.size(), 2u);
    EXPECT_EQ(connection->transport().offer().dmabuf_fourccs, (std::vector<std::uint32_t>{kFourccXrgb8888}));
    expect_refused(connection->transport().why_not(), "refused one in YU12");
    EXPECT_TRUE(give(test_frame(kFourccXrgb8888))->pending()) << "another format";
}

TEST_F(Presenting, refusals_are_said_once_however_many_there_are)
{
    connect_with_all();
    static_cast<void>(connection->transport().offer());
    const std::array buffers{give(test_frame()), give(test_frame()), give(test_frame())};
    for (std::size_t i = 0; i < buffers.size(); ++i)
        compositor->refuse(i);
    compositor->exchange();
    EXPECT_EQ(refusals, 1u);
    EXPECT_EQ(settled, 3u);
}

TEST_F(Presenting, refused_dmabuf_without_shared_memory_is_lost_and_says_so)
{
    connect_with_all();
    static_cast<void>(connection->transport().offer());
    auto buffer = give(test_frame(kFourccYu12, false)); // as a dma-heap makes them
    compositor->refuse(0);
    compositor->exchange();
    EXPECT_FALSE(buffer->pending());
    EXPECT_FALSE(buffer->ready());
    EXPECT_EQ(settled, 1u);
}

TEST_F(Presenting, other_feedback_forgets_refusals)
{
    connect_with_all();
    static_cast<void>(connection->transport().offer());
    auto buffer = give(test_frame());
    compositor->refuse(0);
    compositor->exchange();
    compositor->send_feedback(makedev(226, 129), kLinear, {{{0}}});
    compositor->exchange();
    EXPECT_EQ(connection->transport().offer().dmabuf_fourccs, (std::vector<std::uint32_t>{kFourccYu12}));
}

TEST_F(Presenting, answer_for_a_buffer_that_is_gone_harms_nothing)
{
    connect_with_all();
    static_cast<void>(connection->transport().offer());
    auto buffer = give(test_frame());
    compositor->accept(0); // on its way when the stream ends
    buffer.reset();
    compositor->exchange();
    EXPECT_EQ(settled, 0u);
    EXPECT_EQ(wl_display_get_error(compositor->display), 0);
    EXPECT_EQ(compositor->dmabuf_buffers, 0u) << "the compositor keeps what nobody has";

    auto refused = give(test_frame());
    compositor->refuse(1);
    refused.reset();
    compositor->exchange();
    EXPECT_EQ(settled, 0u);

    auto next = give(test_frame()); // whose number at the compositor follows that of the one that nobody wanted
    compositor->accept(2);
    compositor->exchange();
    EXPECT_EQ(wl_display_get_error(compositor->display), 0);
    EXPECT_TRUE(next->ready());
    EXPECT_EQ(settled, 1u);
}

} // namespace
} // namespace spice_overlay
