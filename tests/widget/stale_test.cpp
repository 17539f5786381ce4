// SPDX-License-Identifier: LGPL-2.1-or-later
// All the ways in which a stream, an epoch or a geometry ends, at random moments, from the port's bytes to what the compositor shows. Session,
// Redirection, VideoStream, DecoderProcess, Screen and Scene are the viewer's own; the compositor, the decoder's process and the clock are
// models. By hand: stale-test --count 100000.
#include "overlay/present/wayland/transport.h"
#include "overlay/widget/redirection.h"
#include "portclient/wire/deframer.h"
#include "stand_in_decoder.h"
#include "virtual_clock.h"

#include <glib.h>
#include <gtest/gtest.h>
#include <wayland-client.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <optional>
#include <random>
#include <set>
#include <string>

namespace {

#ifdef __SANITIZE_ADDRESS__
unsigned trials = 2000; // which takes as long
#else
unsigned trials = 10000;
#endif
unsigned first_seed = 1;

} // namespace

namespace spice_overlay {
namespace {

enum class End {
    kClose,         ///< the guest closes the stream
    kPortClosed,    ///< agent or virtual machine is gone
    kNewAgent,      ///< another HELLO, without a word of the end
    kNewAgentReuse, ///< and it uses the old stream's number again
    kGarbage,       ///< bytes that are no message: the conversation begins anew
    kViolation,     ///< a message that breaks the rules of its stream
    kFlush,         ///< a new epoch
    kDecoderGivenUp,
    kPictureGone, ///< the guest's surface is destroyed
    kDisplayResize,
    kWindowGone, ///< our own surface is
    kInvisible,  ///< nothing of it is visible any more
    kElsewhere,  ///< it is on another display
    kDisconnect, ///< the display's channel goes too
    kCount
};
constexpr const char *kNames[] = {"close",        "port closed",     "new agent",   "new agent, same number",
                                  "garbage",      "violation",       "flush",       "decoder given up",
                                  "picture gone", "display resized", "window gone", "nothing visible",
                                  "other display", "disconnect"};
static_assert(std::size(kNames) == static_cast<std::size_t>(End::kCount));

/// The viewer without GTK: what DisplayCore does, on a compositor that is a model.
class Viewer {
public:
    Viewer() : update_timer_([this] { update(); }), screen_(statistics_)
    {
        compositor.serve([this] {
            connection_ = std::move(WaylandConnection::connect(compositor.display, DmabufUse::kNever).value());
        });
        parent_ = wl_compositor_create_surface(connection_->compositor());
        connect();
        show_picture(64, 48);
        open_window();
    }
    ~Viewer()
    {
        compositor.on_commit = nullptr;
        redirection.reset();
        screen_.detach();
        wl_surface_destroy(parent_);
    }

    void connect()
    {
        Redirection::Config config;
        config.codecs = {{wire::Codec::kH264, 0, -1, -1, 4096, 2304}};
        redirection = std::make_unique<Redirection>(
            config, screen_, *connection_, statistics_,
            [this](std::span<const std::uint8_t> bytes) { heard.insert(heard.end(), bytes.begin(), bytes.end()); },
            [this] { update_timer_.set(virtual_now); }, [](const std::string &) {});
    }
    void open_window()
    {
        ASSERT_TRUE(screen_.attach(*connection_, parent_, [this] { update_timer_.set(virtual_now); }));
        lay_out();
    }
    void close_window() { screen_.detach(); }
    void lay_out()
    {
        screen_.set_space(0, 0, kWindow, kWindow, 1);
        screen_.begin_layout();
        screen_.update(virtual_now, true);
        wl_surface_commit(parent_);
        screen_.end_layout();
        connection_->flush();
    }
    void show_picture(int w, int h)
    {
        width = w, height = h;
        pixels_.assign(static_cast<std::size_t>(w) * static_cast<std::size_t>(h), 0x303030);
        screen_.set_picture({pixels_.data(), w, w, h}, virtual_now);
        update_timer_.set(virtual_now);
    }
    void lose_picture()
    {
        screen_.set_picture({}, virtual_now);
        update_timer_.set(virtual_now);
    }
    /// The display's channel is gone.
    void disconnect()
    {
        screen_.set_picture({}, virtual_now);
        screen_.set_gone();
        lay_out();
    }
    void damage(const GuestRect &rect)
    {
        screen_.damaged(rect, virtual_now);
        update_timer_.set(virtual_now);
    }
    /// Everything that can happen at this moment does.
    void turn()
    {
        for (int i = 0; i < 2; ++i) {
            for (const auto &decoder : live_decoders())
                decoder->hear();
            g_main_context_iteration(nullptr, FALSE);
            compositor.exchange();
        }
    }

