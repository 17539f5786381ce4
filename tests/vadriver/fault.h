// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <span>
#include <string>

namespace spice_overlay {

/// What goes wrong on purpose in a driver of the tests, and when: an environment variable, "NAME" or "NAME:PICTURES" (once so many have
/// been decoded), or several of these with commas between them.
class Fault {
public:
    /// `names` are those that are known: another ends the process.
    [[nodiscard]] static Fault from_environment(const char *variable, std::span<const char *const> names);
    void picture_done() { ++pictures_; }
    /// Whether it goes wrong now.
    [[nodiscard]] bool is(const char *name) const
    {
        const auto found = after_.find(name);
        return found != after_.end() && pictures_ >= found->second;
    }

private:
    std::map<std::string, unsigned> after_;
    unsigned pictures_ = 0;
};

} // namespace spice_overlay
