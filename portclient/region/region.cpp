// SPDX-License-Identifier: LGPL-2.1-or-later
#include "region.h"

#include <limits>

namespace spice_overlay {

namespace {

/// Walks the bands of one set from top to bottom.
class BandCursor {
public:
    explicit BandCursor(const std::vector<Box> &boxes) : boxes_(boxes) { find_end(); }

    [[nodiscard]] bool done() const { return first_ == boxes_.size(); }
    [[nodiscard]] int top() const { return done() ? std::numeric_limits<int>::max() : boxes_[first_].y1; }
    [[nodiscard]] int bottom() const { return done() ? std::numeric_limits<int>::max() : boxes_[first_].y2; }
    [[nodiscard]] std::span<const Box> boxes() const { return {boxes_.data() + first_, end_ - first_}; }

    void skip_above(int y)
    {
        while (!done() && bottom() <= y) {
            first_ = end_;
            find_end();
        }
    }

private:
    void find_end()
    {
        end_ = first_;
        while (end_ < boxes_.size() && boxes_[end_].y1 == boxes_[first_].y1)
            ++end_;
    }

    const std::vector<Box> &boxes_;
    std::size_t first_ = 0;
    std::size_t end_ = 0;
};

/// Appends the horizontal spans of `a op b` between y1 and y2. A span's ends alternate between entering and leaving.
template <typename Inside>
void append_band(std::span<const Box> a, std::span<const Box> b, int y1, int y2, Inside inside, std::vector<Box> &out)
{
    std::size_t ia = 0;
    std::size_t ib = 0;
    auto edge = [](std::span<const Box> s, std::size_t i) {
        return i >= 2 * s.size() ? std::numeric_limits<int>::max() : i % 2 ? s[i / 2].x2 : s[i / 2].x1;
    };
    bool open = false;
    int start = 0;
    while (ia < 2 * a.size() || ib < 2 * b.size()) {
        int xa = edge(a, ia);
        int xb = edge(b, ib);
        int x = std::min(xa, xb);
        ia += xa == x;
        ib += xb == x;
        bool now = inside(ia % 2 != 0, ib % 2 != 0);
        if (now && !open)
            start = x;
        else if (!now && open)
            out.push_back({start, y1, x, y2});
        open = now;
    }
}

/// Makes the band that starts at `band` one with the band before it, when both have the same spans and touch.
/// Returns where the last band starts afterwards.
std::size_t coalesce(std::vector<Box> &boxes, std::size_t previous, std::size_t band)
{
    std::size_t count = boxes.size() - band;
    if (count == 0)
        return previous;
    if (band - previous != count || boxes[previous].y2 != boxes[band].y1)
        return band;
    for (std::size_t i = 0; i < count; ++i) {
        if (boxes[previous + i].x1 != boxes[band + i].x1 || boxes[previous + i].x2 != boxes[band + i].x2)
            return band;
    }
    for (std::size_t i = 0; i < count; ++i)
        boxes[previous + i].y2 = boxes[band + i].y2;
    boxes.resize(band);
    return previous;
}

} // namespace

BoxSet::BoxSet(const Box &box)
{
    if (!box.empty())
        boxes_.push_back(box);
}

BoxSet BoxSet::combine(const BoxSet &a, const BoxSet &b, Op op, std::size_t most)
{
    auto inside = [op](bool in_a, bool in_b) {
        return op == Op::kUnion ? in_a || in_b : op == Op::kIntersect ? in_a && in_b : in_a && !in_b;
    };
    BoxSet result;
    result.boxes_.reserve(std::min(a.boxes_.size() + b.boxes_.size(), most)); // mostly enough
    BandCursor ca(a.boxes_);
    BandCursor cb(b.boxes_);
    std::size_t last_band = 0;
    int y = std::min(ca.top(), cb.top());
    while ((!ca.done() || !cb.done()) && result.boxes_.size() <= most) {
        // The next edge of either set: what lies between here and there is the same on every line.
        bool in_a = ca.top() <= y;
        bool in_b = cb.top() <= y;
        int next = std::min(in_a ? ca.bottom() : ca.top(), in_b ? cb.bottom() : cb.top());
        std::size_t band = result.boxes_.size();
        append_band(in_a ? ca.boxes() : std::span<const Box>{}, in_b ? cb.boxes() : std::span<const Box>{}, y, next,
                    inside, result.boxes_);
        last_band = coalesce(result.boxes_, last_band, band);
        ca.skip_above(next);
        cb.skip_above(next);
        y = next;
    }
    return result;
}

BoxSet BoxSet::unite(std::span<const Box> boxes, std::size_t most)
{
    if (boxes.empty())
        return {};
    if (boxes.size() == 1)
        return BoxSet(boxes[0]);
    BoxSet half = unite(boxes.first(boxes.size() / 2), most);
    if (half.boxes_.size() > most)
        return half;
    BoxSet other = unite(boxes.subspan(boxes.size() / 2), most);
    return other.boxes_.size() > most ? other : combine(half, other, Op::kUnion, most);
}

Box BoxSet::bounding_box() const
{
    if (boxes_.empty())
        return {};
    Box all = boxes_.front();
    for (const Box &b : boxes_)
        all = {std::min(all.x1, b.x1), all.y1, std::max(all.x2, b.x2), std::max(all.y2, b.y2)};
    return all;
}

std::int64_t BoxSet::area() const
{
    std::int64_t sum = 0;
    for (const Box &b : boxes_)
        sum += b.area();
    return sum;
}

bool BoxSet::contains(int x, int y) const
{
    return std::any_of(boxes_.begin(), boxes_.end(),
                       [=](const Box &b) { return x >= b.x1 && x < b.x2 && y >= b.y1 && y < b.y2; });
}

} // namespace spice_overlay
