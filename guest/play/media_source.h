// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "guest/conversation/access_unit.h"
#include "portclient/base/result.h"
#include "unit_source.h"

#include <memory>
#include <optional>
#include <string>

struct AVBSFContext;
struct AVFormatContext;
struct AVPacket;
struct AVStream;

namespace spice_overlay::guest {

/// The video of a media file, demuxed by libavformat and made into whole access units as the wire wants them: Annex B
/// for H.264 and HEVC, parameter sets in-band at every key unit.
class MediaSource : public UnitSource {
public:
    /// The error's message starts with `path`.
    [[nodiscard]] static Result<std::unique_ptr<MediaSource>> open(const std::string &path);
    ~MediaSource() override;

    [[nodiscard]] const wire::StreamOpen &description() const override { return description_; }
    [[nodiscard]] std::optional<Unit> next() override;
    [[nodiscard]] bool seek(std::int64_t position) override;
    [[nodiscard]] std::optional<std::int64_t> next_key_after(std::int64_t position) const override;
    [[nodiscard]] std::int64_t duration() const override { return duration_; }
    [[nodiscard]] std::string complaint() const override { return complaint_; }

private:
    MediaSource() = default;
    Status open_file(const std::string &path);
    Status choose_stream(const std::string &path);
    Status open_filter(const std::string &path);
    Status describe(const std::string &path);
    bool read_packet();
    std::optional<Unit> read();
    Unit make_unit();
    void time_unit(Unit &unit);
    void end_of_file(int error);
    bool seek_file(std::int64_t position, bool to_start);
    [[nodiscard]] std::int64_t to_media(std::int64_t timestamp) const;
    [[nodiscard]] std::int64_t to_stream(std::int64_t media) const;

    struct Free {
        void operator()(AVFormatContext *context) const;
        void operator()(AVBSFContext *context) const;
        void operator()(AVPacket *packet) const;
    };
    std::unique_ptr<AVFormatContext, Free> format_;
    std::unique_ptr<AVBSFContext, Free> filter_;
    std::unique_ptr<AVPacket, Free> packet_;
    AVStream *stream_ = nullptr; ///< belongs to format_
    wire::StreamOpen description_;
    std::optional<AccessUnitInspector> inspector_;
    std::string complaint_;
    std::optional<Unit> waiting_; ///< the key unit that seek() has found
    std::int64_t start_ = 0;      ///< the stream's timestamp that is media time 0
    std::int64_t duration_ = 0;
    std::int64_t unit_duration_ = 0; ///< where the container gives none
    std::int64_t shift_ = 0;         ///< added to media time where timestamps have jumped
    std::optional<std::int64_t> last_dts_;
    std::int64_t last_duration_ = 0;
    std::int64_t furthest_ = 0; ///< end of the last picture seen
    bool draining_ = false;     ///< the demuxer is at its end, the filter may hold more
    bool damaged_ = false;      ///< a packet was left out
};

} // namespace spice_overlay::guest
