// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver.h"

#include "dmabuf/decoder/capabilities.h"
#include "dmabuf/decoder/child.h"
#include "dmabuf/decoder/ipc.h"
#include "dmabuf/formats.h"
#include "portclient/base/clock.h"

#include <gtest/gtest.h>

#include <poll.h>
#include <pthread.h>

#include <algorithm>
#include <csignal>
#include <functional>
#include <thread>

namespace spice_overlay {
namespace {

const std::string kProgram = FAKE_DECODER;
constexpr std::chrono::seconds kDeadline{10};

DecoderProcess::Config config(const std::string &behaviour)
{
    DecoderProcess::Config config = Driver::config(kProgram, wire::Codec::kH264, 64, 32);
    config.fourccs = {kFourccYu12, kFourccXrgb8888};
    config.told_colours = set_of(YuvColour::kBt601);
    config.stream.extradata.assign(behaviour.begin(), behaviour.end());
    return config;
}

const Driver::Unit kUnit{{1, 2, 3}, 1000, true};

struct Case {
    const char *behaviour;
    const char *why; ///< part of what is said
};

void PrintTo(const Case &c, std::ostream *out)
{
    *out << c.behaviour;
}

/// Whether nobody has to wait for the process any more, in time. `meanwhile` is called until then.
bool is_collected(
    pid_t pid, const std::function<void()> &meanwhile = [] {})
{
    const auto end = std::chrono::steady_clock::now() + kDeadline;
    while (::kill(pid, 0) == 0 && std::chrono::steady_clock::now() < end) {
        meanwhile();
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return ::kill(pid, 0) != 0;
}

class Hostile : public testing::TestWithParam<Case> {};

TEST_P(Hostile, reply_is_refused_once_and_the_process_ended)
{
    Driver driver(config(GetParam().behaviour));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.hold = true;
    driver.keep_pixels = false;
    const int pid = driver.decoder->pid();
    ASSERT_TRUE(driver.feed(kUnit));
    EXPECT_FALSE(driver.wait([] { return false; }, kDeadline));

    ASSERT_EQ(driver.failures, 1u) << "not refused";
    EXPECT_EQ(driver.reason, wire::Reason::kDecoderFailed);
    EXPECT_NE(driver.why.find(GetParam().why), std::string::npos) << driver.why;
    EXPECT_TRUE(is_collected(pid)) << "still running";

    // What the viewer may still do before it lets go of the object.
    driver.decoder->dispatch();
    EXPECT_TRUE(driver.decoder->send({}));
    driver.release_all();
    driver.decoder->flush(5);
    driver.decoder->drain();
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_EQ(driver.decoder->pid(), -1);
}

INSTANTIATE_TEST_SUITE_P(
    decoder, Hostile,
    testing::Values(
        Case{"other_version", "version 99"}, Case{"size_field_wrong", "wrong size"}, Case{"one_byte", "wrong size"},
        Case{"no_byte", "ended by itself"}, Case{"shorter_than_its_struct", "wrong size"},
        Case{"longer_than_any_message", "wrong size"}, Case{"unknown_kind", "unknown kind 77"},
        Case{"speaks_as_viewer", "unknown kind 3"}, Case{"descriptor_missing", "0 descriptors"},
        Case{"two_descriptors", "2 descriptors"}, Case{"many_descriptors", "wrong size"},
        Case{"descriptor_with_frame", "1 descriptors"}, Case{"slot_64", "slot 64"}, Case{"slot_huge", "does not exist"},
        Case{"format_not_offered", "not offered"}, Case{"format_unknown", "not offered"},
        Case{"width_zero", "impossible"}, Case{"height_zero", "impossible"}, Case{"width_odd", "impossible"},
        Case{"width_beyond_limit", "impossible"}, Case{"height_wraps_the_product", "impossible"},
        Case{"stride_below_width", "impossible"}, Case{"stride_odd", "impossible"}, Case{"stride_huge", "impossible"},
        Case{"stride_leads_outside", "too small"}, Case{"memory_below_picture", "too small"},
        Case{"memory_smaller_than_said", "4096 bytes where 8192"},
        Case{"memory_larger_than_said", "16384 bytes where 8192"}, Case{"memory_huge", "too large"},
        Case{"no_memory_at_all", "0 descriptors"},
        Case{"descriptors_wrap", "1 descriptors with a buffer of 4294967296"},
        Case{"chroma_lies_elsewhere", "plane 1 lies elsewhere"},
        Case{"chroma_has_a_stride_of_its_own", "plane 2 lies elsewhere"}, Case{"planes_too_few", "2 planes"},
        Case{"planes_too_many", "4294967295 planes"}, Case{"dmabuf_without_being_asked", "not asked for"},
        Case{"regular_file", "memfd"}, Case{"pipe", "not a memfd"}, Case{"socket", "not a memfd"},
        Case{"not_sealed", "not sealed"}, Case{"sealed_against_growing_alone", "not sealed"},
        Case{"seals_may_be_added", "not sealed"}, Case{"sealed_against_writing", "forbids mapping"},
        Case{"read_only", "reading and writing"}, Case{"too_much_memory", "1024 MiB"},
        Case{"too_much_memory_of_small_frames", "256 MiB"}, Case{"buffer_again_without_use", "never used"},
        Case{"buffer_for_held_slot", "still on show"}, Case{"frame_before_buffer", "without memory"},
        Case{"frame_in_other_slot", "without memory"}, Case{"frame_in_slot_64", "slot 64"},
        Case{"frame_in_held_slot", "still on show"}, Case{"crop_empty", "outside"}, Case{"crop_negative", "outside"},
        Case{"crop_outside", "outside"}, Case{"crop_wraps", "outside"}, Case{"epoch_of_the_future", "not begun"},
        Case{"time_of_no_unit", "no access unit has"}, Case{"negative_decoding_time", "negative"},
        Case{"consumed_nothing", "says nothing"}, Case{"consumed_more_than_sent", "more access units"},
        Case{"frame_in_colours_not_asked_for", "colours that nobody asked for"},
        Case{"frame_in_unknown_colours", "colours that nobody asked for"},
        Case{"rgb_frame_in_colours_of_yuv", "colours of YUV"},
        Case{"frame_consumed_more_than_sent", "more access units"}, Case{"more_frames_than_units", "more frames"},
        Case{"talks_without_end", "more to say"}, Case{"changes_its_path_without_end", "more changes of path"},
        Case{"is_ready_twice", "ready a second time"}, Case{"log_of_a_wrong_size", "wrong size"},
        Case{"fails_for_no_reason", "reason 0"}, Case{"fails_for_a_strange_reason", "reason 2"},
        Case{"exits", "exited with status 7"}, Case{"crashes", "killed by SIGSEGV"},
        Case{"hangs_up_and_stays", "killed by SIGKILL"}),
    [](const auto &test) { return test.param.behaviour; });

/// Replies with dmabufs, to a viewer that asked for them.
class HostileDmabuf : public testing::TestWithParam<Case> {
protected:
    static Driver start(const char *behaviour, Allocator allocator)
    {
        DecoderProcess::Config asking = config(behaviour);
        asking.allocator = allocator;
        asking.dmabuf_fourccs = {kFourccYu12};
        return Driver(asking);
    }
};

TEST_P(HostileDmabuf, reply_is_refused_and_the_process_ended)
{
    // The stand-in takes any memory for a dmabuf, and nothing else more lightly.
    Driver driver =
        start(GetParam().behaviour,
              std::string(GetParam().behaviour) == "memfd_as_dmabuf" ? Allocator::kUdmabuf : Allocator::kStandIn);
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed(kUnit));
    EXPECT_FALSE(driver.wait([] { return false; }, kDeadline));
    ASSERT_EQ(driver.failures, 1u) << "not refused";
    EXPECT_NE(driver.why.find(GetParam().why), std::string::npos) << driver.why;
}

INSTANTIATE_TEST_SUITE_P(decoder, HostileDmabuf,
                         testing::Values(Case{"dmabuf_missing", "1 descriptors with a buffer of 2"},
                                         Case{"dmabufs_more_than_said", "3 descriptors with a buffer of 2"},
                                         Case{"dmabufs_more_than_planes", "no plane lies in"},
                                         Case{"memfd_as_dmabuf", "not a dmabuf"},
                                         Case{"dmabuf_smaller_than_its_picture", "outside its memory of 1024"},
                                         Case{"dmabuf_alone_smaller_than_its_picture", "outside its memory of 1024"},
                                         Case{"dmabuf_alone_huge", "too large"},
                                         Case{"dmabuf_of_a_tiled_modifier", "a modifier that was not asked for"},
                                         Case{"dmabuf_alone_of_a_format_without_being_asked", "not asked for"},
                                         Case{"dmabuf_of_a_format_without_being_asked", "not asked for"},
                                         Case{"too_many_descriptors", "more than 64 descriptors"},
                                         Case{"plane_in_a_dmabuf_that_is_not_there", "not there"}),
                         [](const auto &test) { return test.param.behaviour; });

TEST(DecoderProcess, text_of_a_failure_reaches_no_terminal_unfiltered)
{
    Driver driver(config("fails_well"));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed(kUnit));
    EXPECT_FALSE(driver.wait([] { return false; }, kDeadline));
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_EQ(driver.reason, wire::Reason::kUnsupportedProfile);
    EXPECT_EQ(driver.why, "no?such?[31m thing");
}

TEST(DecoderProcess, failure_without_a_word_is_told_in_words)
{
    Driver driver(config("fails_without_a_word"));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed(kUnit));
    EXPECT_FALSE(driver.wait([] { return false; }, kDeadline));
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_EQ(driver.why, "the decoder process does not say why");
}

