// SPDX-License-Identifier: LGPL-2.1-or-later
#include "handshake.h"

#include <algorithm>
#include <cassert>
#include <utility>

namespace spice_overlay::wire {

const Hello &Handshake::start(std::uint64_t nonce)
{
    assert(nonce != 0);
    ours_.nonce = nonce;
    to_answer_ = answered_ = 0;
    established_ = incompatible_ = false;
    return resend();
}

const Hello &Handshake::resend()
{
    ours_.peer_nonce = std::exchange(to_answer_, 0);
    if (ours_.peer_nonce != 0)
        answered_ = ours_.peer_nonce;
    return ours_;
}

Handshake::Outcome Handshake::receive(const Hello &theirs)
{
    Outcome outcome;
    bool answers_us = theirs.peer_nonce == ours_.nonce;
    if (ours_.nonce == 0 || (!answers_us && theirs.peer_nonce != 0))
        return outcome; // belongs to an older conversation

    if (established_ && theirs.nonce != theirs_.nonce) {
        outcome.reset = true;
        established_ = false;
    }
    // A question is always answered, since an answer may have been lost; an answer only once, or it would never end.
    outcome.reply = !answers_us || theirs.nonce != answered_;
    if (outcome.reply)
        to_answer_ = theirs.nonce;

    if (answers_us && !established_) {
        theirs_ = theirs;
        version_ = std::min(ours_.max_version, theirs.max_version);
        incompatible_ = theirs.role == ours_.role || version_ < std::max(ours_.min_version, theirs.min_version);
        established_ = !incompatible_;
        outcome.established = established_;
        outcome.incompatible = incompatible_;
    }
    return outcome;
}

} // namespace spice_overlay::wire
