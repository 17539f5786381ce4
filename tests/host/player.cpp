// SPDX-License-Identifier: LGPL-2.1-or-later
#include "player.h"

#include <algorithm>
#include <cmath>

namespace spice_overlay::host {

namespace {

int between(int from, int to, double share)
{
    return from + static_cast<int>(std::lround((to - from) * share));
}

} // namespace

Player::Player(const Scene &scene, Desktop &desktop, Listener listener)
    : scene_(scene), desktop_(desktop), listener_(std::move(listener))
{
    for (std::size_t i = 0; i < scene.windows.size(); ++i)
        if (scene.windows[i].fps > 0)
            animations_.push_back({i, 1.0 / scene.windows[i].fps, 1.0 / scene.windows[i].fps});
}

bool Player::busy() const
{
    return !stopped_ && (!ended_ || !motions_.empty() || !animations_.empty());
}

void Player::advance(double seconds)
{
    if (stopped_)
        return;
    double until = now_ + seconds;
    // A wait ends at its own moment, not at the next tick, so that a scene's course does not depend on the tick rate.
    while (!stopped_) {
        run_actions();
        double next = next_event();
        if (stopped_ || next > until)
            break;
        now_ = next;
        run_motions();
    }
    if (!stopped_)
        now_ = until;
    run_motions();
    run_animations();
}

/// When the next action can run: the end of a wait, or of a motion.
double Player::next_event() const
{
    double next = INFINITY;
    if (wait_until_ > now_)
        next = wait_until_;
    for (const Motion &motion : motions_)
        next = std::min(next, motion.end);
    return next;
}

void Player::apply(const Motion &motion, double share)
{
    Rect box = desktop_.box(motion.window);
    (motion.moves ? box.x : box.w) = between(motion.from_a, motion.to_a, share);
    (motion.moves ? box.y : box.h) = between(motion.from_b, motion.to_b, share);
    desktop_.place(motion.window, box);
}

void Player::run_motions()
{
    for (const Motion &motion : motions_) {
        double length = motion.end - motion.begin;
        apply(motion, length <= 0 ? 1.0 : std::clamp((now_ - motion.begin) / length, 0.0, 1.0));
    }
    std::erase_if(motions_, [this](const Motion &motion) { return motion.end <= now_; });
}

void Player::run_animations()
{
    for (Animation &item : animations_)
        if (now_ >= item.next) {
            desktop_.redraw(item.window);
            item.next = std::max(item.next + item.period, now_);
        }
}

void Player::run_actions()
{
    for (int turns = 0; !stopped_ && !ended_;) {
        if (next_ == scene_.actions.size()) {
            if (scene_.loop && motions_.empty() && ++turns < 2) { // a turn takes time: a second in one go is for later
                next_ = 0;
                continue;
            }
            ended_ = !scene_.loop && motions_.empty();
            if (ended_)
                listener_.end();
            return;
        }
        if (!run(scene_.actions[next_]))
            return;
    }
}

bool Player::run(const SceneAction &action)
{
    using Kind = SceneAction::Kind;
    bool waits_for_motions = action.kind == Kind::kWaitAll || action.kind == Kind::kStep;
    if (waits_for_motions && !motions_.empty())
        return false;
    if (action.kind == Kind::kWait) {
        if (wait_until_ < 0)
            wait_until_ = now_ + action.seconds;
        if (now_ < wait_until_)
            return false;
        wait_until_ = -1;
    }
    ++next_;
    int index = action.window < scene_.windows.size() ? scene_.windows[action.window].video : 0;
    switch (action.kind) {
    case Kind::kMove:
    case Kind::kResize: {
        bool moves = action.kind == Kind::kMove;
        std::erase_if(motions_, [&](const Motion &m) { return m.window == action.window && m.moves == moves; });
        Rect box = desktop_.box(action.window);
        Motion motion{action.window, moves, moves ? box.x : box.w, moves ? box.y : box.h, action.a, action.b,
                      now_, now_ + action.seconds};
        if (action.seconds <= 0)
            apply(motion, 1.0);
        else
            motions_.push_back(motion);
        break;
    }
    case Kind::kRaise: desktop_.raise(action.window); break;
    case Kind::kLower: desktop_.lower(action.window); break;
    case Kind::kShow: desktop_.show(action.window, true); break;
    case Kind::kHide: desktop_.show(action.window, false); break;
    case Kind::kMinimise: desktop_.minimise(action.window, true); break;
    case Kind::kRestore: desktop_.minimise(action.window, false); break;
    case Kind::kLeave:
        desktop_.leave(action.window, true);
        break;
    case Kind::kReturn:
        desktop_.leave(action.window, false);
        break;
    case Kind::kOpen:
        if (desktop_.state(action.window) == VideoView::State::kClosed) {
            desktop_.set_state(action.window, VideoView::State::kPlaying);
            listener_.video({"open", index});
        }
        break;
    case Kind::kClose:
        if (desktop_.state(action.window) != VideoView::State::kClosed) {
            desktop_.set_state(action.window, VideoView::State::kClosed);
            listener_.video({"close", index});
        }
        break;
    case Kind::kPause:
    case Kind::kResume:
        if (desktop_.state(action.window) != VideoView::State::kClosed) {
            bool pause = action.kind == Kind::kPause;
            desktop_.set_state(action.window, pause ? VideoView::State::kPaused : VideoView::State::kPlaying);
            listener_.video({pause ? "pause" : "resume", index});
        }
        break;
    case Kind::kSeek:
        if (desktop_.state(action.window) != VideoView::State::kClosed)
            listener_.video({"seek", index, action.seconds});
        break;
    case Kind::kWait:
    case Kind::kWaitAll: break;
    case Kind::kStep:
        stopped_ = true;
        listener_.step(action.name);
        break;
    }
    return true;
}

} // namespace spice_overlay::host
