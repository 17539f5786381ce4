// SPDX-License-Identifier: LGPL-2.1-or-later
#include "desk.h"
#include "x_server.h"

#include "portclient/base/clock.h"

#include <gtest/gtest.h>
#include <xcb/shape.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <random>

namespace spice_overlay::guest {
namespace {

using namespace testing_tools;

constexpr std::uint32_t kVideo = 1;
constexpr std::size_t kMostWindows = 14;
constexpr std::int64_t kPatience = 2'000'000'000; ///< ns for managers; they are given more before anything fails

int operations()
{
    const char *wanted = std::getenv("TRACKER_OPERATIONS");
    return wanted ? std::atoi(wanted) : 1500;
}

/// Windows that do as they please around one that has the key colour, which does too.
class Bedlam {
public:
    /// `tame`: nothing that confuses managers for good: windows keep their level and whether they are managed.
    Bedlam(Desk &desk, unsigned seed, bool tame) : desk_(desk), random_(seed), tame_(tame)
    {
        top_ = add({.x = 120, .y = 80, .width = 400, .height = 300, .border = 3, .colour = 0x202020}, XCB_WINDOW_NONE);
        video_ =
            add({.parent = top_, .x = 30, .y = 20, .width = 320, .height = 240, .border = 2, .colour = kKey}, top_);
    }

    [[nodiscard]] xcb_window_t video() const { return video_; }

    void step()
    {
        const xcb_window_t any = pick();
        const bool ours = any == top_ || any == video_;
        switch (below(21)) {
        case 0:
        case 1:
        case 2:
            if (windows_.size() < kMostWindows)
                add(random_plan(), XCB_WINDOW_NONE);
            else
                remove(pick_other());
            break;
        case 3:
            remove(pick_other());
            break;
        case 4:
        case 5:
        case 6:
            desk_.move(any, between(-60, 500), between(-60, 380));
            break;
        case 7:
            desk_.resize(any, between(ours ? 150 : 1, 400), between(ours ? 120 : 1, 300));
            break;
        case 8:
        case 9:
            desk_.restack(any, XCB_STACK_MODE_ABOVE);
            break;
        case 10:
            desk_.restack(any, XCB_STACK_MODE_BELOW);
            break;
        case 11:
            desk_.restack(any, static_cast<std::uint32_t>(below(5)), pick());
            break;
        case 12:
            desk_.map(any);
            break;
        case 13:
            if (!ours || below(3) == 0)
                desk_.unmap(any);
            break;
        case 14:
            desk_.set_border(any, between(0, 12));
            break;
        case 15:
            if (!tame_)
                desk_.set_override_redirect(any, below(2));
            break;
        case 16:
        case 17:
            desk_.shape(any, below(4) ? XCB_SHAPE_SK_BOUNDING : XCB_SHAPE_SK_CLIP, random_shape());
            break;
        case 18:
            move_below(any, below(3) && !tame_ ? desk_.root() : pick());
            break;
        default: // the video is to be seen often
            for (xcb_window_t w = video_; w != XCB_WINDOW_NONE; w = parent_of(w)) {
                desk_.map(w);
                desk_.restack(w, XCB_STACK_MODE_ABOVE);
                desk_.shape(w, XCB_SHAPE_SK_BOUNDING, {});
                desk_.shape(w, XCB_SHAPE_SK_CLIP, {});
            }
            if (!tame_) {
                desk_.reparent(top_, desk_.root(), 120, 80);
                std::ranges::find(windows_, top_, &Window::id)->parent = XCB_WINDOW_NONE;
                desk_.reparent(video_, top_, 30, 20);
                std::ranges::find(windows_, video_, &Window::id)->parent = top_;
            }
            desk_.move(top_, between(-50, 250), between(-50, 200));
            desk_.resize(top_, 400, 300);
            desk_.move(video_, 30, 20);
            desk_.resize(video_, 320, 240);
            break;
        }
    }

private:
    struct Window {
        xcb_window_t id;
        xcb_window_t parent;
    };

    int below(int n) { return std::uniform_int_distribution<>(0, n - 1)(random_); }
    int between(int low, int high) { return std::uniform_int_distribution<>(low, high)(random_); }
    xcb_window_t pick() { return windows_[static_cast<std::size_t>(below(static_cast<int>(windows_.size())))].id; }
    xcb_window_t pick_other()
    {
        const xcb_window_t w = pick();
        return w == top_ || w == video_ || is_in(video_, w) ? xcb_window_t{} : w;
    }

