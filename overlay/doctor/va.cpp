// SPDX-License-Identifier: LGPL-2.1-or-later
// With libva.
#include "machine.h"

#include "portclient/base/unique_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>
#include <va/va_drm.h>
#include <va/va_str.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <sstream>

namespace spice_overlay::doctor {

namespace {

constexpr int kPatience = 5000; ///< ms

void quiet(void *, const char *) {}

bool decodes(VADisplay display, VAProfile profile)
{
    std::vector<VAEntrypoint> points(static_cast<std::size_t>(vaMaxNumEntrypoints(display)));
    int count = 0;
    return vaQueryConfigEntrypoints(display, profile, points.data(), &count) == VA_STATUS_SUCCESS
           && std::find(points.begin(), points.begin() + count, VAEntrypointVLD) != points.begin() + count;
}

int limit(VADisplay display, VAProfile profile, VAConfigAttribType type)
{
    VAConfigAttrib attribute{type, VA_ATTRIB_NOT_SUPPORTED};
    vaGetConfigAttributes(display, profile, VAEntrypointVLD, &attribute, 1);
    return attribute.value == VA_ATTRIB_NOT_SUPPORTED ? 0 : static_cast<int>(attribute.value);
}

/// All of it, in lines: "driver TEXT", "profile NAME WIDTH HEIGHT", "error TEXT".
std::string ask(int device)
{
    VADisplay display = vaGetDisplayDRM(device);
    if (!display)
        return "error libva does not know this kind of device\n";
    vaSetInfoCallback(display, quiet, nullptr);
    vaSetErrorCallback(display, quiet, nullptr);
    int major = 0;
    int minor = 0;
    if (const VAStatus status = vaInitialize(display, &major, &minor); status != VA_STATUS_SUCCESS)
        return std::string("error ") + vaErrorStr(status) + "\n";
    std::string lines = std::string("driver ") + vaQueryVendorString(display) + "\n";
    std::vector<VAProfile> profiles(static_cast<std::size_t>(vaMaxNumProfiles(display)));
    int count = 0;
    vaQueryConfigProfiles(display, profiles.data(), &count);
    profiles.resize(static_cast<std::size_t>(std::max(count, 0)));
    for (const VAProfile profile : profiles)
        if (decodes(display, profile))
            lines += "profile " + std::string(vaProfileStr(profile)).substr(std::strlen("VAProfile")) + " "
                     + std::to_string(limit(display, profile, VAConfigAttribMaxPictureWidth)) + " "
                     + std::to_string(limit(display, profile, VAConfigAttribMaxPictureHeight)) + "\n";
    vaTerminate(display);
    return lines;
}

/// Until the other end closes, or the patience ends.
std::string read_all(int fd)
{
    std::string text;
    for (pollfd wait{fd, POLLIN, 0}; ::poll(&wait, 1, kPatience) > 0 && text.size() < 65536;) {
        char bytes[4096];
        const ssize_t size = ::read(fd, bytes, sizeof bytes);
        if (size <= 0)
            break;
        text.append(bytes, static_cast<std::size_t>(size));
    }
    return text;
}

} // namespace

void examine_va(Gpu &gpu, int device)
{
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        return;
    const UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);
    const pid_t child = ::fork();
    if (child == 0) {
        const std::string lines = ask(device) + "end\n";
        std::_Exit(::write(theirs.get(), lines.data(), lines.size()) < 0 ? 1 : 0);
    }
    theirs.reset();
    std::istringstream lines(child > 0 ? read_all(ours.get()) : "");
    if (child > 0) {
        ::kill(child, SIGKILL);
        ::waitpid(child, nullptr, 0);
    }
    std::string error;
    bool whole = false;
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        std::string kind;
        fields >> kind >> std::ws;
        VaProfile profile;
        if (kind == "driver")
            std::getline(fields, gpu.va_driver);
        else if (kind == "error")
            std::getline(fields, error);
        else if (kind == "profile" && fields >> profile.name >> profile.max_width >> profile.max_height)
            gpu.va_profiles.push_back(profile);
        whole = whole || kind == "end";
    }
    const std::string package = va_package(gpu.driver);
    const std::string help = package.empty() ? "no package with one is known for it" : "install " + package;
    if (!whole)
        gpu.why_no_va = "the VA-API driver of " + gpu.node + " crashes or hangs: update it, or remove it";
    else if (!error.empty())
        gpu.why_no_va = "no VA-API driver for " + gpu.node + " (" + gpu.driver + "; " + error + "): " + help;
    else if (gpu.va_profiles.empty())
        gpu.why_no_va = "the VA-API driver of " + gpu.node + " decodes nothing: " + help;
}

} // namespace spice_overlay::doctor
