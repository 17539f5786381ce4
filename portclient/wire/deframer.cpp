// SPDX-License-Identifier: LGPL-2.1-or-later
#include "deframer.h"

#include "bytes.h"

#include <algorithm>
#include <cstring>

namespace spice_overlay::wire {

namespace {

constexpr std::size_t kRecognised = kHeaderSize + kHelloMagic.size(); // bytes that make a HELLO worth a look
constexpr std::size_t kPeerNonceAt = 24;                              // in a HELLO
constexpr std::size_t kMinHelloSize = 41;                             // without a name and without codecs

std::size_t message_size(const std::uint8_t *header)
{
    return header[0] | std::size_t{header[1]} << 8;
}

// The first place at or behind `from` where a HELLO seems to begin, its header and magic being all there; or none.
std::size_t find_hello(std::span<const std::uint8_t> bytes, std::size_t from, std::size_t none)
{
    for (std::size_t at = from; at + kRecognised <= bytes.size(); ++at) {
        auto *magic = static_cast<const std::uint8_t *>(
            std::memchr(&bytes[at + kHeaderSize], kHelloMagic[0], bytes.size() - at - kRecognised + 1));
        if (!magic)
            return none;
        at = static_cast<std::size_t>(magic - bytes.data()) - kHeaderSize;
        std::size_t size = message_size(&bytes[at]);
        if (bytes[at + 2] == static_cast<std::uint8_t>(Type::kHello) && size >= kMinHelloSize && size <= kMaxHelloSize
            && std::equal(kHelloMagic.begin(), kHelloMagic.end(), magic))
            return at;
    }
    return none;
}

} // namespace

void Deframer::reset(std::uint64_t our_nonce)
{
    state_ = State::kHunting;
    our_nonce_ = our_nonce;
    skipped_ = 0;
    error_.clear();
    begin_search();
    if (!feeding_) {
        buffer_.clear();
        head_ = 0;
    }
}

void Deframer::push(std::span<const std::uint8_t> bytes)
{
    input_ = bytes;
    feeding_ = true;
}

const Message *Deframer::next()
{
    while (state_ != State::kBroken) {
        if (state_ == State::kHunting) {
            if (const Message *hello = hunt())
                return hello;
            break;
        }
        auto bytes = whole_message();
        if (bytes.empty())
            break;
        if (!decode(bytes, message_, error_)) {
            state_ = State::kBroken;
            break;
        }
        return &message_;
    }
    if (state_ == State::kBroken) {
        buffer_.clear();
        head_ = 0;
    }
    input_ = {};
    feeding_ = false;
    return nullptr;
}

// Moves bytes from the input until `size` are kept. False: there are not so many.
bool Deframer::top_up(std::size_t size)
{
    std::size_t kept = buffer_.size() - head_;
    if (kept < size) {
        buffer_.erase(buffer_.begin(), buffer_.begin() + static_cast<std::ptrdiff_t>(head_));
        head_ = 0;
        auto more = input_.first(std::min(size - kept, input_.size()));
        buffer_.reserve(size);
        buffer_.insert(buffer_.end(), more.begin(), more.end());
        input_ = input_.subspan(more.size());
    }
    return buffer_.size() - head_ >= size;
}

// The next message, in place where it lies whole in the input. Empty: not there yet, or its size is impossible.
std::span<const std::uint8_t> Deframer::whole_message()
{
    bool in_place = head_ == buffer_.size();
    if (in_place) {
        buffer_.clear();
        head_ = 0;
        if (input_.empty())
            return {};
        in_place = input_.size() >= kHeaderSize;
    }
    if (!in_place && !top_up(kHeaderSize))
        return {};
    std::size_t size = message_size(in_place ? input_.data() : buffer_.data() + head_);
    if (size < kHeaderSize) {
        state_ = State::kBroken;
        error_ = "message shorter than its header";
        return {};
    }
    if (in_place && size <= input_.size()) {
        auto message = input_.first(size);
        input_ = input_.subspan(size);
        return message;
    }
    if (!top_up(size))
        return {};
    auto message = std::span<const std::uint8_t>(buffer_).subspan(head_, size);
    head_ += size;
    return message;
}

void Deframer::begin_search()
{
    searched_ = 0;
    waiting_ = whole_at_ = kNone;
}

// Of what begins like a HELLO: whether it is one that matters here. Most are told by the nonce alone.
HelloHead Deframer::look(std::span<const std::uint8_t> bytes) const
{
    std::uint64_t peer_nonce = 0;
    if (bytes.size() < kPeerNonceAt + sizeof peer_nonce)
        return HelloHead::kTooShort;
    Reader(bytes.subspan(kPeerNonceAt))(peer_nonce);
    return peer_nonce == our_nonce_ || peer_nonce == 0 ? look_at_hello(bytes) : HelloHead::kWrong;
}

// Looks for a HELLO that may be ours. Something that only looks like the beginning of one is kept until it can be told,
// but does not hide a real one behind it. What was looked at once is not again, until one is whole that was not.
const Message *Deframer::hunt()
{
    while (head_ < buffer_.size() || !input_.empty()) {
        bool kept = head_ < buffer_.size();
        if (kept) {
            buffer_.reserve(2 * kMaxHelloSize); // once, and not for each byte that comes
            top_up(buffer_.size() - head_ + std::min(input_.size(), kMaxHelloSize));
        }
        auto view = kept ? std::span<const std::uint8_t>(buffer_).subspan(head_) : input_;
        if (view.size() >= whole_at_)
            begin_search();

        std::size_t undecided = view.size() - std::min(view.size(), kRecognised - 1);
        for (std::size_t at = searched_; (at = find_hello(view, at, kNone)) != kNone; ++at) {
            auto rest = view.subspan(at);
            HelloHead head = look(rest);
            if (head == HelloHead::kTooShort)
                undecided = std::min(undecided, at);
            if (head != HelloHead::kRight)
                continue;
            std::size_t size = message_size(rest.data());
            if (size > rest.size()) {
                waiting_ = std::min(waiting_, at);
                whole_at_ = std::min(whole_at_, at + size);
                continue;
            }
            std::string why;
            if (!decode(rest.first(size), message_, why))
                continue;
            if (std::get<Hello>(message_).peer_nonce != 0)
                state_ = State::kInSync;
            skipped_ += at;
            if (kept)
                head_ += at + size;
            else
                input_ = input_.subspan(at + size);
            begin_search();
            return &message_;
        }
        std::size_t keep = std::min(waiting_, undecided);
        searched_ = undecided - keep;
        if (waiting_ != kNone) {
            waiting_ -= keep;
            whole_at_ -= keep;
        }
        skipped_ += keep;
        if (kept) {
            head_ += keep;
            if (input_.empty())
                break;
        } else {
            buffer_.assign(input_.begin() + static_cast<std::ptrdiff_t>(keep), input_.end());
            head_ = 0;
            input_ = {};
            break;
        }
    }
    return nullptr;
}

} // namespace spice_overlay::wire
