// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/wire/deframer.h"
#include "portclient/wire/messages.h"

#include <string>
#include <vector>

namespace spice_overlay::wire::test {

using Bytes = std::vector<std::uint8_t>;

inline Bytes encoded(const Message &message)
{
    Bytes out;
    encode(message, out);
    return out;
}

inline Hello guest_hello(std::uint64_t nonce, std::uint64_t peer_nonce)
{
    Hello h;
    h.role = Role::kGuest;
    h.nonce = nonce;
    h.peer_nonce = peer_nonce;
    h.name = "test guest";
    return h;
}

inline Hello client_hello(std::uint64_t nonce, std::uint64_t peer_nonce)
{
    Hello h;
    h.role = Role::kClient;
    h.nonce = nonce;
    h.peer_nonce = peer_nonce;
    h.max_streams = 4;
    h.name = "test client";
    h.codecs = {{Codec::kH264, kCodecInHardware, 100, 51, 4096, 2304}, {Codec::kVp9, 0, -1, -1, 1920, 1080}};
    return h;
}

inline const Bytes kPayload = {0, 0, 0, 1, 0x65, 0x88, 0x84, 0x21, 0xa0};

/// One message of every type, and of every optional part, under the name that a failing test prints.
inline std::vector<std::pair<std::string, Message>> samples()
{
    StreamOpen open;
    open.stream = 7;
    open.codec = Codec::kHevc;
    open.profile = 1;
    open.level = 120;
    open.coded_width = 1920;
    open.coded_height = 1080;
    open.aspect_num = 4;
    open.aspect_den = 3;
    open.colour = {1, 1, 1, 1};
    open.rotation = 270;
    open.frame_rate_num = 30000;
    open.frame_rate_den = 1001;
    open.bit_rate = 8'000'000;
    open.extradata = {1, 2, 3, 4, 5};

    AccessUnit unit;
    unit.stream = 7;
    unit.serial = 300;
    unit.epoch = 2;
    unit.flags = kKey | kDiscontinuity;
    unit.pts = 123'456'789'012;
    unit.total_size = static_cast<std::uint32_t>(kPayload.size());
    unit.data = kPayload;
    AccessUnit partial = unit;
    partial.total_size = 100'000;
    AccessUnit follows = unit;
    follows.follows = true;
    follows.serial = follows.epoch = 0;
    follows.flags = kDroppable;
    follows.pts = -33'366'666;

    Geometry geometry;
    geometry.stream = 7;
    geometry.serial = 41;
    geometry.display = 1;
    geometry.target = {-20, 30, 640, 360};
    Geometry covered = geometry;
    covered.crop = {65536, 0, 640u << 16, (360u << 16) + 32768};
    covered.placeholder = 0x10ef43;
    covered.visible = {{0, 30, 620, 100}, {0, 130, 300, 260}};

    return {
        {"question", guest_hello(0x1122334455667788, 0)},
        {"answer", client_hello(0x99aabbccddeeff00, 0x1122334455667788)},
        {"ping", Ping{3, 1'000'000'007}},
        {"pong", Pong{3, 1'000'000'007, 55, 66}},
        {"close", StreamClose{7, Reason::kEndOfStream}},
        {"open", open},
        {"unit", unit},
        {"partial unit", partial},
        {"short unit", follows},
        {"chunk", AccessUnitChunk{7, 300, 65000, kPayload}},
        {"geometry", geometry},
        {"covered geometry", covered},
        {"play state", PlayState{7, 3, PlayMode::kPaused, -65536}},
        {"accept", StreamAccept{7}},
        {"reject", StreamReject{7, Reason::kUnsupportedProfile}},
        {"credit", Credit{7, 5'000'000'000, 77}},
        {"feedback", Feedback{7, 3, 1000, 3, 2400, 5}},
        {"need key", NeedKey{7}},
        {"client state", ClientState{Reason::kNone, client_hello(1, 1).codecs}},
        {"no client", ClientState{Reason::kNoClient, {}}},
        {"stream state", StreamState{7, Reason::kUnsupportedCodec}},
    };
}

inline bool operator==(const AccessUnit &a, const AccessUnit &b)
{
    return a.follows == b.follows && a.stream == b.stream && a.serial == b.serial && a.epoch == b.epoch &&
           a.flags == b.flags && a.pts == b.pts && a.total_size == b.total_size &&
           std::equal(a.data.begin(), a.data.end(), b.data.begin(), b.data.end());
}

/// Equal in every field, the borrowed bytes included.
inline bool same(const Message &a, const Message &b)
{
    if (a.index() != b.index())
        return false;
    return std::visit(
        [&](const auto &left) {
            using M = std::remove_cvref_t<decltype(left)>;
            const M &right = std::get<M>(b);
            if constexpr (std::is_same_v<M, Unknown>)
                return left.type == right.type;
            else if constexpr (std::is_same_v<M, AccessUnitChunk>)
                return left.stream == right.stream && left.serial == right.serial && left.offset == right.offset &&
                       std::equal(left.data.begin(), left.data.end(), right.data.begin(), right.data.end());
            else if constexpr (std::is_same_v<M, AccessUnit>)
                return test::operator==(left, right);
            else
                return left == right;
        },
        a);
}

} // namespace spice_overlay::wire::test
