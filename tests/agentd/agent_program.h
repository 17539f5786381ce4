// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "tests/guest/media_files.h"
#include "tests/guest/model_client.h"

#include <gtest/gtest.h>

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>

namespace spice_overlay::test {

constexpr std::int64_t kMs = 1'000'000;

/// The number behind the first `"key": `; -1 when it is not there.
inline long statistic(const std::string &path, const std::string &key)
{
    auto bytes = read_bytes(path);
    std::string text(bytes.begin(), bytes.end());
    std::size_t at = text.find("\"" + key + "\": ");
    return at == std::string::npos ? -1 : std::strtol(text.c_str() + at + key.size() + 4, nullptr, 10);
}

inline long open_descriptors(int pid)
{
    std::error_code error;
    auto all = std::filesystem::directory_iterator("/proc/" + std::to_string(pid) + "/fd", error);
    return error ? -1 : std::distance(all, {});
}

inline long resident_kib(int pid)
{
    std::ifstream status("/proc/" + std::to_string(pid) + "/status");
    for (std::string line; std::getline(status, line);)
        if (line.starts_with("VmRSS:"))
            return std::stol(line.substr(6));
    return -1;
}

/// The real agent on a unix socket as its port, and a model client behind that.
class AgentProgram : public testing::Test {
protected:
    void TearDown() override
    {
        for (const std::string &error : client_.errors)
            ADD_FAILURE() << "the client saw: " << error;
        if (HasFailure() && agent_)
            ADD_FAILURE() << "the agent said: " << agent_->errors();
    }

    static std::string clip()
    {
        static TemporaryDirectory directory;
        std::string path = directory / "clip.mp4";
        if (access(path.c_str(), R_OK) != 0 && has_ffmpeg() && has_encoder("libx264")
            && !make_clip(path,
                          {"-c:v", "libx264", "-preset", "veryfast", "-bf", "0", "-g", "50", "-sc_threshold", "0"}, 20))
            path.clear();
        return path;
    }

    void start_agent(std::vector<std::string> more = {})
    {
        std::vector<std::string> words = {"--port",  port_,     "--socket", socket_,    "--sessions",
                                          sessions_, "--stats", stats_,     "--verbose"};
        words.insert(words.end(), more.begin(), more.end());
        agent_ = std::make_unique<Program>(words, -1, AGENT_PROGRAM);
    }
    /// An agent and a client that have met.
    void start()
    {
        listener_ = listen_unix(port_);
        start_agent();
        ASSERT_TRUE(client_.accept(listener_.get()));
        ASSERT_TRUE(client_.run_until([&] { return client_.established == 1; })) << agent_->errors();
    }
    std::unique_ptr<Program> play(std::vector<std::string> more = {})
    {
        std::vector<std::string> words = {clip(), "--loop", "--quiet", "--port", socket_};
        words.insert(words.end(), more.begin(), more.end());
        return std::make_unique<Program>(words);
    }
    /// A connection to the agent's socket.
    UniqueFd connect()
    {
        sockaddr_un address{};
        address.sun_family = AF_UNIX;
        std::strncpy(address.sun_path, socket_.c_str(), sizeof address.sun_path - 1);
        UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        if (::connect(fd.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) != 0)
            fd.reset();
        return fd;
    }
    auto units(std::size_t count)
    {
        return [this, count] { return client_.units.size() >= count; };
    }
    auto units_of(std::uint32_t stream, std::size_t count)
    {
        return [this, stream, count] { return client_.units_of(stream).size() >= count; };
    }
    /// The agent's figures of this moment.
    void ask_for_figures()
    {
        std::filesystem::remove(stats_);
        agent_->signal(SIGUSR1);
        ASSERT_TRUE(client_.run_until([&] { return access(stats_.c_str(), R_OK) == 0; }));
    }

    TemporaryDirectory directory_;
    std::string port_ = directory_ / "port";
    std::string socket_ = directory_ / "agent.sock";
    std::string stats_ = directory_ / "stats.json";
    std::string sessions_ = "any";
    UniqueFd listener_;
    ModelClient client_;
    std::unique_ptr<Program> agent_;
};

class AgentWithClip : public AgentProgram {
protected:
    void SetUp() override
    {
        if (clip().empty() || access(clip().c_str(), R_OK) != 0)
            GTEST_SKIP() << "the program ffmpeg with libx264 is not installed";
    }
};

} // namespace spice_overlay::test
