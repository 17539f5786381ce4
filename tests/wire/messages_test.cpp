// SPDX-License-Identifier: LGPL-2.1-or-later
#include "allocations.h"
#include "samples.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <numeric>

namespace spice_overlay::wire::test {
namespace {

TEST(Messages, every_message_comes_back_as_it_was_written)
{
    for (const auto &[name, message] : samples()) {
        SCOPED_TRACE(name);
        Bytes bytes = encoded(message);
        Message back;
        std::string why;
        ASSERT_TRUE(decode(bytes, back, why)) << why;
        EXPECT_TRUE(same(message, back));
        EXPECT_EQ(bytes.size(), bytes[0] + 256u * bytes[1]);
    }
}

TEST(Messages, largest_values_come_back_as_they_were_written)
{
    Hello hello = client_hello(~0ull, ~0ull);
    hello.name.assign(kMaxNameLength, 'x');
    hello.codecs.assign(kMaxCodecs, {Codec::kMjpeg, 0xffff, -1, INT32_MAX, UINT32_MAX, UINT32_MAX});
    StreamOpen open{.stream = UINT32_MAX, .extradata = Bytes(kMaxExtradata, 9)};
    Geometry geometry{.stream = UINT32_MAX, .serial = UINT32_MAX, .display = UINT32_MAX};
    geometry.target = {-kMaxCoordinate, kMaxCoordinate, kMaxCoordinate, kMaxCoordinate};
    geometry.crop = {0, 0, kMaxCodedSide << 16, kMaxCodedSide << 16};
    geometry.visible.assign(kMaxRegionRects, geometry.target);
    AccessUnit unit{.stream = UINT32_MAX, .serial = UINT32_MAX, .epoch = UINT32_MAX, .pts = -kMaxTime,
                    .total_size = kMaxAccessUnit, .data = kPayload};
    AccessUnit later{.follows = true, .stream = 1, .pts = kMaxTime, .total_size = 9, .data = kPayload};
    AccessUnitChunk chunk{UINT32_MAX, UINT32_MAX, kMaxAccessUnit - 9, kPayload};
    for (const Message &message : {Message{hello}, Message{open}, Message{geometry}, Message{unit}, Message{later},
                                   Message{chunk}, Message{Credit{UINT32_MAX, UINT64_MAX, UINT32_MAX}}}) {
        Bytes bytes = encoded(message);
        Message back;
        std::string why;
        ASSERT_TRUE(decode(bytes, back, why)) << why;
        EXPECT_TRUE(same(message, back)) << "alternative " << message.index();
    }
}

TEST(Messages, hello_of_a_later_version_is_read_without_what_it_appends)
{
    Hello hello = client_hello(5, 0);
    hello.max_version = 9;
    Bytes bytes = encoded(hello);
    bytes.insert(bytes.end(), {1, 2, 3, 4});
    bytes[0] = static_cast<std::uint8_t>(bytes.size());
    bytes[3] = 0x80;
    Message back;
    std::string why;
    ASSERT_TRUE(decode(bytes, back, why)) << why;
    EXPECT_EQ(std::get<Hello>(back), hello);
}

TEST(Messages, codec_of_a_later_version_is_left_out_of_hello)
{
    Hello hello = client_hello(5, 0);
    hello.codecs.insert(hello.codecs.begin(), {static_cast<Codec>(200), 0, -1, -1, 64, 64});
    Message back;
    std::string why;
    ASSERT_TRUE(decode(encoded(hello), back, why)) << why;
    EXPECT_EQ(std::get<Hello>(back).codecs, client_hello(5, 0).codecs);
}

TEST(Messages, unknown_type_is_reported_as_unknown)
{
    Bytes bytes = {6, 0, 0x7f, 0xff, 1, 2};
    Message back;
    std::string why;
    ASSERT_TRUE(decode(bytes, back, why));
    EXPECT_EQ(std::get<Unknown>(back).type, 0x7f);
}

// ---- malformed messages, each by its name

struct Malformed {
    const char *name;
    Bytes bytes; ///< the size in the header is filled in unless `keep_size`
    const char *why;
    bool keep_size = false;
};

Bytes with(const char *sample, const std::function<void(Bytes &)> &change)
{
    for (const auto &[name, message] : samples()) {
        if (name == sample) {
            Bytes bytes = encoded(message);
            change(bytes);
            return bytes;
        }
    }
    ADD_FAILURE() << "no sample named " << sample;
    return {};
}

Bytes without_end(const char *sample)
{
    return with(sample, [](Bytes &b) { b.pop_back(); });
}

Bytes with_one_more(const char *sample)
{
    return with(sample, [](Bytes &b) { b.push_back(0); });
}

Bytes with_byte(const char *sample, std::size_t at, std::uint8_t value)
{
    return with(sample, [&](Bytes &b) { b.at(at) = value; });
}

Bytes stream_zero(const char *sample)
{
    return with(sample, [](Bytes &b) { std::fill_n(b.begin() + 4, 4, std::uint8_t{0}); });
}

Bytes raw(std::uint8_t type, std::uint8_t flags, std::initializer_list<int> body)
{
    Bytes out = {0, 0, type, flags};
    for (int byte : body)
        out.push_back(static_cast<std::uint8_t>(byte));
    return out;
}

std::vector<Malformed> malformed()
{
    constexpr std::uint8_t kUnit = 0x11, kChunk = 0x12, kGeo = 0x13;
    std::vector<Malformed> cases = {
        {"empty", {}, "message of a wrong size", true},
        {"half_a_header", {2, 0}, "message of a wrong size", true},
        {"size_beyond_the_message", {9, 0, 2, 0, 1, 2, 3, 4}, "message of a wrong size", true},
        {"size_short_of_the_message", {7, 0, 2, 0, 1, 2, 3, 4}, "message of a wrong size", true},

        {"hello_without_magic", with_byte("question", 4, 's'), "HELLO: wrong magic"},
        {"hello_cut_in_the_fields", with("question", [](Bytes &b) { b.resize(40); }), "HELLO: too short"},
        {"hello_cut_in_the_name", without_end("question"), "HELLO: too short"},
        {"hello_cut_in_the_codecs", without_end("answer"), "HELLO: too short"},
        {"hello_with_nonce_zero", with("question", [](Bytes &b) { std::fill_n(b.begin() + 16, 8, std::uint8_t{0}); }),
         "HELLO: nonce 0"},
        {"hello_with_version_zero", with("question", [](Bytes &b) { b[12] = b[14] = 0; }),
         "HELLO: empty range of versions"},
        {"hello_with_versions_reversed", with_byte("question", 12, 2), "HELLO: empty range of versions"},
        {"hello_of_role_zero", with_byte("question", 38, 0), "HELLO: unknown role"},
        {"hello_of_role_three", with_byte("question", 38, 3), "HELLO: unknown role"},
        {"hello_with_65_codecs", with_byte("question", 39, 65), "HELLO: too many codecs"},
        {"hello_with_a_name_of_65_bytes", with_byte("question", 40, 65), "HELLO: name too long"},
        {"hello_with_a_newline_in_the_name", with_byte("question", 43, '\n'), "HELLO: control character in the name"},

        {"open_without_its_fields", with("open", [](Bytes &b) { b.resize(50); }), "STREAM_OPEN: too short"},
        {"open_with_extradata_too_long", with("open", [](Bytes &b) { b.resize(60 + kMaxExtradata + 1); }),
         "STREAM_OPEN: extradata too long"},

        {"unit_without_anything", raw(kUnit, 0, {}), "ACCESS_UNIT: too short"},
        {"unit_cut_in_the_time", raw(kUnit, 0, {7, 1, 0, 1, 2, 3}), "ACCESS_UNIT: too short"},
        {"unit_without_data", raw(kUnit, 0, {7, 1, 0, 1, 2, 3, 4, 5, 6, 7, 0}), "ACCESS_UNIT: no data"},
        {"unit_with_undefined_flag", with_byte("unit", 3, 0x20), "ACCESS_UNIT: undefined flag"},
        {"unit_of_stream_zero", with_byte("unit", 4, 0), "ACCESS_UNIT: stream 0"},
        {"unit_with_a_time_out_of_range", raw(kUnit, 0, {7, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0x20, 9}),
         "ACCESS_UNIT: time out of range"},
        {"unit_with_a_varint_of_six_groups", raw(kUnit, 16, {0x80, 0x80, 0x80, 0x80, 0x80, 1, 2, 9}),
         "ACCESS_UNIT: too short"},
        {"unit_with_a_varint_beyond_32_bits", raw(kUnit, 16, {0xff, 0xff, 0xff, 0xff, 0x10, 2, 9}),
         "ACCESS_UNIT: too short"},
        {"unit_with_a_varint_in_more_bytes_than_needed", raw(kUnit, 16, {0x87, 0, 2, 9}), "ACCESS_UNIT: too short"},
        {"unit_with_a_varint_beyond_64_bits",
         raw(kUnit, 16, {7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 9}), "ACCESS_UNIT: too short"},
        {"short_unit_with_a_step_out_of_range",
         raw(kUnit, 16, {7, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 9}),
         "ACCESS_UNIT: time out of range"},
        {"partial_unit_that_is_whole", raw(kUnit, 16 | 8, {7, 2, 3, 9, 9, 9}),
         "ACCESS_UNIT: partial, yet all of the unit is there"},
        {"partial_unit_with_more_than_the_whole", raw(kUnit, 16 | 8, {7, 2, 2, 9, 9, 9}),
         "ACCESS_UNIT: partial, yet all of the unit is there"},
        {"partial_unit_of_size_zero", raw(kUnit, 16 | 8, {7, 2, 0, 9}),
         "ACCESS_UNIT: partial, yet all of the unit is there"},
        {"partial_unit_beyond_16_mib", raw(kUnit, 16 | 8, {7, 2, 0x81, 0x80, 0x80, 8, 9}),
         "ACCESS_UNIT: access unit too large"},

        {"chunk_without_data", raw(kChunk, 0, {7, 1, 1}), "ACCESS_UNIT_CHUNK: no data"},
        {"chunk_cut_in_the_fields", raw(kChunk, 0, {7, 1}), "ACCESS_UNIT_CHUNK: too short"},
        {"chunk_at_offset_zero", raw(kChunk, 0, {7, 1, 0, 9}), "ACCESS_UNIT_CHUNK: chunk outside any access unit"},
        {"chunk_beyond_16_mib", raw(kChunk, 0, {7, 1, 0x80, 0x80, 0x80, 8, 9}),
         "ACCESS_UNIT_CHUNK: chunk outside any access unit"},
        {"chunk_at_an_offset_beyond_16_mib", raw(kChunk, 0, {7, 1, 0xff, 0xff, 0xff, 0xff, 15, 9}),
         "ACCESS_UNIT_CHUNK: chunk outside any access unit"},
        {"chunk_of_stream_zero", raw(kChunk, 0, {0, 1, 1, 9}), "ACCESS_UNIT_CHUNK: stream 0"},
        {"chunk_with_a_flag", raw(kChunk, 1, {7, 1, 1, 9}), "ACCESS_UNIT_CHUNK: undefined flag"},

        {"geometry_with_undefined_flag", with_byte("geometry", 3, 4), "GEOMETRY: undefined flag"},
        {"geometry_with_more_rectangles_than_bytes", with_byte("geometry", 24, 1), "GEOMETRY: too short"},
        {"geometry_with_fewer_rectangles_than_bytes", with_byte("covered geometry", 44, 1), "GEOMETRY: too long"},
        {"geometry_with_257_rectangles",
         with("geometry",
              [](Bytes &b) {
                  b[24] = b[25] = 1;
                  b.resize(26 + 257 * 8);
              }),
         "GEOMETRY: too many rectangles"},
        {"geometry_with_target_too_wide", with_byte("geometry", 21, 0x80), "GEOMETRY: rectangle out of range"},
        {"geometry_with_target_too_high", with_byte("geometry", 23, 0x80), "GEOMETRY: rectangle out of range"},
        {"geometry_with_target_too_far_left",
         with("geometry",
              [](Bytes &b) {
                  b[16] = 0;
                  b[17] = 0x80;
              }),
         "GEOMETRY: rectangle out of range"},
        {"geometry_with_a_visible_rectangle_too_wide", with_byte("covered geometry", 51, 0xff),
         "GEOMETRY: rectangle out of range"},
        {"geometry_with_an_empty_crop",
         with("covered geometry", [](Bytes &b) { std::fill_n(b.begin() + 36, 4, std::uint8_t{0}); }),
         "GEOMETRY: empty crop"},
        {"geometry_with_a_crop_too_wide", with_byte("covered geometry", 39, 0x20), "GEOMETRY: crop out of range"},
        {"geometry_with_a_crop_that_wraps",
         with("covered geometry", [](Bytes &b) { std::fill_n(b.begin() + 28, 12, std::uint8_t{0xff}); }),
         "GEOMETRY: crop out of range"},
        {"geometry_with_a_placeholder_of_four_bytes", with_byte("covered geometry", 27, 1),
         "GEOMETRY: placeholder out of range"},
        {"geometry_without_a_body", raw(kGeo, 0, {}), "GEOMETRY: too short"},

        {"play_state_of_unknown_mode", with_byte("play state", 16, 2), "PLAY_STATE: unknown mode"},

        {"client_state_without_its_fields", raw(0x25, 0, {0, 0}), "CLIENT_STATE: too short"},
        {"client_state_with_65_codecs", with_byte("no client", 6, 65), "CLIENT_STATE: too many codecs"},
        {"client_state_with_more_codecs_than_bytes", with_byte("client state", 6, 3), "CLIENT_STATE: too short"},
        {"client_state_with_fewer_codecs_than_bytes", with_byte("client state", 6, 1), "CLIENT_STATE: too long"},
    };
    for (const char *fixed :
         {"ping", "pong", "close", "play state", "accept", "reject", "credit", "feedback", "need key",
          "client state", "no client", "stream state"}) {
        static std::vector<std::string> names; // the table keeps pointers into it
        names.reserve(64);
        auto named = [&](const char *what) { return names.emplace_back(std::string(fixed) + " " + what).c_str(); };
        cases.push_back({named("too short"), without_end(fixed), "too short"});
        cases.push_back({named("too long"), with_one_more(fixed), "too long"});
        cases.push_back({named("with a flag"), with_byte(fixed, 3, 1), "undefined flag"});
        if (fixed != std::string("ping") && fixed != std::string("pong") && !std::string(fixed).starts_with("client") &&
            fixed != std::string("no client"))
            cases.push_back({named("of stream zero"), stream_zero(fixed), "stream 0"});
    }
    for (const char *fixed : {"open", "geometry"})
        cases.push_back({fixed, stream_zero(fixed), "stream 0"});
    return cases;
}

TEST(Messages, malformed_messages_are_refused_each_with_its_reason)
{
    for (Malformed &c : malformed()) {
        SCOPED_TRACE(c.name);
        if (!c.keep_size) {
            c.bytes[0] = static_cast<std::uint8_t>(c.bytes.size());
            c.bytes[1] = static_cast<std::uint8_t>(c.bytes.size() >> 8);
        }
        Message out;
        std::string why;
        EXPECT_FALSE(decode(c.bytes, out, why));
        EXPECT_NE(why.find(c.why), std::string::npos) << why;
    }
}

TEST(Messages, every_message_cut_anywhere_is_refused_or_has_less_data)
{
    for (const auto &[name, message] : samples()) {
        Bytes whole = encoded(message);
        for (std::size_t size = kHeaderSize; size < whole.size(); ++size) {
            Bytes bytes(whole.begin(), whole.begin() + static_cast<std::ptrdiff_t>(size));
            bytes[0] = static_cast<std::uint8_t>(size);
            bytes[1] = static_cast<std::uint8_t>(size >> 8);
            Message out;
            std::string why;
            if (decode(bytes, out, why))
                EXPECT_FALSE(same(out, message)) << name << " cut to " << size;
            else
                EXPECT_FALSE(why.empty());
        }
    }
}

// ---- access units

TEST(Messages, decoding_an_access_unit_takes_no_memory)
{
    Bytes big(200'000, 1), bytes;
    std::vector<std::size_t> ends;
    encode_access_unit({.stream = 1, .pts = 5, .data = big}, bytes, ends);
    Message out;
    std::string why;
    long before = allocations();
    std::size_t start = 0;
    bool all = true;
    for (std::size_t end : ends) {
        all = decode(std::span(bytes).subspan(start, end - start), out, why) && all;
        start = end;
    }
    long taken = allocations() - before;
    EXPECT_TRUE(all) << why;
    EXPECT_EQ(taken, 0);
}

TEST(Messages, access_unit_of_any_size_is_cut_in_messages_that_hold_all_of_it)
{
    for (std::size_t size : {std::size_t{1}, kChunkPayload - 1, kChunkPayload, kChunkPayload + 1, 3 * kChunkPayload,
                             std::size_t{1'000'003}, std::size_t{kMaxAccessUnit}}) {
        SCOPED_TRACE(size);
        Bytes data(size);
        std::iota(data.begin(), data.end(), std::uint8_t{3});
        Bytes bytes, back;
        std::vector<std::size_t> ends;
        encode_access_unit({.stream = 9, .serial = 4, .flags = kKey, .pts = 77, .data = data}, bytes, ends);
        ASSERT_EQ(ends.back(), bytes.size());
        std::size_t start = 0;
        for (std::size_t end : ends) {
            Message out;
            std::string why;
            ASSERT_LE(end - start, 32768u);
            ASSERT_TRUE(decode(std::span(bytes).subspan(start, end - start), out, why)) << why;
            if (start == 0) {
                auto &unit = std::get<AccessUnit>(out);
                EXPECT_EQ(unit.total_size, size);
                EXPECT_EQ(unit.pts, 77);
                back.assign(unit.data.begin(), unit.data.end());
            } else {
                auto &chunk = std::get<AccessUnitChunk>(out);
                EXPECT_EQ(chunk.serial, 4u);
                EXPECT_EQ(chunk.offset, back.size());
                back.insert(back.end(), chunk.data.begin(), chunk.data.end());
            }
            start = end;
        }
        EXPECT_EQ(back, data);
    }
}

TEST(Messages, short_form_restores_serial_epoch_and_time)
{
    UnitReference sender, receiver;
    std::int64_t pts[] = {-5'000'000'000, -4'900'000'000, -4'966'666'667, 1'000'000'000'000, 999'000'000'000};
    std::uint32_t epochs[] = {0, 0, 0, 1, 1};
    for (std::uint32_t i = 0; i < std::size(pts); ++i) {
        Bytes bytes;
        std::vector<std::size_t> ends;
        encode_access_unit({.stream = 1, .serial = i, .epoch = epochs[i], .pts = pts[i], .data = kPayload}, bytes, ends,
                           &sender);
        Message out;
        std::string why;
        ASSERT_TRUE(decode(bytes, out, why)) << why;
        auto unit = std::get<AccessUnit>(out);
        EXPECT_EQ(unit.follows, i != 0 && i != 3) << "a new epoch needs the long form";
        ASSERT_TRUE(resolve(unit, receiver));
        EXPECT_EQ(unit.serial, i);
        EXPECT_EQ(unit.epoch, epochs[i]);
        EXPECT_EQ(unit.pts, pts[i]);
    }
}

TEST(Messages, long_form_is_used_where_the_time_between_two_units_is_out_of_range)
{
    UnitReference sender, receiver;
    const std::int64_t pts[] = {-kMaxTime, kMaxTime, 0, -kMaxTime};
    for (std::uint32_t i = 0; i < std::size(pts); ++i) {
        Bytes bytes;
        std::vector<std::size_t> ends;
        encode_access_unit({.stream = 1, .serial = i, .pts = pts[i], .data = kPayload}, bytes, ends, &sender);
        Message out;
        std::string why;
        ASSERT_TRUE(decode(bytes, out, why)) << why;
        auto unit = std::get<AccessUnit>(out);
        EXPECT_EQ(unit.follows, i > 1);
        ASSERT_TRUE(resolve(unit, receiver));
        EXPECT_EQ(unit.pts, pts[i]);
    }
}

TEST(Messages, short_form_that_follows_nothing_or_leaves_the_range_of_time_is_refused)
{
    UnitReference reference;
    AccessUnit unit{.follows = true, .stream = 1, .pts = 1, .total_size = 9, .data = kPayload};
    EXPECT_FALSE(resolve(unit, reference));
    reference = {true, 5, 0, kMaxTime};
    EXPECT_FALSE(resolve(unit, reference));
    EXPECT_EQ(reference.serial, 5u);
}

TEST(Messages, framing_of_a_low_rate_stream_stays_within_half_a_percent)
{
    Bytes data(2'425, 1), bytes; // 388 kbit/s at 20 frames a second
    std::vector<std::size_t> ends;
    UnitReference previous;
    for (std::uint32_t i = 0; i < 280; ++i)
        encode_access_unit({.stream = 1, .serial = i, .pts = 90'000'000'000'000 + i * 50'000'000ll, .data = data},
                           bytes, ends, &previous);
    EXPECT_LE(static_cast<double>(bytes.size()), 280 * 2'425 * 1.004);
}

// ---- names

TEST(Messages, every_reason_codec_and_type_has_its_own_text)
{
    std::vector<std::string> texts;
    for (std::uint16_t i = 0; i <= 14; ++i)
        texts.push_back(describe(static_cast<Reason>(i)));
    for (std::uint16_t i = 1; i <= 7; ++i)
        texts.push_back(name(static_cast<Codec>(i)));
    for (const auto &[sample, message] : samples())
        if (sample != "answer" && sample != "partial unit" && sample != "short unit" && sample != "covered geometry" &&
            sample != "no client")
            texts.push_back(name(static_cast<Type>(encoded(message)[2])));
    EXPECT_EQ(texts.size(), 15u + 7u + 16u);
    std::ranges::sort(texts);
    EXPECT_EQ(std::ranges::adjacent_find(texts), texts.end());
    EXPECT_EQ(std::ranges::find(texts, "unknown"), texts.end());
    EXPECT_STREQ(describe(static_cast<Reason>(999)), "unknown reason");
    EXPECT_STREQ(name(static_cast<Codec>(8)), "unknown");
    EXPECT_FALSE(codec_from_number(0));
    EXPECT_FALSE(codec_from_number(8));
    EXPECT_EQ(codec_from_number(4), Codec::kVp9);
}

} // namespace
} // namespace spice_overlay::wire::test
