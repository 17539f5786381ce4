// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gst/gst.h>

#include <cstddef>
#include <deque>

namespace spice_overlay::gst {

/// The current group of pictures: what a decoder that begins now has to be given. Holds references, no copies. One thread at a time.
class UnitCache {
public:
    static constexpr std::size_t kMostUnits = 1200;
    static constexpr std::size_t kMostBytes = 96 << 20;

    UnitCache() = default;
    ~UnitCache() { clear(); }
    UnitCache(const UnitCache &) = delete;

    void add(GstBuffer *unit, bool key)
    {
        if (key) {
            clear();
            begun_ = true;
        }
        if (!begun_)
            return;
        bytes_ += gst_buffer_get_size(unit);
        if (units_.size() == kMostUnits || bytes_ > kMostBytes) {
            clear(); // without its beginning the rest is of no use
            return;
        }
        units_.push_back(gst_buffer_ref(unit));
    }
    void clear()
    {
        for (GstBuffer *unit : units_)
            gst_buffer_unref(unit);
        units_.clear();
        bytes_ = 0;
        begun_ = false;
    }
    [[nodiscard]] const std::deque<GstBuffer *> &units() const { return units_; }

private:
    std::deque<GstBuffer *> units_;
    std::size_t bytes_ = 0;
    bool begun_ = false; ///< with a key unit
};

} // namespace spice_overlay::gst