    [[nodiscard]] xcb_window_t parent_of(xcb_window_t w) const
    {
        auto found = std::ranges::find(windows_, w, &Window::id);
        return found == windows_.end() ? xcb_window_t{} : found->parent;
    }
    [[nodiscard]] bool is_in(xcb_window_t w, xcb_window_t ancestor) const
    {
        while (w != XCB_WINDOW_NONE && w != ancestor)
            w = parent_of(w);
        return w == ancestor && w != XCB_WINDOW_NONE;
    }

    xcb_window_t add(const WindowPlan &plan, xcb_window_t parent)
    {
        const xcb_window_t w = desk_.create(plan);
        windows_.push_back({w, parent ? parent : plan.parent});
        return w;
    }
    void remove(xcb_window_t w)
    {
        if (w == XCB_WINDOW_NONE)
            return;
        desk_.destroy(w);
        std::vector<Window> left;
        for (const Window &o : windows_)
            if (!is_in(o.id, w))
                left.push_back(o);
        windows_ = std::move(left);
    }
    void move_below(xcb_window_t w, xcb_window_t parent)
    {
        if (is_in(parent, w) || (tame_ && parent_of(w) == XCB_WINDOW_NONE))
            return;
        desk_.reparent(w, parent, between(-20, 200), between(-20, 150));
        std::ranges::find(windows_, w, &Window::id)->parent = parent;
    }

    WindowPlan random_plan()
    {
        WindowPlan p;
        const int where = below(4);
        p.parent = where == 0 ? pick() : where == 1 ? video_ : xcb_window_t{};
        p.x = between(-40, 500);
        p.y = between(-40, 380);
        if (p.parent) {
            p.x /= 2;
            p.y /= 2;
        }
        p.width = between(1, 200);
        p.height = between(1, 160);
        p.border = below(3) ? 0 : between(1, 10);
        p.colour = static_cast<std::uint32_t>(between(0x808080, 0xffffff));
        p.override_redirect = below(3) == 0;
        p.input_only = below(8) == 0;
        p.argb = !p.input_only && below(8) == 0;
        if (p.argb)
            p.colour = 0x80402010;
        p.mapped = below(6) != 0;
        return p;
    }
    std::vector<xcb_rectangle_t> random_shape()
    {
        std::vector<xcb_rectangle_t> rects(static_cast<std::size_t>(below(6)));
        for (auto &r : rects)
            r = {static_cast<std::int16_t>(between(-20, 250)), static_cast<std::int16_t>(between(-20, 200)),
                 static_cast<std::uint16_t>(between(1, 300)), static_cast<std::uint16_t>(between(1, 200))};
        return rects;
    }

