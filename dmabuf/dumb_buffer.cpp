// SPDX-License-Identifier: LGPL-2.1-or-later
#include "dumb_buffer.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>
#include <string>

namespace spice_overlay {

namespace {

constexpr std::uint32_t kBitsAPixel = 32; ///< what every display takes

} // namespace

UniqueFd open_display(const char *path)
{
    UniqueFd device(::open(path, O_RDWR | O_CLOEXEC));
    if (device.valid())
        static_cast<void>(::ioctl(device.get(), drm::kDropMaster)); // refused to whoever is not
    return device;
}

Result<UniqueFd> make_dumb_buffer(int device, std::size_t size, std::size_t stride)
{
    drm::CreateDumb create;
    create.width = static_cast<std::uint32_t>(stride * 8 / kBitsAPixel);
    create.height = static_cast<std::uint32_t>((size + stride - 1) / stride);
    create.bits_a_pixel = kBitsAPixel;
    if (::ioctl(device, drm::kCreateDumb, &create) != 0)
        return Error{"the display has no " + std::to_string(size) + " bytes: " + std::strerror(errno)};
    drm::PrimeHandle exported{create.handle, O_CLOEXEC | O_RDWR, -1};
    const int failure = ::ioctl(device, drm::kHandleToFd, &exported) != 0 ? errno : 0;
    drm::DestroyDumb destroy{create.handle}; // the dmabuf keeps the memory
    static_cast<void>(::ioctl(device, drm::kDestroyDumb, &destroy));
    if (failure != 0)
        return Error{std::string("the display gives no dmabuf of its memory: ") + std::strerror(failure)};
    UniqueFd dmabuf(exported.fd);
    if (create.pitch != stride || create.size < size)
        return Error{"the display makes rows of " + std::to_string(create.pitch) + " bytes where "
                     + std::to_string(stride) + " are wanted"};
    return dmabuf;
}

} // namespace spice_overlay