TEST(DecoderProcess, frame_of_an_old_epoch_is_dropped_and_its_slot_goes_back)
{
    Driver driver(config("frames_of_an_old_epoch"));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.keep_pixels = false;
    ASSERT_TRUE(driver.feed(kUnit));
    ASSERT_TRUE(driver.wait([&] { return driver.buffers == 2; }, kDeadline));
    driver.decoder->flush(1);
    driver.epoch = 1;
    // The fake sends the stale frame; it answers the next unit only if its slot comes back with it.
    ASSERT_FALSE(driver.wait([&] { return !driver.pictures.empty(); }, std::chrono::milliseconds(100)))
        << "stale frame was shown";
    ASSERT_TRUE(driver.feed({{4}, 2000, true}));
    ASSERT_TRUE(driver.wait([&] { return !driver.pictures.empty(); }, kDeadline)) << driver.why;
    EXPECT_EQ(driver.pictures.size(), 1u);
    EXPECT_EQ(driver.pictures[0].frame.epoch, 1u);
    EXPECT_EQ(driver.pictures[0].frame.slot, 1u);
    EXPECT_EQ(driver.units_consumed, 2u);
}

TEST(DecoderProcess, send_refuses_instead_of_blocking_when_the_decoder_does_not_read)
{
    Driver driver(config("deaf"));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.window = 1000000;
    std::size_t sent = 0;
    while (driver.feed(kUnit) && sent < 10000)
        ++sent;
    EXPECT_GE(sent, 32u) << "no room for a quarter second of video";
    EXPECT_LT(sent, 10000u);
    driver.decoder->flush(1); // kept for later, not blocking
    driver.decoder->dispatch();
    EXPECT_EQ(driver.failures, 0u);
}

