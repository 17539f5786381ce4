// SPDX-License-Identifier: LGPL-2.1-or-later
#include "session_fixture.h"

#include <deque>
#include <random>

namespace spice_overlay::test {
namespace {

/// A guest that sends all that its source has and its credit allows, over a link of a certain rate and delay, to a
/// decoder of a certain speed. Time goes in steps of a millisecond.
struct Model {
    const char *name;
    std::uint64_t bit_rate; ///< of the source, bits per second; 0: as much as the credit allows
    std::uint32_t hint;     ///< in STREAM_OPEN
    unsigned frames;        ///< per second
    std::uint64_t link;     ///< bits per second
    int delay_ms;           ///< one way
    int decode_ms;          ///< for each unit
    std::uint64_t bound;    ///< bytes in flight, at most
    double min_rate;        ///< bits per second that must arrive
};

struct Result {
    std::uint64_t max_in_flight = 0; ///< bytes of units sent and not received
    std::uint32_t max_queued = 0;    ///< units sent and not decoded
    std::uint64_t received = 0;
    std::size_t credits = 0;
    std::size_t units = 0;
    int stalled_ms = 0; ///< with a unit to send and no credit for it
};

class Simulation {
public:
    explicit Simulation(const Model &model) : model_(model)
    {
        bench_.establish();
        wire::StreamOpen open = h264(1);
        open.bit_rate = model.hint;
        bench_.from_guest(open);
        bench_.on_unit = [this](const wire::AccessUnit &) {
            decoder_free_at_ = std::max(decoder_free_at_, ms_) + model_.decode_ms;
            decoding_.push_back(decoder_free_at_);
        };
        hear();
    }

    Result run(int duration_ms)
    {
        for (ms_ = 0; ms_ < duration_ms; ++ms_) {
            bench_.now += kMs;
            produce();
            send();
            carry();
            std::uint32_t done = 0;
            for (; !decoding_.empty() && decoding_.front() <= ms_; decoding_.pop_front())
                ++done;
            if (done > 0) {
                decoded_ += done;
                bench_.session.units_done(1, done, bench_.now);
            }
            hear();
            EXPECT_LE(sent_ - result_.received, bench_.session.counters().max_in_flight);
        }
        return result_;
    }

