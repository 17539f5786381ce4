// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>

namespace spice_overlay {

/// Whether no device reads the dmabuf any more, waiting for that at most so long. A compositor's release does not say so: the GPU
/// may still be at the work it was given.
[[nodiscard]] bool wait_until_unread(int dmabuf, std::chrono::milliseconds patience);

/// Between the two the processor writes the dmabuf through a mapping: what its caches hold reaches devices after end_writing().
/// begin_writing() waits for devices that still read it, so ask wait_until_unread() first.
void begin_writing(int dmabuf);
void end_writing(int dmabuf);
/// The same where the processor reads what a device has written.
void begin_reading(int dmabuf);
void end_reading(int dmabuf);

} // namespace spice_overlay
