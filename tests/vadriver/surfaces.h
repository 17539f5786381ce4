// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "dmabuf/allocator.h"
#include "fault.h"

#include <va/va.h>
#include <va/va_drmcommon.h>

#include <cstdint>
#include <optional>

namespace spice_overlay {

/// What goes wrong on purpose (Fault): the environment variable LIBVA_TEST_FAULT.
constexpr const char *kFaults[] = {
    "export",             ///< surfaces are not exported
    "modifier",           ///< they are exported with a tiled layout, which they do not have
    "stride",             ///< ... with lines that end outside their memory
    "memory",             ///< ... as memory that nothing is decoded into
    "allocation",         ///< no surface can be made
    "black",              ///< pictures come out black
    "hang",               ///< waiting for a picture takes for ever
    "lost",               ///< surfaces can no longer be decoded into
    "crash",              ///< the process ends at a picture
    "processing",         ///< pictures are not converted
    "processing-black",   ///< they come out of it black
    "processing-colours", ///< they come out of it with the matrix of BT.601 whatever they were in
};

/// How planes are exported: LIBVA_TEST_LAYERS.
enum class Layers {
    kAny,      ///< as asked for
    kSeparate, ///< "separate": each plane a layer of its own, composed ones are refused
    kObjects,  ///< "objects": and each in a descriptor of its own
};
[[nodiscard]] Layers layers_from_environment();

/// Whether there is a post-processor: LIBVA_TEST_PROCESSING is set. It makes what is laid out line by line alone, and says so when it
/// is asked for other modifiers.
[[nodiscard]] bool processes_from_environment();

/// A picture's memory, which stands for a GPU's: a dmabuf by udmabuf where the kernel has that, else a memfd. NV12, P010 or BGRX, line
/// by line, mapped.
struct Surface {
    std::uint32_t fourcc = 0; ///< VA_FOURCC_*
    std::uint32_t width = 0;  ///< pixels, as asked for
    std::uint32_t height = 0;
    std::uint32_t pitch = 0;         ///< bytes, of all planes
    bool linear_wanted = false;      ///< whoever made it has named the modifier
    std::uint32_t chroma_offset = 0; ///< bytes
    FrameMemory memory;

    [[nodiscard]] std::uint8_t *plane(unsigned index) const
    {
        return memory.pixels.data() + (index ? chroma_offset : 0);
    }
    [[nodiscard]] bool rgb() const { return fourcc == VA_FOURCC_BGRX; }
    [[nodiscard]] std::uint32_t planes() const { return rgb() ? 1 : 2; }
    [[nodiscard]] std::uint32_t sample_bytes() const { return rgb() ? 4 : fourcc == VA_FOURCC_P010 ? 2 : 1; }
    [[nodiscard]] std::uint32_t chroma_lines() const { return (height + 1) / 2; }
    void blacken() const;
};

/// `udmabuf` is the device's descriptor, or -1.
[[nodiscard]] std::optional<Surface> make_surface(int udmabuf, std::uint32_t fourcc, std::uint32_t width,
                                                  std::uint32_t height);

/// Fills what vaExportSurfaceHandle() hands out; the descriptors in it are the caller's. `flags` are VA_EXPORT_SURFACE_*.
[[nodiscard]] VAStatus export_surface(const Surface &surface, std::uint32_t flags, Layers layers, const Fault &fault,
                                      VADRMPRIMESurfaceDescriptor &out);

} // namespace spice_overlay