    Bench &bench() { return bench_; }

private:
    void produce() // the source: unit sizes vary by 4, and a key unit of six times the size comes every second
    {
        double per_unit = model_.bit_rate / 8.0 / model_.frames;
        while (model_.bit_rate && made_ * 1000.0 / model_.frames <= ms_) {
            double share = made_ % model_.frames == 0 ? 6 : 0.4 + random_() % 1000 / 900.0;
            make(static_cast<std::size_t>(per_unit * share) + 1);
        }
        if (!model_.bit_rate && messages_.empty())
            make(20'000);
    }

    void make(std::size_t size)
    {
        Bytes data(size, 1), bytes;
        std::vector<std::size_t> ends;
        wire::encode_access_unit({.stream = 1, .serial = made_++, .pts = ms_ * kMs, .data = data}, bytes, ends);
        std::size_t start = 0;
        for (std::size_t end : ends) {
            std::size_t payload = std::min(wire::kChunkPayload, size);
            size -= payload;
            messages_.push_back(
                {{bytes.begin() + static_cast<std::ptrdiff_t>(start), bytes.begin() + static_cast<std::ptrdiff_t>(end)},
                 payload,
                 start == 0,
                 0});
            start = end;
        }
    }

    void send()
    {
        while (!messages_.empty()) {
            auto &message = messages_.front();
            if (sent_ + message.payload > credit_.bytes || (message.first && begun_ >= credit_.units)) {
                ++result_.stalled_ms;
                return;
            }
            sent_ += message.payload;
            begun_ += message.first;
            message.sent_ms = ms_;
            link_.push_back(std::move(message));
            messages_.pop_front();
            result_.max_in_flight = std::max(result_.max_in_flight, sent_ - result_.received);
            result_.max_queued = std::max(result_.max_queued, begun_ - decoded_);
            if (!model_.bit_rate && messages_.empty())
                make(20'000);
        }
    }

    void carry()
    {
        link_budget_ = std::min(link_budget_ + model_.link / 8e3, model_.link / 8e3 * 4);
        while (!link_.empty() && link_.front().sent_ms + model_.delay_ms <= ms_ && link_budget_ > 0) {
            auto message = std::move(link_.front());
            link_.pop_front();
            link_budget_ -= static_cast<double>(message.bytes.size());
            bench_.session.feed(message.bytes, bench_.now);
            result_.received += message.payload;
            result_.units += message.first;
        }
    }

    void hear() // what the client said takes its time too
    {
        for (const auto &credit : bench_.sent<wire::Credit>()) {
            ++result_.credits;
            coming_.push_back({ms_ + (result_.credits > 1 ? model_.delay_ms : 0), credit});
        }
        for (; !coming_.empty() && coming_.front().first <= ms_; coming_.pop_front()) {
            EXPECT_GE(coming_.front().second.bytes, credit_.bytes) << "a limit has shrunk";
            EXPECT_GE(coming_.front().second.units, credit_.units) << "a limit has shrunk";
            credit_ = coming_.front().second;
        }
        EXPECT_TRUE(bench_.sent<wire::StreamClose>().empty()) << "the guest kept to its credit";
    }

    struct Piece {
        Bytes bytes;
        std::size_t payload;
        bool first;
        int sent_ms;
    };

    const Model model_;
    Bench bench_;
    Result result_;
    wire::Credit credit_;
    std::mt19937 random_{1};
    std::deque<Piece> messages_, link_;
    std::deque<std::pair<int, wire::Credit>> coming_;
    std::deque<int> decoding_;
    int ms_ = 0, decoder_free_at_ = 0;
    std::uint32_t made_ = 0, begun_ = 0, decoded_ = 0;
    std::uint64_t sent_ = 0;
    double link_budget_ = 0;
};

constexpr std::uint64_t kFloor = 256 * 1024;

TEST(Credit, in_flight_stays_within_a_quarter_second_or_256_kib_and_the_stream_is_not_held_up)
{
    const Model models[] = {
        {"1 Mbit/s", 1'000'000, 0, 25, 1'000'000'000, 1, 3, kFloor, 0.9e6},
        {"8 Mbit/s on a far link", 8'000'000, 0, 60, 50'000'000, 25, 3, kFloor + kFloor / 4, 7e6},
        {"20 Mbit/s, announced", 20'000'000, 20'000'000, 60, 1'000'000'000, 5, 3, 2 * 20'000'000 / 8 / 4, 18e6},
        {"40 Mbit/s, not announced", 40'000'000, 0, 30, 1'000'000'000, 5, 3, 2 * 40'000'000 / 8 / 4, 36e6},
        {"announces 4 Gbit/s, sends 5 Mbit/s", 5'000'000, 4'000'000'000, 30, 1'000'000'000, 5, 3, 100'000'000 / 8 / 4,
         4.5e6},
        {"link of half the rate", 8'000'000, 8'000'000, 30, 4'000'000, 5, 3, kFloor, 3.5e6},
        {"sends all that it may", 0, 0, 30, 200'000'000, 5, 1, 100'000'000 / 8 / 4, 50e6},
        {"slow decoder", 0, 0, 30, 200'000'000, 1, 50, kFloor, 2.5e6},
    };
    for (const Model &model : models) {
        SCOPED_TRACE(model.name);
        Simulation simulation(model);
        Result r = simulation.run(5000);
        EXPECT_LE(r.max_in_flight, model.bound);
        EXPECT_LE(simulation.bench().session.counters().max_in_flight, model.bound);
        EXPECT_LE(r.max_queued, 16u);
        EXPECT_GE(static_cast<double>(r.received) * 8 / 5, model.min_rate);
        EXPECT_LE(r.credits, 2 + r.units / (r.stalled_ms > 0 ? 1 : 2) + r.received / (kFloor / 4)) << "few messages";
        RecordProperty(model.name,
                       std::to_string(r.max_in_flight) + " bytes, " + std::to_string(r.credits) + " credits");
    }
}

TEST(Credit, client_that_stops_reading_has_no_more_than_the_window_to_read)
{
    Model model{"stalled", 0, 0, 30, 0, 1, 1, kFloor, 0};
    Simulation simulation(model);
    Result r = simulation.run(2000);
    EXPECT_EQ(r.received, 0u);
    EXPECT_LE(r.max_in_flight, kFloor);
    EXPECT_GT(r.max_in_flight, 100'000u);
}

TEST_F(SessionTest, guest_that_begins_one_unit_more_than_its_credit_loses_the_stream)
{
    open(1);
    open(2);
    EXPECT_EQ(bench.sent<wire::Credit>().front(), (wire::Credit{1, 256 * 1024, 16}));
    for (std::uint32_t serial = 0; serial < 16; ++serial)
        bench.unit(1, serial, 10);
    bench.take_events();
    bench.unit(1, 16, 10);
    EXPECT_EQ(bench.take_events(), std::vector{closed(1, wire::Reason::kProtocolError)});
    bench.unit(2, 0);
    EXPECT_EQ(bench.take_events().size(), 1u);
}

TEST_F(SessionTest, answering_for_more_units_than_came_gives_no_more_credit)
{
    open(1);
    bench.unit(1, 0);
    bench.session.units_done(1, 1000, bench.now);
    bench.session.units_done(1, UINT32_MAX, bench.now);
    for (std::uint32_t serial = 1; serial <= 16; ++serial)
        bench.unit(1, serial);
    EXPECT_EQ(bench.session.counters().protocol_errors, 0u) << "1 done and 16 more";
    EXPECT_EQ(bench.sent<wire::Credit>().back().units, 17u);
    bench.unit(1, 17);
    EXPECT_EQ(bench.session.counters().protocol_errors, 1u);
}

} // namespace
} // namespace spice_overlay::test
