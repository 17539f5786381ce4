// SPDX-License-Identifier: LGPL-2.1-or-later
#include "machine.h"

#include "dmabuf/allocator.h"
#include "dmabuf/decoder/capabilities.h"
#include "dmabuf/device.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/landlock.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <sstream>

namespace spice_overlay::doctor {

namespace {

namespace fs = std::filesystem;

constexpr char kDevices[] = "/dev/dri";

std::vector<std::string> render_nodes()
{
    std::vector<std::string> nodes;
    std::error_code error;
    for (fs::directory_iterator entry(kDevices, error), end; !error && entry != end; entry.increment(error))
        if (entry->path().filename().string().starts_with("renderD"))
            nodes.push_back(entry->path());
    std::sort(nodes.begin(), nodes.end());
    return nodes;
}

Gpu examine_gpu(const std::string &node)
{
    Gpu gpu;
    gpu.node = node;
    struct stat info = {};
    if (::stat(node.c_str(), &info) == 0)
        if (auto device = find_drm_device(info.st_rdev))
            gpu.driver = device->driver;
    const UniqueFd device(::open(node.c_str(), O_RDWR | O_CLOEXEC));
    if (device.valid()) {
        examine_va(gpu, device.get());
    } else {
        gpu.why_not = node_refusal(node, errno);
        gpu.why_no_va = gpu.why_not;
    }
    return gpu;
}

/// In a process of its own, since what it tries cannot be undone.
std::string why_no_user_namespaces()
{
    const pid_t child = ::fork();
    if (child == 0)
        std::_Exit(::unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
    int status = 0;
    if (child < 0 || ::waitpid(child, &status, 0) != child || !WIFEXITED(status))
        return "cannot be tried: no process for it";
    switch (WEXITSTATUS(status)) {
    case 0:
        return {};
    case ENOSPC:
        return "none may be made: sysctl user.max_user_namespaces=10000";
    case EPERM:
        return "ordinary users may make none: sysctl kernel.unprivileged_userns_clone=1, or in a container run without "
               "its filter";
    default:
        return std::string("none can be made: ") + std::strerror(WEXITSTATUS(status));
    }
}

Sandbox examine_sandbox()
{
    Sandbox sandbox;
    const long abi = ::syscall(SYS_landlock_create_ruleset, nullptr, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi > 0)
        sandbox.landlock_abi = static_cast<int>(abi);
    else if (errno == EOPNOTSUPP)
        sandbox.why_no_landlock = "it is switched off: add landlock to lsm= on the kernel's command line";
    else
        sandbox.why_no_landlock = "this kernel has none: 5.13 and newer do, with CONFIG_SECURITY_LANDLOCK";
    const std::uint32_t action = SECCOMP_RET_KILL_PROCESS;
    if (::syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) != 0)
        sandbox.why_no_seccomp = "this kernel has no seccomp filters: it needs CONFIG_SECCOMP_FILTER";
    sandbox.why_no_user_namespaces = why_no_user_namespaces();
    return sandbox;
}

Decoder examine_decoder(const std::string &program)
{
    Decoder decoder;
    decoder.program = program;
    auto answer = ask_decoder(program, "--codecs");
    if (!answer) {
        decoder.why_not = answer.error().message;
        return decoder;
    }
    std::istringstream lines(*answer);
    for (std::string line; std::getline(lines, line);) {
        std::istringstream fields(line);
        unsigned number = 0;
        unsigned width = 0;
        unsigned height = 0;
        std::string codec;
        if (fields >> number >> width >> height >> codec && number >= 1 && number <= 7)
            decoder.codecs.push_back({static_cast<wire::Codec>(number), codec});
    }
    if (auto layers = ask_decoder(program, "--sandbox-report")) {
        std::istringstream report(*layers);
        for (std::string line; std::getline(report, line);) {
            std::istringstream fields(line);
            std::string kind;
            std::string state;
            Decoder::Layer layer;
            if (fields >> kind >> layer.name >> state && kind == "layer") {
                layer.holds = state == "holds";
                std::getline(fields >> std::ws, layer.detail);
                decoder.sandbox.push_back(layer);
            }
        }
    }
    if (decoder.codecs.empty())
        decoder.why_not = program + " decodes nothing: install FFmpeg's libavcodec whole";
    return decoder;
}

} // namespace

std::string node_refusal(const std::string &node, int error)
{
    if (error != EACCES && error != EPERM)
        return node + " cannot be opened: " + std::strerror(error);
    struct stat info = {};
    const group *owner = ::stat(node.c_str(), &info) == 0 ? ::getgrgid(info.st_gid) : nullptr;
    const std::string name = owner && info.st_gid != 0 ? owner->gr_name : "render";
    return node + " may not be opened: usermod -aG " + name + " USER and log in again";
}

std::string va_package(const std::string &kernel_driver)
{
    struct Known {
        const char *kernel;
        const char *package;
    };
    static constexpr Known kKnown[] = {
        {"i915", "intel-media-va-driver (before Broadwell: i965-va-driver)"},
        {"xe", "intel-media-va-driver"},
        {"amdgpu", "mesa-va-drivers"},
        {"radeon", "mesa-va-drivers"},
        {"nouveau", "mesa-va-drivers"},
        {"virtio_gpu", "mesa-va-drivers"},
        {"nvidia", "nvidia-vaapi-driver"},
        {"nvidia-drm", "nvidia-vaapi-driver"},
    };
    for (const Known &known : kKnown)
        if (kernel_driver == known.kernel)
            return known.package;
    return {};
}

Machine examine_machine(const std::string &decoder_program)
{
    Machine machine;
    utsname system = {};
    if (::uname(&system) == 0)
        machine.kernel = std::string(system.sysname) + " " + system.release + " " + system.machine;
    for (const std::string &node : render_nodes())
        machine.gpus.push_back(examine_gpu(node));
    if (machine.gpus.empty())
        machine.why_no_gpu =
            "there is no render node (/dev/dri/renderD*): no GPU, or its kernel driver or firmware is missing";
    for (const AllocatorDriver &driver : allocator_drivers()) {
        auto device = driver.probe();
        machine.memories.push_back({driver.name, device ? "" : device.error().message});
    }
    machine.sandbox = examine_sandbox();
    machine.decoder = examine_decoder(decoder_program);
    return machine;
}

} // namespace spice_overlay::doctor
