// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>

namespace spice_overlay {

/// Leads the pointer of a guest that takes relative motion alone (SPICE's server mouse mode) to where the person's pointer is, so that
/// the two are one and nothing needs to be grabbed. The guest tells where its pointer has come to, whatever it makes of
/// a motion (acceleration, its display's edges): each motion covers what is then left. A guest that tells nothing gets
/// the person's motions as they are.
///
/// Guest pixels; times are ns of CLOCK_MONOTONIC. One thread.
class RelativePointer {
public:
    struct Motion {
        int dx = 0;
        int dy = 0;
        bool operator==(const Motion &) const = default;
    };

    void guest_is_at(int x, int y)
    {
        if (waiting_ && at_)
            if (double moved = std::hypot(x - at_->dx, y - at_->dy); moved > 0)
                gain_ = std::clamp(std::hypot(asked_.dx, asked_.dy) / moved, 0.1, 4.0);
        at_ = {x, y};
        waiting_ = false;
    }

    void person_is_at(int x, int y)
    {
        wanted_ = {x, y};
        tries_ = kTries;
    }

    /// What to send next; nothing when it is there, or until the guest answers.
    std::optional<Motion> next(std::int64_t now)
    {
        if (!wanted_ || (waiting_ && now - sent_at_ < kPatience))
            return std::nullopt;
        if (waiting_) // no answer: it does not tell, or cannot go there
            at_.reset();
        waiting_ = false;
        Motion motion;
        if (at_)
            motion = {part(wanted_->dx - at_->dx), part(wanted_->dy - at_->dy)};
        else if (followed_)
            motion = {wanted_->dx - followed_->dx, wanted_->dy - followed_->dy};
        followed_ = wanted_;
        if (motion == Motion() || tries_ == 0)
            return std::nullopt;
        --tries_;
        asked_ = motion;
        waiting_ = at_.has_value();
        sent_at_ = now;
        return motion;
    }

private:
    static constexpr std::int64_t kPatience = 100'000'000;
    static constexpr int kTries = 16; ///< for each position of the person's pointer

    [[nodiscard]] int part(int distance) const
    {
        int some = static_cast<int>(std::lround(distance * gain_));
        return some ? some : (distance > 0) - (distance < 0);
    }

    std::optional<Motion> wanted_;   ///< a position
    std::optional<Motion> at_;       ///< a position: the guest's, when it has told
    std::optional<Motion> followed_; ///< a position: the person's at the last motion
    Motion asked_;
    double gain_ = 1; ///< of a distance, how much to ask for
    bool waiting_ = false;
    std::int64_t sent_at_ = 0;
    int tries_ = 0;
};

} // namespace spice_overlay
