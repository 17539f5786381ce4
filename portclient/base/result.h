// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <utility>
#include <variant>

namespace spice_overlay {

/// What a person reads when something failed: what failed, on what, and what they can do about it.
/// Starts in lower case and carries no full stop, so that it can follow "program: ".
struct Error {
    std::string message;
};

/// The project's one way to report failure: a value, or the Error that stands in its place.
/// Exceptions are not used across functions of this project.
template <typename T>
class [[nodiscard]] Result {
public:
    Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
    Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

    [[nodiscard]] bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }

    /// Only when ok().
    T &value() & { return std::get<0>(state_); }
    const T &value() const & { return std::get<0>(state_); }
    T &&value() && { return std::get<0>(std::move(state_)); }
    T *operator->() { return &std::get<0>(state_); }
    T &operator*() & { return std::get<0>(state_); }

    /// Only when !ok().
    const Error &error() const { return std::get<1>(state_); }

private:
    std::variant<T, Error> state_;
};

/// Success without a value: `return Success{};` or `return Error{"..."};`.
using Success = std::monostate;
using Status = Result<Success>;

} // namespace spice_overlay
