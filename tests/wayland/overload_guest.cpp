// SPDX-License-Identifier: LGPL-2.1-or-later
// A hostile guest around a good player: listens where the player looks for its port, passes on what player and client say to each other, and
// puts its own messages between the player's, on streams of its own, as many as it is told or as fast as the port takes them.
//
// usage: overload-guest LISTEN PORT JPEG X Y: sockets' paths, a picture of which its units are made, where its videos are (guest pixels).
// Reads commands from standard input, a line each:
//   streams N RATE     that many streams, with that many messages a second each; 0 0: none
//   burst N            that many messages at once on one stream that is opened for it
//   brief N            that many streams at once, each closed as soon as it is opened
//   chatter RATE       messages of no stream a second
//   garbage N          bytes of no meaning, at once
// and tells every quarter of a second what it has sent and heard, a JSON object a line.
#include "portclient/base/clock.h"
#include "portclient/base/unique_fd.h"
#include "portclient/wire/deframer.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

using namespace spice_overlay;

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint32_t kFirstStream = 20; ///< the player's have smaller numbers
constexpr std::uint32_t kSide = 96;        ///< of a video, guest pixels
constexpr std::size_t kMost = 512 * 1024;  ///< bytes that wait for the port: more are not made
constexpr std::int64_t kSecond = 1'000'000'000;
constexpr std::int64_t kOpenings = 8; ///< a second, of the client's 16: the player may need one

UniqueFd unix_socket(const char *path, bool listens)
{
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path, sizeof address.sun_path - 1);
    const auto *name = reinterpret_cast<const sockaddr *>(&address);
    if (listens ? ::bind(fd.get(), name, sizeof address) != 0 || ::listen(fd.get(), 4) != 0
                : ::connect(fd.get(), name, sizeof address) != 0) {
        std::perror(path);
        std::exit(1);
    }
    return fd;
}

/// One direction's bytes, cut into whole messages.
class Framed {
public:
    /// False: the other end is gone.
    bool read(int fd)
    {
        std::array<std::uint8_t, 65536> room;
        const ssize_t size = ::read(fd, room.data(), room.size());
        if (size <= 0)
            return size < 0 && errno == EAGAIN;
        bytes_.insert(bytes_.end(), room.begin(), room.begin() + size);
        return true;
    }
    template <typename Sink>
    void messages(Sink &&sink)
    {
        std::size_t at = 0;
        while (bytes_.size() - at >= wire::kHeaderSize) {
            const std::size_t size = bytes_[at] | bytes_[at + 1] << 8;
            if (size < wire::kHeaderSize || size > bytes_.size() - at)
                break;
            sink(std::span(bytes_).subspan(at, size));
            at += size;
        }
        bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(at));
    }

private:
    Bytes bytes_;
};

struct Stream {
    bool accepted = false;
    std::uint32_t geometries = 0, units = 0, epoch = 0, turn = 0;
    std::uint64_t unit_bytes = 0, credit_bytes = 0, credit_units = 0;
    std::int64_t burst = 0; ///< messages still to be sent at once; such a stream has no others
    bool is_burst = false;
    double owed = 0; ///< messages
};

class Guest {
public:
    Guest(Bytes picture, int x, int y) : picture_(std::move(picture)), x_(x), y_(y) {}

    void command(const std::string &line)
    {
        std::istringstream words(line);
        std::string what;
        words >> what;
        if (what == "streams")
            words >> wanted_ >> rate_;
        else if (what == "burst")
            words >> burst_;
        else if (what == "chatter")
            words >> chatter_;
        else if (what == "brief") {
            std::size_t count = 0;
            for (words >> count; count > 0; --count)
                send(wire::StreamClose{offer(), wire::Reason::kEndOfStream});
        } else if (what == "garbage") {
            std::size_t size = 0;
            words >> size;
            for (std::uint32_t i = 0; i < size; ++i)
                out_.push_back(static_cast<std::uint8_t>((i * 2654435761u) >> 13));
        }
    }

    /// From the client. True: it is the player's.
    bool heard(std::span<const std::uint8_t> message)
    {
        wire::Message decoded;
        std::string why;
        if (!wire::decode(message, decoded, why))
            return true;
        if (const auto *hello = std::get_if<wire::Hello>(&decoded)) {
            if (hello->nonce != nonce_) { // all begins anew, the numbers of streams too
                streams_.clear();
                next_ = kFirstStream;
                ++conversations_;
            }
            nonce_ = hello->nonce;
            established_ = hello->peer_nonce != 0;
            return true;
        }
        if (const auto *pong = std::get_if<wire::Pong>(&decoded))
            return pong->id < kChatter;
        const std::uint32_t id = std::visit(
            [](const auto &m) -> std::uint32_t {
                if constexpr (requires { m.stream; })
                    return m.stream;
                return 0;
            },
            decoded);
        if (id < kFirstStream)
            return true;
        const bool accepted = std::holds_alternative<wire::StreamAccept>(decoded);
        accepted_ += accepted;
        if (const auto *refusal = std::get_if<wire::StreamReject>(&decoded)) {
            ++refused_;
            without_resources_ += refusal->reason == wire::Reason::kNoResources;
        }
        if (const auto it = streams_.find(id); it != streams_.end()) {
            if (accepted)
                it->second.accepted = true;
            if (const auto *credit = std::get_if<wire::Credit>(&decoded)) {
                it->second.credit_bytes = credit->bytes;
                it->second.credit_units = credit->units;
            }
            if (std::holds_alternative<wire::StreamReject>(decoded)
                || std::holds_alternative<wire::StreamClose>(decoded)) {
                ended_ += std::holds_alternative<wire::StreamClose>(decoded);
                streams_.erase(it);
            }
        }
        return false;
    }