TEST(DecoderProcess, frames_beyond_what_all_streams_may_have_end_the_stream_that_asks)
{
    FrameBudget budget{4 * 8192}; // each stream of these has three frames
    DecoderProcess::Config sharing = config("three_frames_and_silence");
    sharing.budget = &budget;
    const auto begin = [&](Driver &driver) {
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        driver.hold = true;
        driver.keep_pixels = false;
        ASSERT_TRUE(driver.feed(kUnit));
    };
    auto first = std::make_unique<Driver>(sharing);
    begin(*first);
    ASSERT_TRUE(first->wait([&] { return first->held.size() == 3; }, kDeadline)) << first->why;
    {
        Driver second(sharing);
        begin(second);
        EXPECT_FALSE(second.wait([&] { return second.held.size() == 3; }, kDeadline));
        EXPECT_EQ(second.reason, wire::Reason::kNoResources) << second.why;
    }
    EXPECT_EQ(first->failures, 0u);
    first.reset();
    EXPECT_EQ(budget.left, 4 * 8192);
    Driver third(sharing);
    begin(third);
    EXPECT_TRUE(third.wait([&] { return third.held.size() == 3; }, kDeadline)) << third.why;
}

TEST(DecoderProcess, silence_with_units_to_decode_ends_it_and_silence_without_does_not)
{
    Driver driver(config("deaf"));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    std::int64_t now = 1;
    EXPECT_LT(driver.decoder->watch(now), 0) << "an idle stream wakes the viewer up";
    EXPECT_LT(driver.decoder->watch(now += 10 * ipc::kSilence), 0);
    ASSERT_TRUE(driver.feed(kUnit));
    EXPECT_EQ(driver.decoder->watch(now), now + ipc::kSilenceAtStart);
    EXPECT_EQ(driver.decoder->watch(now + ipc::kSilenceAtStart - 1), now + ipc::kSilenceAtStart);
    EXPECT_EQ(driver.failures, 0u);
    EXPECT_LT(driver.decoder->watch(now + ipc::kSilenceAtStart), 0);
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_EQ(driver.reason, wire::Reason::kDecoderFailed);
    EXPECT_EQ(driver.decoder->pid(), -1);
}