    ModelCompositor compositor;
    std::unique_ptr<Redirection> redirection;
    std::vector<std::uint8_t> heard; ///< what the viewer has said to the guest
    static constexpr int kWindow = 64; ///< as wide and as high, logical pixels
    int width = 0;                     ///< of the guest's display
    int height = 0;

private:
    void update()
    {
        screen_.update(virtual_now);
        update_timer_.set(screen_.deadline());
    }

    std::unique_ptr<WaylandConnection> connection_;
    Statistics statistics_;
    MainTimer update_timer_;
    Screen screen_;
    wl_surface *parent_ = nullptr;
    std::vector<std::uint32_t> pixels_;
};

/// The guest's side of the port, and what it knows to be over.
class Trials {
public:
    explicit Trials(unsigned seed) : random_(seed)
    {
        virtual_now = 1'000'000 * kMs;
        viewer_.emplace();
        viewer_->compositor.on_commit = [this] { look(); };
        viewer_->compositor.asks_everybody = one_in(3);
        viewer_->turn();
        open_port();
    }
    ~Trials()
    {
        viewer_.reset();
        virtual_now = 0;
    }

    /// What went wrong, or nothing.
    std::string run(End end)
    {
        begin();
        play();
        was_shown = !viewer_->compositor.shown().empty();
        if (was_shown && one_in(2)) // not only what has been on the screen may come back, what waits may come
            play();
        finish(end);
        aftermath(end);
        virtual_now += 1'100 * kMs; // the limits on messages and streams are for each second
        return std::exchange(wrong_, "");
    }

