// SPDX-License-Identifier: LGPL-2.1-or-later
#include "test_client.h"
#include "test_process.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <csignal>
#include <fstream>

using namespace spice_overlay;
using namespace spice_overlay::host::testing_tools;

namespace {

constexpr char kScene[] = "desktop 320x200\nwindow notes 20 20 200 120\nvideo 1 film 100 60 160 90\n"
                          "open film\nstep one\nmove film 10 50 over 100ms\nstep two\n";

std::string member(const std::string &json, const std::string &name)
{
    std::size_t at = json.find("\"" + name + "\":\"");
    if (at == std::string::npos)
        return {};
    at += name.size() + 4;
    return json.substr(at, json.find('"', at) - at);
}

/// A PPM as 0xRRGGBB; empty when it is not one.
std::vector<std::uint32_t> read_ppm(const std::string &path, int &width, int &height)
{
    std::string bytes = read_file(path);
    int header = 0;
    if (std::sscanf(bytes.c_str(), "P6 %d %d 255%n", &width, &height, &header) != 2 || width <= 0 || height <= 0)
        return {};
    std::vector<std::uint32_t> pixels(static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
    if (bytes.size() != static_cast<std::size_t>(header) + 1 + pixels.size() * 3)
        return {};
    const auto *at = reinterpret_cast<const unsigned char *>(bytes.data()) + header + 1;
    for (std::uint32_t &pixel : pixels) {
        pixel = static_cast<std::uint32_t>(at[0] << 16 | at[1] << 8 | at[2]);
        at += 3;
    }
    return pixels;
}

struct SceneRun {
    const char *scene;
    const char *compression;
    const char *skew;
};

class EveryScene : public testing::TestWithParam<SceneRun> {};

TEST_P(EveryScene, arrives_at_a_client_pixel_by_pixel_at_each_step)
{
    HostProgram host(std::string(SCENES) + "/" + GetParam().scene + ".scene",
                     {"--compression", GetParam().compression, "--skew", GetParam().skew});
    ASSERT_TRUE(host.ready()) << host.program().output();
    Peer control(host.path("control"));
    Client client(host.spice());
    int steps = 0;
    while (auto line = control.next_line("\"event\":\"")) {
        if (line->find("\"end\"") != std::string::npos)
            break;
        if (line->find("\"step\"") == std::string::npos)
            continue;
        ++steps;
        int width = 0;
        int height = 0;
        auto expected = read_ppm(member(*line, "framebuffer"), width, height);
        ASSERT_FALSE(expected.empty()) << *line;
        bool equal = wait_until([&] { return client.width == width && client.picture() == expected; });
        EXPECT_TRUE(equal) << member(*line, "name") << ": the client has another picture";
        if (!equal)
            break;
        control.send("continue\n");
    }
    EXPECT_GE(steps, 3);
    EXPECT_TRUE(wait_until([&] { return client.cursor_set; }));
}

INSTANTIATE_TEST_SUITE_P(Shipped, EveryScene,
                         testing::Values(SceneRun{"occlude", "off", "0"}, SceneRun{"shapes", "auto_glz", "0"},
                                         SceneRun{"drag", "off", "50"}, SceneRun{"resize", "lz", "-50"},
                                         SceneRun{"minimise", "quic", "0"}, SceneRun{"streams", "off", "random"},
                                         SceneRun{"chaos", "off", "0"}, SceneRun{"idle", "glz", "0"}),
                         [](const auto &one) { return std::string(one.param.scene); });

TEST(Host, tells_the_keys_and_the_pointer_of_a_client)
{
    HostProgram host(kScene);
    ASSERT_TRUE(host.ready());
    Peer control(host.path("control"));
    Client client(host.spice());
    ASSERT_TRUE(wait_until([&] { return client.inputs_opened && client.display != nullptr && client.width != 0; }));
    ASSERT_TRUE(wait_until([&] {
        int mode = 0;
        if (client.main != nullptr)
            g_object_get(client.main, "mouse-mode", &mode, nullptr);
        return mode == SPICE_MOUSE_MODE_CLIENT;
    })) << "the client cannot draw the pointer itself";
    spice_inputs_channel_key_press(client.inputs, 0x1E);
    spice_inputs_channel_key_release(client.inputs, 0x1E);
    EXPECT_TRUE(control.next_line(R"({"event":"key","code":30,"down":true})"));
    EXPECT_TRUE(control.next_line(R"({"event":"key","code":30,"down":false})"));
    spice_inputs_channel_key_press(client.inputs, 0x148); // cursor up: prefix E0
    EXPECT_TRUE(control.next_line(R"({"event":"key","code":328,"down":true})"));
    spice_inputs_channel_position(client.inputs, 123, 45, 0, 0);
    EXPECT_TRUE(control.next_line(R"({"event":"pointer","x":123,"y":45,"buttons":0})"));
    spice_inputs_channel_button_press(client.inputs, SPICE_MOUSE_BUTTON_LEFT, SPICE_MOUSE_BUTTON_MASK_LEFT);
    EXPECT_TRUE(control.next_line(R"({"event":"pointer","x":123,"y":45,"buttons":1})"));
}

TEST(Host, stops_at_a_step_until_the_controller_continues)
{
    HostProgram host(kScene);
    ASSERT_TRUE(host.ready());
    Peer control(host.path("control"));
    Client client(host.spice());
    EXPECT_TRUE(control.next_line(R"("event":"client-connected")"));
    auto step = control.next_line(R"("event":"step")");
    ASSERT_TRUE(step);
    EXPECT_NE(step->find(R"("name":"one","index":1)"), std::string::npos) << *step;
    EXPECT_NE(step->find(R"("videos":[{"index":1,"state":"playing","target":[100,60,160,90],)"
                         R"("visible":[[100,60,160,90]],"placeholder":"01FE77"}])"), std::string::npos) << *step;
    Peer late(host.path("control"));
    EXPECT_TRUE(late.next_line(R"("name":"one")")) << "a controller that comes late is not told where the scene stands";
    EXPECT_EQ(control.received().find("\"two\""), std::string::npos);
    control.send("continue\n");
    EXPECT_TRUE(control.next_line(R"("name":"two")"));
    control.close();
    late.close(); // nobody is left to continue: the scene goes on
    Peer again(host.path("control"));
    again.send("quit\n");
    EXPECT_EQ(host.program().wait(), 0);
    EXPECT_NE(read_file(host.path("stats.json")).find("\"steps\":2"), std::string::npos);
}

TEST(Host, resizable_takes_the_size_that_a_client_asks_for)
{
    HostProgram host(kScene, {"--resizable"});
    ASSERT_TRUE(host.ready());
    Peer control(host.path("control"));
    Client client(host.spice());
    ASSERT_TRUE(control.next_line("\"one\""));
    gboolean agent = FALSE;
    ASSERT_TRUE(wait_until([&] {
        if (client.main != nullptr)
            g_object_get(client.main, "agent-connected", &agent, nullptr);
        return agent && client.width == 320;
    }));
    spice_main_channel_update_display_enabled(client.main, 0, TRUE, FALSE);
    spice_main_channel_update_display(client.main, 0, 0, 0, 401, 303, TRUE);
    ASSERT_TRUE(control.next_line(R"({"event":"resized","width":401,"height":303})"));
    control.send("continue\n");
    auto line = control.next_line("\"two\"");
    ASSERT_TRUE(line);
    int width = 0;
    int height = 0;
    auto expected = read_ppm(member(*line, "framebuffer"), width, height);
    EXPECT_EQ(width, 401);
    EXPECT_EQ(height, 303);
    EXPECT_TRUE(wait_until([&] { return client.width == 401 && client.picture() == expected; }));
    ASSERT_TRUE(wait_until([&] { return client.inputs_opened; }));
    spice_inputs_channel_position(client.inputs, 400, 302, 0, 0);
    EXPECT_TRUE(control.next_line(R"("x":400,"y":302)"));
}

TEST(Host, starts_the_scene_when_client_and_port_are_there)
{
    TemporaryDirectory directory;
    HostProgram host(kScene, {"--port-socket", directory.path("port")});
    ASSERT_TRUE(host.ready());
    Peer control(host.path("control"));
    Client client(host.spice());
    ASSERT_TRUE(control.next_line("client-connected"));
    ASSERT_TRUE(wait_until([&] { return client.port != nullptr && client.width != 0; }));
    EXPECT_EQ(control.received().find("step"), std::string::npos);
    Peer program(directory.path("port"));
    EXPECT_TRUE(control.next_line(R"("name":"one")"));
}

TEST(Geometry, follows_the_scene_line_by_line)
{
    HostProgram host("desktop 320x200\nvideo 1 film -10 60 160 90\nwindow notes 20 20 50 200 hidden\n"
                     "open film\nstep one\nshow notes\nstep two\npause film\nminimise film\nseek film 1500ms\n"
                     "resume film\nstep three\nclose film\nopen film\nstep four\nclose film\nstep five\n");
    ASSERT_TRUE(host.ready());
    Peer control(host.path("control"));
    Peer geometry(host.path("geometry"));
    Client client(host.spice());
    ASSERT_TRUE(wait_until([&] { return client.width != 0; }));
    std::string expected = "geometry 1 0 -10 60 160 90 01FE77 1 0 60 150 90\nopen 1\n";
    EXPECT_TRUE(control.next_line("\"one\""));
    EXPECT_TRUE(geometry.wait_for(expected)) << geometry.received();
    control.send("continue\n");
    EXPECT_TRUE(control.next_line("\"two\""));
    expected += "geometry 1 0 -10 60 160 90 01FE77 2 0 60 20 90 70 60 80 90\n";
    EXPECT_TRUE(geometry.wait_for(expected)) << geometry.received();
    control.send("continue\n");
    EXPECT_TRUE(control.next_line("\"three\""));
    expected += "geometry 1 0 -10 60 160 90 01FE77 0\npause 1\nseek 1 1.5\nresume 1\n";
    EXPECT_TRUE(geometry.wait_for(expected)) << geometry.received();
    Peer late(host.path("geometry"));
    EXPECT_TRUE(late.wait_for("geometry 1 0 -10 60 160 90 01FE77 0\nopen 1\n")) << late.received();
    control.send("continue\n");
    EXPECT_TRUE(control.next_line("\"four\""));
    expected +=
        "close 1\nopen 1\ngeometry 1 0 -10 60 160 90 01FE77 0\n"; // which the sender has forgotten with the close
    EXPECT_TRUE(geometry.wait_for(expected)) << geometry.received();
    control.send("continue\n");
    EXPECT_TRUE(control.next_line("\"five\""));
    EXPECT_TRUE(geometry.wait_for(expected + "close 1\n"));
    EXPECT_EQ(geometry.received(), expected + "close 1\n");
}

class GeometrySkew : public testing::TestWithParam<int> {};

TEST_P(GeometrySkew, separates_the_desktops_damage_from_its_geometry)
{
    HostProgram host("desktop 320x200\nvideo 1 film 10 60 160 90\nopen film\nstep one\nmove film 100 60\nstep two\n",
                     {"--skew", std::to_string(GetParam())});
    ASSERT_TRUE(host.ready());
    Peer control(host.path("control"));
    Peer geometry(host.path("geometry"));
    Client client(host.spice());
    ASSERT_TRUE(control.next_line("\"one\""));
    ASSERT_TRUE(geometry.wait_for("open 1"));
    ASSERT_TRUE(wait_until([&] { return client.width != 0; }));
    // Whatever belongs to the first step has come: the client asks for nothing more.
    ASSERT_TRUE(wait_until([&] {
        return client.invalidations > 0 && g_get_monotonic_time() - client.last_invalidation > 200000;
    }));
    client.invalidations = 0;
    control.send("continue\n");
    std::int64_t geometry_at = 0;
    ASSERT_TRUE(wait_until([&] {
        if (geometry_at == 0 && geometry.received().find("geometry 1 0 100 60") != std::string::npos)
            geometry_at = g_get_monotonic_time();
        return geometry_at != 0 && client.invalidations > 0;
    }));
    double later = static_cast<double>(geometry_at - client.last_invalidation) / 1000;
    EXPECT_GT(later, GetParam() - 40) << "ms";
    EXPECT_LT(later, GetParam() + 40) << "ms";
}

INSTANTIATE_TEST_SUITE_P(Milliseconds, GeometrySkew, testing::Values(-150, 0, 150),
                         [](const auto &one) {
                             return one.index == 0 ? "before" : one.index == 1 ? "together" : "after";
                         });

TEST(Host, lives_through_two_hundred_clients)
{
    HostProgram host("desktop 320x200\nwindow ticker 20 20 200 120 fps 60\n");
    ASSERT_TRUE(host.ready());
    Peer control(host.path("control"));
    for (int i = 0; i < 200; ++i) {
        auto client = std::make_unique<Client>(host.spice());
        ASSERT_TRUE(wait_until([&] { return client->width != 0 && client->cursor_set && client->invalidations > 0; }))
            << i;
        client.reset();
        ASSERT_TRUE(control.next_line("client-disconnected")) << i << host.program().output();
    }
    host.program().signal(SIGTERM);
    EXPECT_EQ(host.program().wait(), 0) << host.program().output();
}

TEST(Host, ends_cleanly_on_a_signal_with_a_client_connected)
{
    for (int number : {SIGTERM, SIGINT}) {
        HostProgram host("desktop 320x200\nwindow ticker 20 20 200 120 fps 60\n");
        ASSERT_TRUE(host.ready());
        Client client(host.spice());
        ASSERT_TRUE(wait_until([&] { return client.invalidations > 3; }));
        host.program().signal(number);
        EXPECT_EQ(host.program().wait(), 0) << host.program().output();
        EXPECT_TRUE(wait_until([&] { return client.closed_channels > 0; }));
        EXPECT_NE(read_file(host.path("stats.json")).find("\"client_connections\":1"), std::string::npos);
    }
}

struct BadCommand {
    const char *name;
    std::vector<std::string> arguments;
    int code;
    const char *message;
};

class CommandLine : public testing::TestWithParam<BadCommand> {};

TEST_P(CommandLine, says_what_is_wrong_and_exits)
{
    TemporaryDirectory directory;
    std::vector<std::string> arguments{HOST};
    arguments.insert(arguments.end(), GetParam().arguments.begin(), GetParam().arguments.end());
    Program program(arguments, directory.path("log"));
    EXPECT_EQ(program.wait(), GetParam().code);
    EXPECT_NE(program.output().find(GetParam().message), std::string::npos) << program.output();
}

const std::string kIdle = std::string(SCENES) + "/idle.scene";
const BadCommand kBadCommands[] = {
    {"no_scene", {}, 2, "no scene given"},
    {"no_such_scene", {"--scene", "/nonexistent.scene"}, 2, "cannot read scene '/nonexistent.scene'"},
    {"bad_scene", {"--scene", "/dev/null", "extra"}, 2, "unexpected argument 'extra'"},
    {"unknown_option", {"--scene", kIdle, "--frobnicate"}, 2, "--frobnicate"},
    {"unix_and_port", {"--scene", kIdle, "--unix", "/tmp/x", "--port", "1"}, 2, "--unix excludes"},
    {"port_beyond_range", {"--scene", kIdle, "--port", "70000"}, 2, "--port takes"},
    {"bad_skew", {"--scene", kIdle, "--skew", "soon"}, 2, "--skew takes"},
    {"bad_start", {"--scene", kIdle, "--start-on", "monday"}, 2, "--start-on takes"},
    {"start_on_a_port_that_is_not_there", {"--scene", kIdle, "--start-on", "port"}, 2, "needs --port-socket"},
    {"socket_in_no_directory", {"--scene", kIdle, "--unix", "/nonexistent/x"}, 1, "cannot serve SPICE"},
    {"version", {"--version"}, 0, "spice-overlay-host 0."},
    {"help", {"--help"}, 0, "--geometry-socket"},
};

INSTANTIATE_TEST_SUITE_P(Mistakes, CommandLine, testing::ValuesIn(kBadCommands),
                         [](const auto &one) { return std::string(one.param.name); });

TEST(Host, names_file_and_line_of_a_bad_scene)
{
    TemporaryDirectory directory;
    std::ofstream(directory.path("bad.scene")) << "desktop 320x200\nfly away\n";
    Program program({HOST, "--scene", directory.path("bad.scene")}, directory.path("log"));
    EXPECT_EQ(program.wait(), 2);
    EXPECT_NE(program.output().find("bad.scene:2: unknown statement 'fly'"), std::string::npos) << program.output();
}

TEST(Host, does_not_take_an_address_that_is_in_use)
{
    HostProgram first(kScene);
    ASSERT_TRUE(first.ready());
    TemporaryDirectory directory;
    Program second({HOST, "--scene", kIdle, "--unix", first.spice()}, directory.path("log"));
    EXPECT_EQ(second.wait(), 1);
    EXPECT_NE(second.output().find("address in use"), std::string::npos) << second.output();
    Client client(first.spice());
    EXPECT_TRUE(wait_until([&] { return client.width != 0; })) << "the first one does not serve any more";

    Program third({HOST, "--scene", kIdle, "--unix", directory.path("spice"), "--control-socket",
                   first.path("control")}, directory.path("log"));
    EXPECT_EQ(third.wait(), 1);
    EXPECT_NE(third.output().find("address in use"), std::string::npos) << third.output();
}

TEST(Host, takes_over_the_socket_of_one_that_died)
{
    TemporaryDirectory directory;
    for (int i = 0; i < 2; ++i) {
        Program host({HOST, "--scene", kIdle, "--unix", directory.path("spice"), "--control-socket",
                      directory.path("control")}, directory.path("log"));
        ASSERT_TRUE(host.wait_for_output("ready on")) << host.output();
        host.signal(SIGKILL);
        EXPECT_EQ(host.wait(), 128 + SIGKILL);
    }
}

TEST(Spicy, the_stock_client_connects_and_sees_our_port_opened)
{
    TemporaryDirectory directory;
    Program probe({"sh", "-c", "command -v spicy && command -v Xvfb"}, directory.path("probe"));
    if (probe.wait() != 0)
        GTEST_SKIP() << "spicy and Xvfb are not both installed (packages spice-client-gtk and xvfb)";
    Program xvfb({"sh", "-c", "exec Xvfb -displayfd 3 -screen 0 1024x768x24 -nolisten tcp 3>" +
                  directory.path("display")}, directory.path("xvfb.log"));
    ASSERT_TRUE(wait_until([&] { return read_file(directory.path("display")).find('\n') != std::string::npos; }))
        << xvfb.output();
    std::string display = read_file(directory.path("display"));
    display.pop_back();
    HostProgram host(kScene, {"--port-socket", directory.path("port"), "--port-name", "org.spice-overlay.video.0"});
    ASSERT_TRUE(host.ready());
    Peer control(host.path("control"));
    Program spicy({"spicy", "--spice-debug", "--uri=spice+unix://" + host.spice()}, directory.path("spicy.log"),
                  {"DISPLAY=:" + display, "G_MESSAGES_DEBUG=all", "GDK_BACKEND=x11", "NO_AT_BRIDGE=1",
                   "HOME=" + directory.path("home"), "XDG_RUNTIME_DIR=" + directory.path("")});
    ASSERT_TRUE(control.next_line("client-connected")) << spicy.output();
    ASSERT_TRUE(spicy.wait_for_output("org.spice-overlay.video.0")) << "no port of our name";
    Peer program(directory.path("port"));
    EXPECT_TRUE(spicy.wait_for_output("port event: 0")) << "not told that the port is open";
    // Nothing it cannot bear: the scene goes on, data on the port included.
    program.send(std::string(100000, 'x'));
    ASSERT_TRUE(control.next_line(R"("name":"one")"));
    control.send("continue\n");
    ASSERT_TRUE(control.next_line(R"("name":"two")"));
    program.close();
    EXPECT_TRUE(spicy.wait_for_output("port event: 1"));
    EXPECT_EQ(control.received().find("client-disconnected"), std::string::npos);
}

} // namespace