TEST(DecoderProcess, one_that_was_slow_to_start_has_its_full_time_from_then_on)
{
    Driver driver(config("path_and_silence"));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    std::int64_t now = 1;
    ASSERT_TRUE(driver.feed(kUnit));
    EXPECT_EQ(driver.decoder->watch(now), now + ipc::kSilenceAtStart);
    pollfd poll{driver.decoder->fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&poll, 1, 10000), 1);
    now += ipc::kSilenceAtStart - 1;
    driver.decoder->dispatch();
    EXPECT_EQ(driver.decoder->watch(now), now + ipc::kSilence);
    EXPECT_EQ(driver.failures, 0u);
    EXPECT_LT(driver.decoder->watch(now + ipc::kSilence), 0);
    EXPECT_EQ(driver.failures, 1u);
}

TEST(DecoderProcess, one_that_waits_for_frames_to_come_back_is_not_silent)
{
    Driver driver(config("three_frames_and_silence"));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.hold = true;
    driver.keep_pixels = false;
    ASSERT_TRUE(driver.feed(kUnit));
    ASSERT_TRUE(driver.wait([&] { return driver.held.size() == 3; }, kDeadline)) << driver.why;
    std::int64_t now = 1;
    for (int i = 0; i < 5; ++i) {
        now += ipc::kSilence;
        EXPECT_EQ(driver.decoder->watch(now), now + ipc::kSilence);
    }
    driver.release_all(); // from here on it has no excuse
    {
        now += ipc::kSilence;
        EXPECT_EQ(driver.decoder->watch(now), now + ipc::kSilence);
    }
    EXPECT_EQ(driver.failures, 0u);
    EXPECT_LT(driver.decoder->watch(now += ipc::kSilence), 0);
    EXPECT_EQ(driver.failures, 1u);
}

TEST(DecoderProcess, answer_that_waited_in_the_socket_is_no_silence)
{
    Driver driver(config("frames_of_an_old_epoch"));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.keep_pixels = false;
    ASSERT_TRUE(driver.feed(kUnit));
    ASSERT_TRUE(driver.wait([&] { return driver.buffers == 2; }, kDeadline));
    std::int64_t now = 1;
    static_cast<void>(driver.decoder->watch(now));
    driver.decoder->flush(1); // answered by a frame, which nobody reads
    driver.epoch = 1;
    pollfd poll{driver.decoder->fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&poll, 1, 10000), 1);
    {
        now += ipc::kSilenceAtStart;
        EXPECT_EQ(driver.decoder->watch(now), now + ipc::kSilence);
    }
    EXPECT_EQ(driver.failures, 0u);
}

/// Of those that take a second to end.
struct SlowEnd {
    const char *behaviour;
    const char *why;
};

TEST(DecoderProcess, that_takes_long_to_end_blocks_nobody_and_is_collected_all_the_same)
{
    for (const SlowEnd &c :
         {SlowEnd{"is_slow_to_end", "without memory"}, SlowEnd{"ends_slowly", "exited with status 7"}}) {
        Driver driver(config(c.behaviour));
        ASSERT_TRUE(driver.decoder) << driver.start_error;
        const int pid = driver.decoder->pid();
        ASSERT_TRUE(driver.feed(kUnit));
        std::chrono::nanoseconds longest{0};
        const auto deadline = std::chrono::steady_clock::now() + kDeadline;
        while (driver.failures == 0 && std::chrono::steady_clock::now() < deadline) {
            pollfd poll{driver.decoder->fd(), POLLIN, 0};
            ::poll(&poll, 1, 100);
            const auto begin = std::chrono::steady_clock::now();
            driver.decoder->dispatch();
            longest = std::max(longest, std::chrono::nanoseconds(std::chrono::steady_clock::now() - begin));
        }
        if (driver.reason == wire::Reason::kNoResources)
            GTEST_SKIP() << driver.why;
        EXPECT_LT(longest, std::chrono::milliseconds(300)) << c.behaviour;
        EXPECT_NE(driver.why.find(c.why), std::string::npos) << driver.why;
        EXPECT_TRUE(is_collected(pid)) << c.behaviour;
    }
}

