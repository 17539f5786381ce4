// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "geometry.h"

#include <cstddef>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

namespace spice_overlay {

/// A set of pixels as boxes in canonical form: bands from top to bottom, boxes of a band from left to right, neither
/// touching nor overlapping, and no two bands that could be one. Equal sets have equal boxes.
/// Linear in the number of boxes per operation, those of the result included, which may be many more: 100 bars across 100 others are 10,000
/// boxes and more. For what others have drawn up there are variants with a limit.
class BoxSet {
public:
    [[nodiscard]] bool empty() const { return boxes_.empty(); }
    [[nodiscard]] const std::vector<Box> &boxes() const & { return boxes_; }
    const std::vector<Box> &boxes() && = delete; ///< a range-for over a temporary's boxes would read freed memory
    [[nodiscard]] std::int64_t area() const;
    [[nodiscard]] bool contains(int x, int y) const;
    bool operator==(const BoxSet &) const = default;

protected:
    enum class Op { kUnion, kIntersect, kSubtract };
    BoxSet() = default;
    explicit BoxSet(const Box &box);
    static constexpr std::size_t kAny = std::numeric_limits<std::size_t>::max();
    /// More than `most` boxes: it has stopped there.
    [[nodiscard]] static BoxSet combine(const BoxSet &a, const BoxSet &b, Op op, std::size_t most = kAny);
    [[nodiscard]] static BoxSet unite(std::span<const Box> boxes, std::size_t most = kAny);
    [[nodiscard]] Box bounding_box() const;

    std::vector<Box> boxes_;
};

/// Exact region algebra over one coordinate space.
template <typename Space>
class Region : public BoxSet {
public:
    Region() = default;
    Region(const Rect<Space> &rect) : BoxSet(rect) {}
    /// The union of any rectangles, overlapping or not.
    explicit Region(std::span<const Rect<Space>> rects)
        : Region(unite({static_cast<const Box *>(rects.data()), rects.size()}))
    {
        static_assert(sizeof(Rect<Space>) == sizeof(Box));
    }

    /// The same where that takes no more than `most` boxes; nothing else, and no time for more.
    [[nodiscard]] static std::optional<Region> united(std::span<const Rect<Space>> rects, std::size_t most)
    {
        return limited(unite({static_cast<const Box *>(rects.data()), rects.size()}, most), most);
    }
    [[nodiscard]] std::optional<Region> plus(const Region &o, std::size_t most) const
    {
        return limited(combine(*this, o, Op::kUnion, most), most);
    }
    [[nodiscard]] std::optional<Region> minus(const Region &o, std::size_t most) const
    {
        return limited(combine(*this, o, Op::kSubtract, most), most);
    }

    [[nodiscard]] Rect<Space> bounds() const { return {bounding_box()}; }
    [[nodiscard]] bool is(const Rect<Space> &rect) const { return *this == Region(rect); }

    friend Region operator|(const Region &a, const Region &b) { return Region(combine(a, b, Op::kUnion)); }
    friend Region operator&(const Region &a, const Region &b) { return Region(combine(a, b, Op::kIntersect)); }
    friend Region operator-(const Region &a, const Region &b) { return Region(combine(a, b, Op::kSubtract)); }
    Region &operator|=(const Region &o) { return *this = *this | o; }
    Region &operator&=(const Region &o) { return *this = *this & o; }
    Region &operator-=(const Region &o) { return *this = *this - o; }
    /// The pixels that are in exactly one of the two.
    [[nodiscard]] Region difference(const Region &o) const { return (*this - o) | (o - *this); }

    [[nodiscard]] Rect<Space> rect(std::size_t i) const { return {boxes_[i]}; }

    /// The same pixels in a space whose origin differs: (x, y) here is (x + dx, y + dy) there.
    template <typename To>
    [[nodiscard]] Region<To> moved_to(int dx, int dy) const
    {
        Region<To> moved(BoxSet(*this));
        for (Box &b : moved.boxes_)
            b = {b.x1 + dx, b.y1 + dy, b.x2 + dx, b.y2 + dy};
        return moved;
    }

private:
    template <typename>
    friend class Region;
    explicit Region(BoxSet set) : BoxSet(std::move(set)) {}
    [[nodiscard]] static std::optional<Region> limited(BoxSet set, std::size_t most)
    {
        if (set.boxes().size() > most)
            return std::nullopt;
        return Region(std::move(set));
    }
};

using GuestRegion = Region<GuestSpace>;
using SurfaceRegion = Region<SurfaceSpace>;

} // namespace spice_overlay
