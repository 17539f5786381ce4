// SPDX-License-Identifier: LGPL-2.1-or-later
#include "json.h"

#include <cstdio>

namespace spice_overlay::doctor {

Json::Json(const std::string &string) : text("\"")
{
    for (const char c : string) {
        if (c == '"' || c == '\\') {
            text += '\\';
            text += c;
        } else if (static_cast<unsigned char>(c) < ' ') {
            char code[8];
            std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(c));
            text += code;
        } else {
            text += c;
        }
    }
    text += '"';
}

Json::Json(double value)
{
    char number[32];
    std::snprintf(number, sizeof number, "%.2f", value);
    text = number;
}

Json Json::object(std::initializer_list<std::pair<const char *, Json>> members)
{
    std::string text;
    for (const auto &[name, value] : members)
        text += (text.empty() ? "\"" : ", \"") + std::string(name) + "\": " + value.text;
    return raw("{" + text + "}");
}

} // namespace spice_overlay::doctor
