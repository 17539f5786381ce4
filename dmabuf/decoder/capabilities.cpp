// SPDX-License-Identifier: LGPL-2.1-or-later
#include "capabilities.h"

#include "child.h"
#include "portclient/base/unique_fd.h"

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <sstream>

namespace spice_overlay {

namespace {

constexpr std::chrono::seconds kPatience{20}; ///< a cold disk, or a home on the network, takes seconds to load FFmpeg
constexpr std::chrono::milliseconds kEndPatience{500}; ///< with one that has answered, or has had its time
constexpr std::size_t kMaxOutput = 16384; ///< bytes

/// All that comes until the other end closes; false when that takes too long or is too much.
bool read_all(int fd, std::string &text)
{
    const auto deadline = std::chrono::steady_clock::now() + kPatience;
    for (;;) {
        const auto left =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now()).count();
        pollfd poll{fd, POLLIN, 0};
        if (left <= 0 || ::poll(&poll, 1, static_cast<int>(left)) == 0)
            return false;
        char bytes[4096];
        const ssize_t size = ::read(fd, bytes, sizeof bytes);
        if (size < 0 && errno != EINTR)
            return false;
        if (size == 0)
            return true;
        if (size > 0)
            text.append(bytes, static_cast<std::size_t>(size));
        if (text.size() > kMaxOutput)
            return false;
    }
}

} // namespace

Result<std::string> ask_decoder(const std::string &program, const char *question)
{
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0)
        return Error{std::string("cannot make a pipe: ") + std::strerror(errno)};
    const UniqueFd ours(ends[0]);
    UniqueFd theirs(ends[1]);
    auto pid = spawn(program, {question}, {}, theirs.get());
    if (!pid)
        return pid.error();
    theirs.reset();
    std::string text;
    const bool complete = read_all(ours.get(), text);
    const auto how = kill_and_reap(*pid, kEndPatience);
    if (!how)
        kill_and_leave(*pid);
    if (!complete)
        return Error{"cannot learn what " + program + " decodes: it does not answer"};
    if (text.empty())
        return Error{program + " decodes nothing (" + how.value_or("killed, but not gone") + "); is FFmpeg complete?"};
    return text;
}

Result<std::vector<wire::CodecCapability>> decoder_capabilities(const std::string &program)
{
    auto answer = ask_decoder(program, "--codecs");
    if (!answer)
        return answer.error();
    std::vector<wire::CodecCapability> list;
    std::istringstream lines(*answer);
    std::string line;
    while (std::getline(lines, line)) {
        std::istringstream fields(line);
        unsigned number = 0;
        wire::CodecCapability capability;
        if (!(fields >> number >> capability.max_width >> capability.max_height) || number < 1 || number > 7)
            continue;
        capability.codec = static_cast<wire::Codec>(number);
        capability.max_width = std::min(capability.max_width, wire::kMaxCodedSide);
        capability.max_height = std::min(capability.max_height, wire::kMaxCodedSide);
        list.push_back(capability);
    }
    if (list.empty())
        return Error{program + " decodes nothing; is FFmpeg complete?"};
    return list;
}

} // namespace spice_overlay