    /// Makes what is due, while there is room.
    void work(std::int64_t now)
    {
        const double seconds = std::min(static_cast<double>(now - last_) / 1e9, 0.1);
        last_ = now;
        if (!established_)
            return;
        const auto steady = [this] { // streams without a burst
            return static_cast<std::size_t>(
                std::count_if(streams_.begin(), streams_.end(), [](const auto &s) { return !s.second.is_burst; }));
        };
        if (now - opened_at_ >= kSecond / kOpenings && (burst_ > 0 || steady() < wanted_)) {
            opened_at_ = now;
            open();
        }
        for (std::size_t left = steady(); left > wanted_; --left) {
            const auto it =
                std::find_if(streams_.begin(), streams_.end(), [](const auto &s) { return !s.second.is_burst; });
            send(wire::StreamClose{it->first, wire::Reason::kEndOfStream});
            streams_.erase(it);
        }
        for (auto &[id, stream] : streams_) {
            if (!stream.accepted)
                continue;
            if (stream.is_burst) {
                for (; stream.burst > 0; --stream.burst)
                    geometry(id, stream, 1);
                continue;
            }
            stream.owed = std::min(stream.owed + rate_ * seconds, rate_ * 0.1);
            // In turns of a few, so that all streams have theirs when there is little room.
            for (; stream.owed >= 1 && out_.size() < kMost; --stream.owed)
                message(id, stream);
        }
        owed_ = std::min(owed_ + chatter_ * seconds, chatter_ * 0.1);
        for (; owed_ >= 1 && out_.size() < kMost; --owed_) {
            if (++chatters_ % 2)
                send(wire::Ping{kChatter + chatters_, static_cast<std::uint64_t>(now)});
            else
                send(wire::Geometry{.stream = 1'000'000 + chatters_,
                                    .serial = 1,
                                    .display = 0,
                                    .target = {0, 0, 9, 9},
                                    .crop = {},
                                    .placeholder = {},
                                    .visible = {}});
        }
    }

    [[nodiscard]] std::string report() const
    {
        std::ostringstream text;
        text << "{\"messages\": " << messages_ << ", \"geometries\": " << geometries_ << ", \"units\": " << units_
             << ", \"opened\": " << opened_ << ", \"accepted\": " << accepted_ << ", \"refused\": " << refused_
             << ", \"without_resources\": " << without_resources_ << ", \"ended\": " << ended_
             << ", \"conversations\": " << conversations_ << ", \"live\": " << streams_.size()
             << ", \"bytes\": " << bytes_ << "}";
        return text.str();
    }

    Bytes &out() { return out_; }
    void passed(std::size_t bytes) { bytes_ += bytes; }
    void hung_up()
    {
        streams_.clear();
        established_ = false;
        out_.clear();
    }

private:
    static constexpr std::uint32_t kChatter = 1u << 30;
    static constexpr unsigned kBars = 2;

    void send(const wire::Message &message)
    {
        wire::encode(message, out_);
        ++messages_;
    }

    void open()
    {
        Stream stream;
        stream.is_burst = burst_ > 0;
        stream.burst = std::exchange(burst_, 0);
        streams_[offer()] = stream;
    }

    /// Returns the stream's number.
    std::uint32_t offer()
    {
        wire::StreamOpen open;
        open.stream = next_++;
        open.codec = wire::Codec::kMjpeg;
        open.coded_width = open.coded_height = kSide;
        send(open);
        ++opened_;
        return open.stream;
    }

    void geometry(std::uint32_t id, Stream &stream, unsigned rects)
    {
        wire::Geometry geometry;
        geometry.stream = id;
        geometry.serial = ++stream.geometries;
        const auto place = static_cast<std::int32_t>((id * 7 + stream.geometries) % 300);
        geometry.target = {x_ + place, y_ + place / 2, kSide, kSide};
        geometry.placeholder = 0x123456;
        const unsigned step = rects > 100 ? 6 : kSide / rects;
        for (unsigned i = 0; i < rects; ++i) // a pattern of tiles
            geometry.visible.push_back({geometry.target.x + static_cast<std::int32_t>(i % 16 * step),
                                        geometry.target.y + static_cast<std::int32_t>(i / 16 * step), step - 1,
                                        step - 1});
        if (rects == kBars) { // bars across bars: thousands of tiles
            geometry.visible.clear();
            for (std::int32_t i = 0; i < std::int32_t{kSide / 2}; ++i) {
                geometry.visible.push_back({geometry.target.x + 2 * i, geometry.target.y, 1, kSide});
                geometry.visible.push_back({geometry.target.x, geometry.target.y + 2 * i, kSide, 1});
            }
        }
        send(geometry);
        ++geometries_;
    }