    Desk &desk_;
    std::mt19937 random_;
    bool tame_;
    std::vector<Window> windows_;
    xcb_window_t top_;
    xcb_window_t video_;
};

struct Manner {
    const char *name;
    std::vector<const char *> programs;
    bool keyed;
    int share; ///< one of so many operations is made: what waits for other programs takes longer
};

void PrintTo(const Manner &manner, std::ostream *out)
{
    *out << manner.name;
}

/// A manager at work; null when it does not begin.
std::unique_ptr<Process> begin(const std::string &program, const XServer &server, Desk &desk)
{
    const bool windows = program == "openbox";
    auto process = server.run(windows ? std::vector<std::string>{"openbox", "--sm-disable"}
                                      : std::vector<std::string>{"picom", "--backend", "xrender", "--no-use-damage",
                                                                 "--config", "/dev/null"});
    const std::int64_t deadline = monotonic_now() + 20'000'000'000;
    while (!(windows ? desk.has_property(desk.root(), "_NET_SUPPORTING_WM_CHECK") : desk.has_owner("_NET_WM_CM_S0")))
        if (monotonic_now() > deadline)
            return nullptr;
    return process;
}

class RandomOperations : public testing::TestWithParam<Manner> {};

TEST_P(RandomOperations, never_show_the_video_where_the_screen_does_not)
{
    const Manner &manner = GetParam();
    if (!installed("Xvfb"))
        GTEST_SKIP() << "Xvfb is not installed";
    for (const char *program : manner.programs)
        if (!installed(program))
            GTEST_SKIP() << program << " is not installed";
    auto server = XServer::start();
    ASSERT_TRUE(server);
    Desk desk(server->display());
    std::map<std::string, std::unique_ptr<Process>> programs;
    for (const char *program : manner.programs)
        ASSERT_TRUE(programs[program] = begin(program, *server, desk)) << program << " does not begin";

    const unsigned seed =
        std::getenv("TRACKER_SEED") ? static_cast<unsigned>(std::atoi(std::getenv("TRACKER_SEED"))) : 1;
    Bedlam bedlam(desk, seed, !manner.programs.empty());
    Follower follower(server->display());
    Target target{.window = bedlam.video()};
    if (manner.keyed)
        target.key_colour = kKey;
    ASSERT_TRUE(follower.tracker().watch(kVideo, target).ok());

    long mismatches = 0;
    int partly = 0;
    int lost_track = 0;
    std::uint32_t key = kKey;
    std::uint32_t recoloured = 0;
    std::vector<double> latencies;
    const int count = std::max(1, operations() / manner.share);
    for (int i = 0; i < count; ++i) {
        const std::int64_t before = monotonic_now();
        const long told = follower.times_told();
        bedlam.step();
        desk.sync();
        follower.advance();
        ASSERT_TRUE(follower.dispatch().ok());
        if (follower.times_told() != told)
            latencies.push_back(static_cast<double>(monotonic_now() - before) / 1e6);
        auto right = [&] {
            const Placement &p = follower[kVideo];
            return p.found && p.target == desk.place_of(bedlam.video()) && desk.mismatches(p, key) == 0;
        };
        bool agreed = right();
        if (!agreed && !manner.programs.empty()) {
            // Managers act when they come to it. Their windows without a background may show a copy of the video that was
            // there before: it has another colour now.
            key = kKey + ++recoloured % 4;
            desk.recolour(bedlam.video(), key);
            agreed = follower.until(right, kPatience);
        }
        if (!agreed && programs.contains("picom")) {
            // picom loses track of windows now and then. Begun anew it shows what the server has, and what the tracker said
            // must have been right all along.
            lost_track++;
            const Placement said = follower[kVideo];
            programs["picom"]->stop();
            ASSERT_TRUE(programs["picom"] = begin("picom", *server, desk));
            agreed = follower.until(right) && (manner.keyed || follower[kVideo] == said);
        }
        if (!agreed) {
            mismatches += std::max(1L, desk.mismatches(follower[kVideo], key));
            ADD_FAILURE() << "operation " << i << " of seed " << seed << ": " << desk.mismatches(follower[kVideo], key)
                          << " pixels, visible by the tracker: " << follower[kVideo].visible.area();
            break;
        }
        const std::int64_t area = follower[kVideo].visible.area();
        partly += area > 0 && area < follower[kVideo].target.area();
    }
    std::ranges::sort(latencies);
    const double median = latencies.empty() ? 0 : latencies[latencies.size() / 2];
    printf("%s: %d operations, %d with the video seen in part, %ld mismatching pixels; from request to region "
           "(%zu changes): median %.2f ms%s\n",
           manner.name, count, partly, mismatches, latencies.size(), median,
           lost_track ? ("; picom lost track " + std::to_string(lost_track) + " times").c_str() : "");
    RecordProperty("median_ms", std::to_string(median));
    EXPECT_LE(lost_track, count / 50);
    EXPECT_GT(partly, count / 10) << "the test does not test what it is to";
}

INSTANTIATE_TEST_SUITE_P(Manners, RandomOperations,
                         testing::Values(Manner{"no_manager", {}, false, 1}, Manner{"openbox", {"openbox"}, false, 1},
                                         Manner{"picom", {"picom"}, false, 1},
                                         Manner{"openbox_and_picom", {"openbox", "picom"}, false, 3},
                                         Manner{"no_manager_by_colour", {}, true, 2},
                                         Manner{"picom_by_colour", {"picom"}, true, 5}),
                         [](const auto &test) { return std::string(test.param.name); });

} // namespace
} // namespace spice_overlay::guest
