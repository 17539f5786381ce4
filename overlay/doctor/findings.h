// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/format_set.h"
#include "overlay/present/wayland/ladder.h"
#include "portclient/wire/messages.h"

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

/// What the doctor finds, as plain facts. A text that says why something is not to be had also says what helps; it is empty where
/// there is nothing to complain of.
namespace spice_overlay::doctor {

/// Exit statuses; 64 is wrong usage.
enum class Verdict {
    kZeroCopy = 0,    ///< the compositor has shown the decoder's memory as it is
    kNoCpuCopy = 1,   ///< no processor touches a pixel after decoding: the GPU draws from the decoder's memory
    kWorks = 2,       ///< frames are shown, and copied on the way
    kDoesNotWork = 3, ///< or nobody knows: nothing could be played
};

struct VaProfile {
    std::string name;  ///< as libva has it, without "VAProfile"
    int max_width = 0; ///< pixels; 0: not said
    int max_height = 0;
};

struct Gpu {
    std::string node;    ///< "/dev/dri/renderD128"
    std::string driver;  ///< of the kernel; empty: unknown
    std::string why_not; ///< it may not be opened
    std::string va_driver;
    std::vector<VaProfile> va_profiles; ///< that it decodes
    std::string why_no_va;
};

struct Memory {
    std::string name;    ///< "udmabuf"
    std::string why_not; ///< it makes no dmabufs
};

struct Sandbox {
    int landlock_abi = 0;
    std::string why_no_landlock;
    std::string why_no_seccomp;
    std::string why_no_user_namespaces;
};

struct Decoder {
    std::string program;
    std::string why_not;
    struct Codec {
        wire::Codec codec;
        std::string name; ///< FFmpeg's, of the decoder
    };
    std::vector<Codec> codecs;
    struct Layer {
        std::string name;
        bool holds = false;
        std::string detail; ///< why not, where it does not
    };
    std::vector<Layer> sandbox; ///< as the decoder has tried it
};

struct Machine {
    std::string kernel;
    std::vector<Gpu> gpus;
    std::string why_no_gpu;
    std::vector<Memory> memories; ///< best first
    Sandbox sandbox;
    Decoder decoder;
};

struct Global {
    std::string name;
    std::uint32_t version = 0;
};

struct CompositorFacts {
    std::string socket;
    std::string program; ///< behind the socket; empty: unknown
    std::vector<Global> globals;
    std::vector<std::string> missing;       ///< "wp_presentation: ..." and what that costs
    std::vector<std::uint32_t> shm_formats; ///< fourccs
    DmabufFeedback dmabufs;
    std::uint32_t dmabuf_version = 0;
    std::string device_driver; ///< of the main device, where feedback names one that is known
};

/// What became of a clip. Counts are of frames.
struct Performance {
    std::string codec;
    std::string decoder; ///< "software", or the GPU's, as it said
    std::string why_no_gpu;
    std::string problem;   ///< why it did not go to the end
    std::string transport; ///< "linux-dmabuf/YU12"; empty: there was no frame
    unsigned frames = 0;   ///< in the clip
    unsigned decoded = 0;
    unsigned presented = 0; ///< drawn, by the compositor's word
    unsigned late = 0;      ///< left out, since the next one was due
    unsigned measured = 0;  ///< of which the compositor has told how they got to the screen
    unsigned zero_copy = 0;
    unsigned vsync = 0;
    double frames_a_second = 0; ///< of those presented
    double decode_ms = 0;       ///< median
    CpuCopies copies;           ///< of a frame
    std::string rung;           ///< that the last frame took; empty: there was no frame

    [[nodiscard]] bool shown() const { return presented > 0; }
};

/// A rung of the ladder, and what became of a clip that was to take it alone.
struct Tried {
    Rung rung;
    std::optional<Performance> performance;
};

struct Stream {
    wire::Codec codec;
    std::uint32_t width = 0;
    std::uint32_t height = 0;
    std::string rung;                                             ///< its name; empty: none
    std::vector<std::pair<std::string, std::string>> passed_over; ///< better rungs, and why
    std::optional<Performance> performance;                       ///< nothing: not played
};

struct Report {
    Verdict verdict = Verdict::kDoesNotWork;
    Machine machine;
    std::optional<CompositorFacts> compositor;
    std::string why_no_compositor; ///< there is none, or nothing can be shown on it
    std::vector<Tried> ladder;     ///< best first
    std::vector<Stream> streams;
};

[[nodiscard]] const char *name(Verdict verdict);

} // namespace spice_overlay::doctor
