// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "geometry.h"

#include <span>
#include <vector>

namespace spice_overlay {

/// A set of pixels as boxes in canonical form: bands from top to bottom, boxes of a band from left to right, neither
/// touching nor overlapping, and no two bands that could be one. Equal sets have equal boxes.
/// Linear in the number of boxes per operation.
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
    [[nodiscard]] static BoxSet combine(const BoxSet &a, const BoxSet &b, Op op);
    [[nodiscard]] static BoxSet unite(std::span<const Box> boxes);
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
};

using GuestRegion = Region<GuestSpace>;
using SurfaceRegion = Region<SurfaceSpace>;

} // namespace spice_overlay