TEST(DecoderProcess, that_does_not_end_is_given_up_after_two_seconds)
{
    Driver driver(config("ends_slowly"));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    ASSERT_TRUE(driver.feed(kUnit));
    const auto deadline = std::chrono::steady_clock::now() + kDeadline;
    while (driver.failures == 0 && !driver.decoder->ending() && std::chrono::steady_clock::now() < deadline) {
        pollfd poll{driver.decoder->fd(), POLLIN, 0};
        ::poll(&poll, 1, 100);
        driver.decoder->dispatch();
    }
    if (driver.reason == wire::Reason::kNoResources)
        GTEST_SKIP() << driver.why;
    ASSERT_TRUE(driver.decoder->ending()) << driver.why;
    const std::int64_t now = monotonic_now();
    const std::int64_t next = driver.decoder->watch(now);
    EXPECT_GT(next, now);
    EXPECT_LE(next, now + 2'000'000'000);
    EXPECT_EQ(driver.failures, 0u);
    static_cast<void>(driver.decoder->watch(next));
    EXPECT_EQ(driver.failures, 1u);
    EXPECT_NE(driver.why.find("not gone"), std::string::npos) << driver.why;
    EXPECT_FALSE(driver.decoder->ending());
}

TEST(DecoderProcess, that_takes_long_to_end_and_is_let_go_of_blocks_nobody)
{
    Driver driver(config("ends_slowly"));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    const int pid = driver.decoder->pid();
    ASSERT_TRUE(driver.feed(kUnit));
    pollfd poll{driver.decoder->fd(), POLLIN, 0};
    ASSERT_EQ(::poll(&poll, 1, 10000), 1);
    const auto begin = std::chrono::steady_clock::now();
    driver.decoder.reset();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(300));
    EXPECT_TRUE(is_collected(pid));
}

TEST(Child, that_no_thread_can_be_had_for_is_collected_with_the_next)
{
    pthread_attr_t usual;
    pthread_attr_t impossible;
    ASSERT_EQ(::pthread_getattr_default_np(&usual), 0);
    ASSERT_EQ(::pthread_getattr_default_np(&impossible), 0);
    ASSERT_EQ(::pthread_attr_setstacksize(&impossible, std::size_t{1} << 50), 0);
    auto pid = spawn("/bin/sleep", {"60"}, {});
    ASSERT_TRUE(pid) << pid.error().message;
    ASSERT_EQ(::pthread_setattr_default_np(&impossible), 0);
    kill_and_leave(*pid);
    ASSERT_EQ(::pthread_setattr_default_np(&usual), 0);
    const auto next = [] {
        auto other = spawn("/bin/sleep", {"60"}, {});
        ASSERT_TRUE(other) << other.error().message;
        kill_and_leave(*other);
    };
    next();
    EXPECT_TRUE(is_collected(*pid, next));
}

TEST(DecoderProcess, unit_without_room_is_refused)
{
    Driver driver(config("deaf"));
    ASSERT_TRUE(driver.decoder) << driver.start_error;
    driver.window = 1000;
    const Driver::Unit largest{std::vector<std::uint8_t>(wire::kMaxAccessUnit), 1000, true};
    EXPECT_TRUE(driver.feed(largest));
    EXPECT_TRUE(driver.feed(largest));
    EXPECT_TRUE(driver.feed(largest));
    EXPECT_FALSE(driver.feed(kUnit));
}

TEST(DecoderProcess, missing_program_is_an_error_that_names_it)
{
    DecoderProcess::Config missing = config("");
    missing.program = "/nonexistent/spice-overlay-decoder";
    Driver driver(missing);
    EXPECT_FALSE(driver.decoder);
    EXPECT_EQ(driver.start_error, "cannot start /nonexistent/spice-overlay-decoder: No such file or directory");
    EXPECT_FALSE(decoder_capabilities(missing.program));
}

TEST(DecoderProcess, xrgb_must_be_among_the_formats)
{
    DecoderProcess::Config bad = config("");
    bad.fourccs = {kFourccYu12};
    EXPECT_FALSE(Driver(bad).decoder);
    bad.fourccs = {};
    EXPECT_FALSE(Driver(bad).decoder);
}

TEST(DecoderProcess, capabilities_of_a_program_that_says_nothing_are_an_error)
{
    const auto capabilities = decoder_capabilities("/bin/true");
    ASSERT_FALSE(capabilities);
    EXPECT_NE(capabilities.error().message.find("decodes nothing"), std::string::npos) << capabilities.error().message;
}

} // namespace
} // namespace spice_overlay
