// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/unique_fd.h"
#include "portclient/wire/deframer.h"
#include "portclient/wire/handshake.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace spice_overlay::test {

/// The client's end of a port, as little of a client as shows what the sender does. It counts what the protocol
/// forbids in `errors`. One thread: everything happens in run_until().
class ModelClient {
public:
    /// What came, in the order in which it came.
    struct Unit {
        std::uint32_t stream = 0, serial = 0, epoch = 0;
        std::uint16_t flags = 0;
        std::int64_t pts = 0;
        std::int64_t arrived = 0; ///< of its last byte; ns of CLOCK_MONOTONIC, as pts
        std::vector<std::uint8_t> data;
        bool key() const { return flags & wire::kKey; }
        bool gap() const { return flags & wire::kDiscontinuity; }
    };
    std::vector<Unit> units;
    std::vector<wire::StreamOpen> opens;
    std::vector<wire::Geometry> geometries;
    std::vector<wire::PlayState> states;
    std::vector<wire::StreamClose> closes;
    std::vector<wire::Pong> pongs;
    std::vector<std::string> order; ///< names of the messages: "open 1", "unit 1", "chunk 1", "geometry 1" ...
    std::vector<std::string> errors;
    int established = 0; ///< conversations so far

    // How it behaves.
    std::uint64_t window = 256 * 1024; ///< bytes of credit beyond what has come
    std::uint32_t unit_window = 8;
    bool gives_credit = true;
    wire::Reason refuses_with = wire::Reason::kNone;

    ModelClient();
    explicit ModelClient(wire::Hello hello); ///< says this of itself

    /// Waits for the program to connect to `listener`.
    [[nodiscard]] bool accept(int listener);
    void use(UniqueFd fd); ///< this is the port now
    void begin();          ///< a new conversation: HELLO with a fresh nonce
    void hang_up();        ///< the port closes
    void send(const wire::Message &message);
    void send_bytes(std::span<const std::uint8_t> bytes);
    void give_credit(std::uint32_t stream);

    /// Takes in what comes until `done()` or `seconds` have passed; true when done.
    [[nodiscard]] bool run_until(const std::function<bool()> &done, double seconds = 20);
    /// Takes in what comes for a while: only to show that nothing does.
    void run_for(double seconds);

    [[nodiscard]] int fd() const { return fd_.get(); }
    [[nodiscard]] bool port_open() const { return fd_.valid(); }
    [[nodiscard]] std::vector<Unit> units_of(std::uint32_t stream) const;

private:
    void receive(const wire::Message &message);
    void first(const wire::AccessUnit &unit);
    void chunk(const wire::AccessUnitChunk &chunk);
    void took(std::uint32_t stream, std::size_t bytes);

    struct Stream {
        std::uint64_t bytes_granted = 0, bytes = 0;
        std::uint32_t units_granted = 0, begun = 0, whole = 0;
        std::uint32_t epoch = 0;
        std::size_t total = 0;
        Unit current;
        wire::UnitReference reference;
    };
    UniqueFd fd_;
    wire::Handshake handshake_;
    wire::Deframer deframer_;
    std::map<std::uint32_t, Stream> streams_;
    std::uint64_t nonce_ = 100;
};

[[nodiscard]] UniqueFd listen_unix(const std::string &path);

/// The program under test, with its standard error read back.
class Program {
public:
    /// `geometry`: the number of its descriptor stays open in the program; -1 none.
    explicit Program(std::vector<std::string> words, int inherited = -1,
                     const char *program = nullptr); ///< nullptr: spice-overlay-play
    ~Program();
    Program(const Program &) = delete;

    /// Its exit status; -1 when it has not ended after `seconds`, -2 when a signal ended it.
    [[nodiscard]] int wait(double seconds = 20);
    [[nodiscard]] bool running();
    void signal(int number);
    [[nodiscard]] std::string errors(); ///< what it has written to standard error so far
    [[nodiscard]] bool wait_for_error(const std::string &text, double seconds = 20);
    /// How often it has gone to sleep, from /proc; negative when that is not there.
    [[nodiscard]] long sleeps() const;
    [[nodiscard]] int pid() const { return pid_; }

private:
    int pid_ = -1;
    int status_ = -1;
    bool ended_ = false;
    UniqueFd stderr_;
    std::string errors_;
};

} // namespace spice_overlay::test
