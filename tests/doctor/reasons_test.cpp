// SPDX-License-Identifier: LGPL-2.1-or-later
#include "overlay/doctor/clips.h"
#include "overlay/doctor/machine.h"
#include "overlay/doctor/report.h"

#include <fcntl.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

namespace spice_overlay::doctor {
namespace {

void expect_says(const std::string &text, const char *what)
{
    EXPECT_NE(text.find(what), std::string::npos) << "'" << text << "' does not say: " << what;
}

TEST(Reasons, device_that_may_not_be_opened_names_the_group_that_may)
{
    const std::string node = testing::TempDir() + "doctor-node";
    ::close(::open(node.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
    expect_says(node_refusal(node, EBUSY), "cannot be opened: ");
    const group *video = ::getgrnam("video");
    if (!video || ::chown(node.c_str(), static_cast<uid_t>(-1), video->gr_gid) != 0)
        GTEST_SKIP() << "only root may give a file to a group";
    expect_says(node_refusal(node, EACCES), "usermod -aG video USER and log in again");
    std::filesystem::remove(node);
    expect_says(node_refusal(node, EACCES), "usermod -aG render USER"); // its usual group
}

TEST(Reasons, driver_of_the_kernel_tells_the_package)
{
    EXPECT_EQ(va_package("amdgpu"), "mesa-va-drivers");
    expect_says(va_package("i915"), "intel-media-va-driver");
    EXPECT_EQ(va_package("vc4"), "") << "has no VA-API: nothing to install";
}

TEST(Reasons, with_quotes_and_ends_of_lines_break_no_json)
{
    Report report;
    report.why_no_compositor = "there is \"none\"\n and \\ more";
    expect_says(as_text(report), "does-not-work");
    expect_says(as_json(report), "there is \\\"none\\\"\\u000a and \\\\ more");
}

TEST(Clips, are_eight_of_half_a_second_and_begin_with_a_picture)
{
    const std::vector<Clip> all = clips();
    ASSERT_EQ(all.size(), 8u);
    for (const Clip &clip : all) {
        EXPECT_EQ(clip.units.size(), kFrameRate / 2);
        EXPECT_TRUE(clip.height == 1080 || clip.height == 2160);
        EXPECT_EQ(clip.width, clip.height / 9 * 16);
        EXPECT_GT(clip.units[0].size(), clip.units[5].size());
    }
}

} // namespace
} // namespace spice_overlay::doctor
