// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace spice_overlay::tool {

/// A result: for people a table that ends in a verdict, for programs one JSON object.
class Report {
public:
    /// `key`: in JSON. Nothing is shown to people where `label` is empty.
    void number(const std::string &key, const std::string &label, double value, const std::string &unit,
                int decimals = 0);
    void text(const std::string &key, const std::string &value);
    void list(const std::string &key, const std::vector<double> &values); ///< JSON only
    /// What it comes to. Good only if all are.
    void verdict(bool good, const std::string &sentence);

    [[nodiscard]] bool good() const { return good_; }
    void print(bool json) const;

private:
    std::string json_;
    std::string table_;
    std::vector<std::string> verdicts_;
    bool good_ = true;
};

/// One status line on standard error, where that is a terminal; otherwise a line for each new text.
class Progress {
public:
    explicit Progress(bool quiet);
    ~Progress() { clear(); }
    Progress(const Progress &) = delete;
    Progress &operator=(const Progress &) = delete;

    void show(const std::string &text); ///< replaces the one before, a few times a second; only on a terminal
    void say(const std::string &text);  ///< stays; once for each text in a row
    void clear();

private:
    bool quiet_, terminal_, shown_ = false;
    std::string said_;
    std::int64_t last_ = 0; ///< ns
};

} // namespace spice_overlay::tool
