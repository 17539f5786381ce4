// SPDX-License-Identifier: LGPL-2.1-or-later
#include "publisher.h"

#include <glib.h>

#include <algorithm>
#include <cstdio>
#include <set>
#include <sstream>

namespace spice_overlay::host {

namespace {

constexpr std::size_t kMaxWaiting = 4; // drawing commands that spice-server has not taken yet
constexpr int kRandomSkew = 50;        // ms, either way

std::string geometry_line(const VideoView &view)
{
    char placeholder[8];
    std::snprintf(placeholder, sizeof placeholder, "%06X", view.placeholder);
    std::ostringstream line;
    line << "geometry " << view.index << ' ' << view.display << ' ' << view.target.x << ' ' << view.target.y << ' '
         << view.target.w << ' ' << view.target.h << ' ' << placeholder << ' ' << view.visible.size();
    for (const Rect &rect : view.visible)
        line << ' ' << rect.x << ' ' << rect.y << ' ' << rect.w << ' ' << rect.h;
    return line.str();
}

std::string command_line(const Player::VideoCommand &command)
{
    std::ostringstream line;
    line << command.verb << ' ' << command.index;
    if (command.verb == std::string_view("seek"))
        line << ' ' << command.seconds;
    return line.str();
}

} // namespace

Publisher::Publisher(Desktop &desktop, QxlDisplay &display, Skew skew, Send send, std::function<void()> settled)
    : desktop_(desktop), display_(display), skew_(skew), send_(std::move(send)), settled_(std::move(settled))
{
    display_.on_drained([this] {
        if (postponed_)
            publish();
        if (this->settled())
            settled_();
    });
}

Publisher::~Publisher()
{
    display_.on_drained(nullptr);
    if (timer_ != 0)
        g_source_remove(timer_);
}

Drawing Publisher::drawing_of(const std::vector<Rect> &areas) const
{
    Drawing drawing;
    int left = desktop_.width();
    int top = desktop_.height();
    int right = 0;
    int bottom = 0;
    for (const Rect &area : areas) {
        left = std::min(left, area.x);
        top = std::min(top, area.y);
        right = std::max(right, area.right());
        bottom = std::max(bottom, area.bottom());
    }
    drawing.box = {left, top, right - left, bottom - top};
    drawing.areas = areas;
    drawing.pixels.resize(static_cast<std::size_t>(drawing.box.w) * static_cast<std::size_t>(drawing.box.h));
    for (const Rect &area : areas)
        for (int y = area.y; y < area.bottom(); ++y)
            std::copy_n(desktop_.pixels().data() + static_cast<std::ptrdiff_t>(y) * desktop_.width() + area.x, area.w,
                        drawing.pixels.data() + static_cast<std::ptrdiff_t>(y - top) * drawing.box.w + (area.x - left));
    return drawing;
}

void Publisher::publish()
{
    postponed_ = display_.waiting() >= kMaxWaiting;
    if (postponed_)
        return;
    std::vector<Rect> areas = desktop_.paint();
    Lines lines{};
    // What was closed and opened again at one tick: with the first of these its sender forgets where it was.
    std::set<int> reopened;
    for (const Player::VideoCommand &command : commands_)
        if (command.verb == std::string_view("close"))
            reopened.insert(command.index);
    for (const VideoView &view : desktop_.videos()) {
        std::string line = geometry_line(view);
        if (view.state == VideoView::State::kClosed) {
            published_.erase(view.index);
            reopened.erase(view.index);
        } else if (published_[view.index] != line || reopened.contains(view.index)) {
            published_[view.index] = line;
            lines.geometries[view.index] = line;
            if (!reopened.contains(view.index))
                lines.lines.push_back(std::move(line));
        }
    }
    for (const Player::VideoCommand &command : commands_)
        lines.lines.push_back(command_line(command));
    for (int index : reopened)
        lines.lines.push_back(published_[index]);
    lines.commands = std::exchange(commands_, {});

    std::uniform_int_distribution<int> any(-kRandomSkew, kRandomSkew);
    int skew = skew_.random ? any(random_) : skew_.milliseconds;
    std::int64_t now = g_get_monotonic_time();
    if (!areas.empty()) {
        std::int64_t due = now + std::max(0, -skew) * INT64_C(1000);
        pictures_.push_back({pictures_.empty() ? due : std::max(due, pictures_.back().due), drawing_of(areas)});
    }
    if (!lines.lines.empty()) {
        lines.due = now + std::max(0, skew) * INT64_C(1000);
        if (!lines_.empty())
            lines.due = std::max(lines.due, lines_.back().due);
        lines_.push_back(std::move(lines));
    }
    flush();
}

void Publisher::flush()
{
    std::int64_t now = g_get_monotonic_time();
    for (; !pictures_.empty() && pictures_.front().due <= now;) {
        display_.draw(pictures_.front().drawing);
        pictures_.pop_front();
    }
    for (; !lines_.empty() && lines_.front().due <= now;) {
        send(lines_.front());
        lines_.pop_front();
    }
    if (!pictures_.empty() || !lines_.empty()) {
        std::int64_t due = std::min(pictures_.empty() ? INT64_MAX : pictures_.front().due,
                                    lines_.empty() ? INT64_MAX : lines_.front().due);
        if (timer_ != 0)
            g_source_remove(timer_);
        timer_ = g_timeout_add(static_cast<unsigned>((due - now + 999) / 1000), [](gpointer data) -> gboolean {
            static_cast<Publisher *>(data)->timer_ = 0;
            static_cast<Publisher *>(data)->flush();
            if (static_cast<Publisher *>(data)->settled())
                static_cast<Publisher *>(data)->settled_();
            return G_SOURCE_REMOVE;
        }, this);
    }
}

void Publisher::send(const Lines &lines)
{
    for (const auto &[index, line] : lines.geometries)
        sent_[index].geometry = line;
    for (const Player::VideoCommand &command : lines.commands) {
        std::string_view verb = command.verb;
        Sent &sent = sent_[command.index];
        if (verb == "open" || verb == "close")
            sent.open = verb == "open";
        if (verb != "seek")
            sent.paused = verb == "pause";
    }
    for (const std::string &line : lines.lines)
        send_(line);
    geometry_lines_ += lines.geometries.size();
}

bool Publisher::settled() const
{
    return !postponed_ && pictures_.empty() && lines_.empty() && display_.waiting() == 0;
}

void Publisher::replay(const Send &send) const
{
    for (const auto &[index, sent] : sent_) {
        if (!sent.open)
            continue;
        send(sent.geometry);
        send("open " + std::to_string(index));
        if (sent.paused)
            send("pause " + std::to_string(index));
    }
}

} // namespace spice_overlay::host
