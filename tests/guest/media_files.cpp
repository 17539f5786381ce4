// SPDX-License-Identifier: LGPL-2.1-or-later
#include "media_files.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>

extern char **environ;

namespace spice_overlay::test {

TemporaryDirectory::TemporaryDirectory()
{
    std::string pattern = (std::filesystem::temp_directory_path() / "spice-overlay-XXXXXX").string();
    if (!mkdtemp(pattern.data()))
        std::abort();
    path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory()
{
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

bool ffmpeg(const std::vector<std::string> &words, std::string *output)
{
    std::vector<std::string> all = {"ffmpeg", "-v", "error", "-nostdin", "-y"};
    all.insert(all.end(), words.begin(), words.end());
    setenv("SVT_LOG", "1", 0); // errors only
    std::vector<char *> argv;
    for (std::string &word : all)
        argv.push_back(word.data());
    argv.push_back(nullptr);

    int pipe_ends[2];
    if (pipe(pipe_ends) != 0)
        return false;
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_ends[1], STDOUT_FILENO);
    posix_spawn_file_actions_addclose(&actions, pipe_ends[0]);
    posix_spawn_file_actions_addclose(&actions, pipe_ends[1]);
    pid_t pid = 0;
    int error = posix_spawnp(&pid, argv[0], &actions, nullptr, argv.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    close(pipe_ends[1]);
    std::string text;
    char buffer[4096];
    for (ssize_t got; error == 0 && (got = read(pipe_ends[0], buffer, sizeof buffer)) > 0;)
        text.append(buffer, static_cast<std::size_t>(got));
    close(pipe_ends[0]);
    if (output)
        *output = text;
    int status = 0;
    return error == 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool has_ffmpeg()
{
    static bool there = ffmpeg({"-version"});
    return there;
}

bool has_encoder(const std::string &name)
{
    static std::string list = [] {
        std::string text;
        (void)ffmpeg({"-hide_banner", "-encoders"}, &text);
        return text;
    }();
    return list.find(" " + name + " ") != std::string::npos;
}

std::vector<std::string> picture_checksums(const std::string &path, const std::string &format)
{
    std::vector<std::string> words;
    if (!format.empty())
        words = {"-f", format};
    for (const char *word : {"-noautorotate", "-xerror", "-i", path.c_str(), "-map", "0:v:0", "-fps_mode",
                             "passthrough", "-f", "framemd5", "-"})
        words.push_back(word);
    std::string text;
    std::vector<std::string> sums;
    if (!ffmpeg(words, &text))
        return sums;
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);)
        if (!line.empty() && line[0] != '#')
            sums.push_back(line.substr(line.rfind(' ') + 1));
    return sums;
}

bool make_clip(const std::string &path, const std::vector<std::string> &encoder, int seconds, const std::string &size)
{
    std::vector<std::string> words = {
        "-f", "lavfi", "-i", "testsrc2=size=" + size + ":rate=25,format=yuv420p", "-t", std::to_string(seconds)};
    words.insert(words.end(), encoder.begin(), encoder.end());
    words.push_back(path);
    return ffmpeg(words);
}

void write_ivf(const std::string &path, const char (&fourcc)[5], const std::vector<std::vector<std::uint8_t>> &frames)
{
    std::vector<std::uint8_t> out;
    auto number = [&](std::uint64_t value, int bytes) {
        for (int i = 0; i < bytes; i++)
            out.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    };
    auto text = [&](const char *what) { out.insert(out.end(), what, what + 4); };
    text("DKIF");
    number(0, 2);
    number(32, 2);
    text(fourcc);
    number(320, 2);
    number(240, 2);
    number(25, 4);
    number(1, 4);
    number(frames.size(), 4);
    number(0, 4);
    for (std::size_t i = 0; i < frames.size(); i++) {
        number(frames[i].size(), 4);
        number(i, 8);
        out.insert(out.end(), frames[i].begin(), frames[i].end());
    }
    write_bytes(path, out);
}

void write_bytes(const std::string &path, std::span<const std::uint8_t> bytes)
{
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char *>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
}

std::vector<std::uint8_t> read_bytes(const std::string &path)
{
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

} // namespace spice_overlay::test