    void message(std::uint32_t id, Stream &stream)
    {
        const std::uint32_t turn = stream.turn++;
        if (turn % 97 == 0)
            return send(wire::PlayState{id, stream.epoch += 1, wire::PlayMode::kPlaying, 65536});
        if (turn % 2 == 0 && stream.units < stream.credit_units
            && stream.unit_bytes + picture_.size() <= stream.credit_bytes)
            return unit(id, stream);
        geometry(id, stream, turn % 10 == 1 ? 256 : turn % 10 == 5 ? kBars : turn % 3 ? 1 : 4);
    }

    void unit(std::uint32_t id, Stream &stream)
    {
        wire::AccessUnit unit;
        unit.stream = id;
        unit.serial = stream.units++;
        unit.epoch = stream.epoch;
        unit.flags = wire::kKey;
        unit.pts = monotonic_now();
        unit.data = picture_;
        std::vector<std::size_t> ends;
        wire::encode_access_unit(unit, out_, ends);
        stream.unit_bytes += picture_.size();
        messages_ += ends.size();
        ++units_;
    }

    const Bytes picture_;
    const int x_, y_; // guest pixels
    std::map<std::uint32_t, Stream> streams_;
    std::uint32_t next_ = kFirstStream;
    std::uint64_t nonce_ = 0;
    bool established_ = false;
    std::size_t wanted_ = 0;
    double rate_ = 0, chatter_ = 0, owed_ = 0;
    std::int64_t burst_ = 0;
    std::uint32_t chatters_ = 0;
    std::int64_t last_ = 0, opened_at_ = 0;
    std::uint64_t messages_ = 0, geometries_ = 0, units_ = 0, opened_ = 0, accepted_ = 0, refused_ = 0,
                  without_resources_ = 0, ended_ = 0, conversations_ = 0, bytes_ = 0;
    Bytes out_; ///< whole messages
};

void set_nonblocking(int fd)
{
    ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
}

/// Writes what it takes now. False: it is gone.
bool write_some(int fd, Bytes &bytes, Guest *counter = nullptr)
{
    if (bytes.empty())
        return true;
    const ssize_t size = ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (size < 0)
        return errno == EAGAIN;
    if (counter)
        counter->passed(static_cast<std::size_t>(size));
    bytes.erase(bytes.begin(), bytes.begin() + size);
    return true;
}

/// Until player or port hangs up. False: nobody gives commands any more.
bool serve(Guest &guest, int player, int port)
{
    Framed from_player, from_port;
    Bytes to_player;
    std::string commands;
    std::int64_t told = 0;
    set_nonblocking(player);
    set_nonblocking(port);
    for (;;) {
        pollfd fds[] = {{player, POLLIN, 0}, {port, POLLIN, 0}, {STDIN_FILENO, POLLIN, 0}};
        if (!to_player.empty())
            fds[0].events |= POLLOUT;
        if (!guest.out().empty())
            fds[1].events |= POLLOUT;
        ::poll(fds, std::size(fds), 2);
        if (fds[0].revents & (POLLIN | POLLHUP) && guest.out().size() < kMost && !from_player.read(player))
            return true;
        if (fds[1].revents & (POLLIN | POLLHUP) && !from_port.read(port))
            return true;
        if (fds[2].revents) {
            char room[4096];
            const ssize_t size = ::read(STDIN_FILENO, room, sizeof room);
            if (size <= 0)
                return false;
            commands.append(room, static_cast<std::size_t>(size));
            for (std::size_t end; (end = commands.find('\n')) != std::string::npos; commands.erase(0, end + 1))
                guest.command(commands.substr(0, end));
        }
        from_player.messages(
            [&](auto message) { guest.out().insert(guest.out().end(), message.begin(), message.end()); });
        from_port.messages([&](auto message) {
            if (guest.heard(message))
                to_player.insert(to_player.end(), message.begin(), message.end());
        });
        const std::int64_t now = monotonic_now();
        guest.work(now);
        if (!write_some(player, to_player) || !write_some(port, guest.out(), &guest))
            return true;
        if (now - told >= kSecond / 4) {
            std::puts(guest.report().c_str());
            told = now;
        }
    }
}

} // namespace

int main(int argc, char **argv)
{
    if (argc != 6) {
        std::fprintf(stderr, "usage: overload-guest LISTEN PORT JPEG X Y\n");
        return 2;
    }
    std::setvbuf(stdout, nullptr, _IOLBF, 0);
    std::ifstream file(argv[3], std::ios::binary);
    Guest guest(Bytes(std::istreambuf_iterator<char>(file), {}), std::atoi(argv[4]), std::atoi(argv[5]));
    const UniqueFd listener = unix_socket(argv[1], true);
    for (;;) {
        const UniqueFd player(::accept(listener.get(), nullptr, nullptr));
        const UniqueFd port = unix_socket(argv[2], false);
        if (!serve(guest, player.get(), port.get()))
            return 0;
        guest.hung_up();
    }
}
