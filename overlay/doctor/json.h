// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <initializer_list>
#include <string>
#include <utility>

namespace spice_overlay::doctor {

/// A JSON value as its text.
struct Json {
    Json(const std::string &string);
    Json(const char *string) : Json(std::string(string)) {}
    Json(bool value) : text(value ? "true" : "false") {}
    Json(int value) : text(std::to_string(value)) {}
    Json(unsigned value) : text(std::to_string(value)) {}
    Json(unsigned long value) : text(std::to_string(value)) {}
    Json(double value);

    [[nodiscard]] static Json null() { return raw("null"); }
    /// null where the string is empty.
    [[nodiscard]] static Json or_null(const std::string &string) { return string.empty() ? null() : Json(string); }
    [[nodiscard]] static Json object(std::initializer_list<std::pair<const char *, Json>> members);
    template <typename List, typename F>
    [[nodiscard]] static Json array(const List &list, F item)
    {
        std::string text;
        for (const auto &element : list)
            text += (text.empty() ? "" : ", ") + Json(item(element)).text;
        return raw("[" + text + "]");
    }

    std::string text;

private:
    Json() = default;
    [[nodiscard]] static Json raw(std::string text)
    {
        Json json;
        json.text = std::move(text);
        return json;
    }
};

} // namespace spice_overlay::doctor
