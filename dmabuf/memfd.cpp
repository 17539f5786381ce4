// SPDX-License-Identifier: LGPL-2.1-or-later
#include "memfd.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U // Linux 6.3
#endif
#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020 // Linux 6.3
#endif

namespace spice_overlay {

namespace {

constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

Error system_error(const std::string &what)
{
    return Error{what + ": " + std::strerror(errno)};
}

} // namespace

std::size_t whole_pages(std::size_t bytes)
{
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    return (bytes + page - 1) / page * page;
}

Result<UniqueFd> make_sealed_memfd(const char *name, std::size_t size, Pages pages)
{
    UniqueFd fd(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL));
    if (!fd.valid() && errno == EINVAL)
        fd.reset(::memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING));
    if (!fd.valid())
        return system_error("cannot create shared memory");
    const auto bytes = static_cast<off_t>(size);
    // The decoder's sandbox leaves it fallocate() alone: it can cut nothing off what it holds.
    if ((pages == Pages::kAtOnce ? ::fallocate(fd.get(), 0, 0, bytes) : ::ftruncate(fd.get(), bytes)) != 0)
        return system_error("cannot make shared memory of " + std::to_string(size) + " bytes");
    if (::fcntl(fd.get(), F_ADD_SEALS, kSeals) != 0)
        return system_error("cannot seal shared memory");
    return fd;
}

Status check_sealed_memfd(int fd, std::size_t size)
{
    // Seals first: a size that was right before the seal proves nothing.
    const int seals = ::fcntl(fd, F_GET_SEALS);
    if (seals < 0)
        return Error{"descriptor is not a memfd"};
    if ((seals & kSeals) != kSeals)
        return Error{"memfd is not sealed against changes of its size"};
    // A write seal would make the compositor's mapping fail, which costs the viewer its connection.
    if ((seals & ~(kSeals | F_SEAL_EXEC)) != 0)
        return Error{"memfd carries a seal that forbids mapping it"};
    const int flags = ::fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) != O_RDWR || (flags & O_PATH) != 0)
        return Error{"memfd is not open for reading and writing"};
    struct stat info = {};
    struct statfs filesystem = {};
    if (::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode))
        return Error{"descriptor is not a regular file"};
    if (::fstatfs(fd, &filesystem) != 0 || filesystem.f_type != TMPFS_MAGIC)
        return Error{"memfd is not made of ordinary pages"};
    if (info.st_size < 0 || static_cast<std::uint64_t>(info.st_size) != size)
        return Error{"memfd has " + std::to_string(info.st_size) + " bytes where " + std::to_string(size)
                     + " were announced"};
    return Success{};
}

Result<Mapping> Mapping::map(int fd, std::size_t size, Access access)
{
    void *data = ::mmap(nullptr, size, access == Access::kRead ? PROT_READ : PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return system_error("cannot map " + std::to_string(size) + " bytes of shared memory");
    Mapping mapping;
    mapping.data_ = static_cast<std::uint8_t *>(data);
    mapping.size_ = size;
    return mapping;
}

Mapping::~Mapping()
{
    if (data_)
        ::munmap(data_, size_);
}

} // namespace spice_overlay