    bool was_shown = false;
    bool came_back = false; ///< the next stream, or the same

private:
    int pick(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
    bool one_in(int n) { return pick(1, n) == 1; }

    void say(const wire::Message &message)
    {
        std::vector<std::uint8_t> bytes;
        wire::encode(message, bytes);
        viewer_->redirection->port_data(bytes);
    }
    void open_port()
    {
        viewer_->heard.clear();
        viewer_->redirection->port_opened();
        greet();
    }
    /// Another conversation, with whatever nonce the viewer has said last.
    void greet()
    {
        wire::Hello hello;
        hello.nonce = ++nonce_;
        hello.name = "stale test";
        say(hello); // which asks for an answer
        hello.peer_nonce = last_nonce();
        say(hello);
        next_stream_ = 0;
    }
    [[nodiscard]] std::uint64_t last_nonce()
    {
        std::uint64_t nonce = 0;
        std::span<const std::uint8_t> left = viewer_->heard;
        while (left.size() >= wire::kHeaderSize) {
            const std::size_t size = left[0] | std::size_t{left[1]} << 8;
            wire::Message message;
            std::string why;
            if (size > left.size() || !wire::decode(left.first(size), message, why))
                break;
            if (const auto *hello = std::get_if<wire::Hello>(&message))
                nonce = hello->nonce;
            left = left.subspan(size);
        }
        viewer_->heard.clear();
        return nonce;
    }

    void begin()
    {
        id_ = ++next_stream_;
        tag_ = {++streams_, 0, 0};
        serial_ = unit_ = 0;
        wire::StreamOpen open;
        open.stream = id_;
        open.coded_width = open.coded_height = 16;
        const bool early = one_in(2);
        if (early)
            tell_geometry(true);
        say(open);
        if (!early)
            tell_geometry(true);
    }
    void tell_geometry(bool visible, std::uint32_t display = 0)
    {
        wire::Geometry g;
        g.stream = id_;
        g.serial = ++serial_;
        g.display = display;
        g.target = {pick(0, 40), pick(0, 30), static_cast<std::uint32_t>(pick(4, 24)),
                    static_cast<std::uint32_t>(pick(4, 18))};
        if (visible && one_in(6)) // full screen
            g.target = {0, 0, static_cast<std::uint32_t>(viewer_->width), static_cast<std::uint32_t>(viewer_->height)};
        if (visible)
            g.visible = {g.target};
        if (visible && one_in(2)) // covered: below the desktop
            g.visible[0].width -= 2;
        say(g);
    }
    /// One that is to be seen in `in` ms.
    void send_unit(int in)
    {
        ++tag_.number;
        std::vector<std::uint8_t> bytes;
        std::vector<std::size_t> ends;
        std::vector<std::uint8_t> data(sizeof tag_);
        std::memcpy(data.data(), &tag_, sizeof tag_);
        wire::AccessUnit unit{.stream = id_,
                              .serial = unit_++,
                              .epoch = tag_.epoch,
                              .flags = wire::kKey,
                              .pts = virtual_now + in * kMs,
                              .data = data};
        wire::encode_access_unit(unit, bytes, ends);
        viewer_->redirection->port_data(bytes);
    }
    void decode_some(int most)
    {
        for (const auto &decoder : live_decoders()) {
            decoder->hear();
            for (int n = pick(0, most); n > 0; --n)
                decoder->decode();
        }
    }
    /// Units on their way, frames that wait for their time, for the compositor, and on the screen: some of each.
    void play()
    {
        if (!one_in(4)) { // something to end
            send_unit(0);
            viewer_->turn();
            decode_some(3);
        }
        for (int n = pick(3, 8); n > 0; --n) {
            switch (pick(0, 4)) {
            case 0:
            case 1:
                send_unit(one_in(3) ? pick(1, 60) : 0);
                break;
            case 2:
                decode_some(3);
                break;
            case 3:
                viewer_->compositor.refresh();
                break;
            default:
                virtual_now += pick(0, 20) * kMs;
                viewer_->damage({{0, 0, pick(1, 20), 10}});
            }
            viewer_->turn();
        }
    }

    // ---- the end

    void finish(End end)
    {
        const std::uint32_t stream = tag_.stream;
        switch (end) {
        case End::kClose:
            say(wire::StreamClose{id_, wire::Reason::kEndOfStream});
            break;
        case End::kPortClosed:
            viewer_->redirection->port_closed();
            break;
        case End::kNewAgent:
        case End::kNewAgentReuse:
            greet();
            break;
        case End::kGarbage: {
            const std::vector<std::uint8_t> garbage(64, 0); // shorter than its own header
            viewer_->redirection->port_data(garbage);
            break;
        }
        case End::kViolation: { // a unit of a serial that cannot be
            unit_ += 7;
            send_unit(0);
            break;
        }
        case End::kFlush:
            if (one_in(3)) { // while nothing of it is visible: what comes to light again must not be of the old epoch
                tell_geometry(false);
                settle();
            }
            keep_what_is_shown();
            ++tag_.epoch, tag_.number = 0;
            say(wire::PlayState{id_, tag_.epoch, wire::PlayMode::kPlaying, 65536});
            ended_epochs_[stream] = tag_.epoch;
            settle();
            if (one_in(3)) { // what is still on the screen leaves it
                tell_geometry(false);
                settle();
            }
            return;
        case End::kDecoderGivenUp:
            wear_out_decoder();
            break;
        case End::kPictureGone:
            viewer_->lose_picture();
            break;
        case End::kDisplayResize:
            viewer_->show_picture(pick(8, 48), pick(8, 40));
            if (one_in(2)) // the window takes its time
                viewer_->turn();
            viewer_->lay_out();
            return settle();
        case End::kWindowGone:
            viewer_->close_window();
            break;
        case End::kInvisible:
            tell_geometry(false);
            break;
        case End::kElsewhere:
            tell_geometry(true, 1);
            break;
        default: { // channels end in any order
            const bool port_first = one_in(2);
            if (port_first)
                viewer_->redirection->port_closed();
            viewer_->disconnect();
            if (!port_first) {
                if (one_in(2)) { // the port goes on for a while
                    decode_some(2);
                    settle();
                    ended_.insert(stream);
                    look();
                }
                viewer_->redirection->port_closed();
            }
        }
        }
        if (one_in(2))
            decode_some(2); // it has not heard of it yet
        settle();
        ended_.insert(stream);
        look();
    }
    /// The viewer has heard of it; then the screen is drawn once.
    void settle()
    {
        viewer_->turn();
        virtual_now += 17 * kMs;
        viewer_->compositor.refresh();
        viewer_->turn();
    }
    /// The picture on the screen stays until the first one of the new epoch: no other of the old one may come.
    void keep_what_is_shown()
    {
        still_.reset();
        for (const auto &shown : viewer_->compositor.shown())
            if (shown.tag.stream == tag_.stream)
                still_ = shown.tag;
    }
    /// Each of its decoders comes later than the one before, and then none.
    void wear_out_decoder()
    {
        for (const int delay : {20, 80, 320, 1280, 1280, 10'000}) { // ms
            for (const auto &decoder : live_decoders())
                one_in(2) ? decoder->die() : decoder->say_nonsense();
            viewer_->turn();
            virtual_now += (delay - 1) * kMs;
            viewer_->turn();
            EXPECT_EQ(live_decoders().size(), 0u) << "a decoder is started earlier than after " << delay << " ms";
            virtual_now += 1 * kMs;
            viewer_->turn();
            EXPECT_EQ(live_decoders().size(), delay < 10'000 ? 1u : 0u) << "after " << delay << " ms";
        }
    }

    /// Late frames, refreshes, damage and other streams: none of them brings back what is over.
    void aftermath(End end)
    {
        came_back = false;
        for (int n = pick(2, 6); n > 0; --n) {
            decode_some(2);
            virtual_now += pick(0, 40) * kMs;
            if (one_in(2))
                viewer_->damage({{pick(0, 10), 0, 20, 10}});
            viewer_->turn();
            viewer_->compositor.refresh();
        }
        switch (end) {
        case End::kPortClosed:
            open_port();
            break;
        case End::kGarbage:
            greet();
            break;
        case End::kPictureGone:
            ended_.erase(tag_.stream);
            viewer_->show_picture(64, 48);
            break;
        case End::kDisplayResize:
            viewer_->show_picture(64, 48);
            viewer_->lay_out();
            break;
        case End::kWindowGone:
            ended_.erase(tag_.stream);
            viewer_->open_window();
            break;
        case End::kInvisible:
        case End::kElsewhere:
            ended_.erase(tag_.stream);
            tell_geometry(true);
            break;
        case End::kDisconnect:
            viewer_->show_picture(64, 48);
            viewer_->lay_out();
            open_port();
            break;
        case End::kFlush:
            tell_geometry(true);
            break;
        default:
            begin(); // of another stream
        }
        if (end == End::kPortClosed || end == End::kGarbage || end == End::kDisconnect)
            begin();
        for (int n = 0; n < 4; ++n) {
            send_unit(0);
            viewer_->turn();
            for (const auto &decoder : live_decoders())
                while (decoder->decode())
                    continue;
            viewer_->turn();
            virtual_now += 300 * kMs; // longer than anything waits
            viewer_->turn();
            viewer_->compositor.refresh();
            viewer_->turn();
        }
        for (const auto &shown : viewer_->compositor.shown())
            came_back |= shown.tag.stream == tag_.stream && shown.tag.epoch == tag_.epoch;
        say(wire::StreamClose{id_, wire::Reason::kEndOfStream});
        settle();
        ended_.insert(tag_.stream);
        look();
    }

    /// After every commit.
    void look()
    {
        const auto is_still = [this](const auto &shown) { return shown.tag == still_; };
        if (std::ranges::none_of(viewer_->compositor.shown(), is_still))
            still_.reset();
        const Box desktop = viewer_->compositor.desktop();
        if ((desktop.x1 < 0 || desktop.y1 < 0 || desktop.x2 > Viewer::kWindow || desktop.y2 > Viewer::kWindow)
            && wrong_.empty())
            wrong_ = "the desktop leaves its window";
        for (const auto &shown : viewer_->compositor.shown()) {
            const auto epoch = ended_epochs_.find(shown.tag.stream);
            const bool old = epoch != ended_epochs_.end() && shown.tag.epoch < epoch->second && shown.tag != still_;
            if ((old || ended_.contains(shown.tag.stream)) && wrong_.empty())
                wrong_ = "frame " + std::to_string(shown.tag.number) + " of epoch " + std::to_string(shown.tag.epoch)
                         + (old ? " is shown in a later one" : " of a stream that has ended is shown");
            if ((shown.x < 0 || shown.y < 0 || shown.x + shown.width > desktop.width()
                 || shown.y + shown.height > desktop.height())
                && wrong_.empty())
                wrong_ = "a video leaves the desktop";
        }
    }

    std::mt19937 random_;
    std::optional<Viewer> viewer_;
    std::uint64_t nonce_ = 1;
    std::uint32_t next_stream_ = 0;
    std::uint32_t streams_ = 0;
    std::uint32_t id_ = 0;
    std::uint32_t serial_ = 0;
    std::uint32_t unit_ = 0;
    FrameTag tag_;
    std::set<std::uint32_t> ended_;
    std::map<std::uint32_t, std::uint32_t> ended_epochs_; ///< by stream, the first that may be shown
    std::optional<FrameTag> still_;
    std::string wrong_;
};

TEST(Stale, no_frame_of_an_old_stream_epoch_or_geometry_is_shown_however_it_ends)
{
    constexpr unsigned kTrialsOfOne = 100; // viewer
    std::map<End, unsigned> shown;
    std::map<End, unsigned> back;
    std::map<End, unsigned> all;
    std::optional<Trials> bench;
    for (unsigned trial = 0; trial < trials; ++trial) {
        if (trial % kTrialsOfOne == 0)
            bench.emplace(first_seed + trial);
        const auto end = static_cast<End>((trial / 3 * 7 + trial) % static_cast<unsigned>(End::kCount));
        const std::string wrong = bench->run(end);
        ASSERT_EQ(wrong, "") << kNames[static_cast<int>(end)] << ", trial " << trial % kTrialsOfOne
                             << " of: stale-test --seed " << first_seed + trial / kTrialsOfOne * kTrialsOfOne
                             << " --count " << trial % kTrialsOfOne + 1;
        ++all[end];
        shown[end] += bench->was_shown;
        back[end] += bench->came_back;
    }
    for (const auto &[end, count] : all) {
        std::printf("%-24s %6u times, a video was on the screen %6u times, the next one %6u times\n",
                    kNames[static_cast<int>(end)], count, shown[end], back[end]);
        if (count < 50)
            continue;
        EXPECT_GT(shown[end], count / 2) << "too seldom was there anything to end: " << kNames[static_cast<int>(end)];
        EXPECT_GT(back[end], count * 9 / 10) << "videos do not come back: " << kNames[static_cast<int>(end)];
    }
}

} // namespace
} // namespace spice_overlay

int main(int argc, char **argv)
{
    testing::InitGoogleTest(&argc, argv);
    for (int i = 1; i + 1 < argc; i += 2) {
        const std::string option = argv[i];
        if (option != "--seed" && option != "--count") {
            std::fprintf(stderr, "usage: stale-test [--count TRIALS] [--seed FIRST]\n");
            return 2;
        }
        (option == "--seed" ? first_seed : trials) = static_cast<unsigned>(std::stoul(argv[i + 1]));
    }
    return RUN_ALL_TESTS();
}
