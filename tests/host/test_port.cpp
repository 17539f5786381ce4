// SPDX-License-Identifier: LGPL-2.1-or-later
#include "test_client.h"
#include "test_process.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <termios.h>

#include <random>

using namespace spice_overlay;
using namespace spice_overlay::host::testing_tools;

namespace {

constexpr char kScene[] = "desktop 320x200\nwindow notes 20 20 200 120\n";
constexpr std::size_t kMegabyte = 1u << 20;

std::vector<std::uint8_t> random_bytes(std::size_t count, unsigned seed)
{
    std::mt19937 random(seed);
    std::vector<std::uint8_t> bytes(count);
    for (auto &byte : bytes)
        byte = static_cast<std::uint8_t>(random());
    return bytes;
}

std::string as_string(const std::vector<std::uint8_t> &bytes)
{
    return {bytes.begin(), bytes.end()};
}

/// The same port behind a unix socket and behind a pty.
class Port : public testing::TestWithParam<std::string> {
protected:
    void SetUp() override
    {
        if (GetParam() == "pty" && !there_are_ptys())
            GTEST_SKIP() << "no pseudo terminal can be had here: mount devpts on /dev/pts";
        path_ = directory_.path("port");
        host_.emplace(kScene, std::vector<std::string>{"--port-" + GetParam(), path_, "--port-name", "a.name"});
        ASSERT_TRUE(host_->ready()) << host_->program().output();
        control_.emplace(host_->path("control"));
        client_.emplace(host_->spice());
        ASSERT_TRUE(wait_until([&] { return client_->port != nullptr && !name().empty(); }));
    }

    std::string name() const
    {
        char *text = nullptr;
        g_object_get(client_->port, "port-name", &text, nullptr);
        std::string name = text != nullptr ? text : "";
        g_free(text);
        return name;
    }

    /// As a guest program opens it.
    Peer open_port()
    {
        if (GetParam() == "socket")
            return Peer(path_);
        return Peer(UniqueFd(open(path_.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC)));
    }

    bool client_saw(const std::string &events)
    {
        return wait_until([&] { return client_->port_events == events; });
    }

    TemporaryDirectory directory_;
    std::string path_;
    std::optional<HostProgram> host_;
    std::optional<Peer> control_;
    std::optional<Client> client_;
};

INSTANTIATE_TEST_SUITE_P(Endpoints, Port, testing::Values("socket", "pty"), [](const auto &one) { return one.param; });

TEST_P(Port, has_the_name_it_was_given_and_is_closed_until_a_program_opens_it)
{
    EXPECT_EQ(name(), "a.name");
    gboolean opened = TRUE;
    g_object_get(client_->port, "port-opened", &opened, nullptr);
    EXPECT_FALSE(opened);
    Peer program = open_port();
    EXPECT_TRUE(client_saw("OPENED "));
    EXPECT_TRUE(control_->wait_for("port-opened"));
}

TEST_P(Port, is_closed_and_opened_for_the_client_as_programs_come_and_go)
{
    std::string expected;
    for (int i = 0; i < 5; ++i) {
        Peer program = open_port();
        EXPECT_TRUE(client_saw(expected += "OPENED ")) << client_->port_events;
        program.close();
        EXPECT_TRUE(client_saw(expected += "CLOSED ")) << client_->port_events;
    }
    Peer program = open_port();
    EXPECT_TRUE(client_saw(expected += "OPENED "));
    program.send("hello");
    EXPECT_TRUE(wait_until([&] { return client_->port_data.size() == 5; }));
}

TEST_P(Port, passes_a_megabyte_each_way_at_the_same_time_unchanged)
{
    Peer program = open_port();
    ASSERT_TRUE(client_saw("OPENED "));
    std::vector<std::uint8_t> down = random_bytes(kMegabyte, 1);
    std::vector<std::uint8_t> up = random_bytes(kMegabyte, 2);
    client_->send_to_port(up);
    fcntl(program.fd(), F_SETFL, O_NONBLOCK);
    std::size_t sent = 0;
    EXPECT_TRUE(wait_until([&] {
        if (sent < down.size()) {
            ssize_t count = write(program.fd(), down.data() + sent, std::min<std::size_t>(down.size() - sent, 5000));
            sent += count > 0 ? static_cast<std::size_t>(count) : 0;
        }
        return program.received().size() >= up.size() && client_->port_data.size() >= down.size();
    })) << "to the guest " << program.received().size() << ", to the client " << client_->port_data.size();
    EXPECT_TRUE(client_->port_data == down);
    EXPECT_TRUE(program.received() == as_string(up));
    EXPECT_FALSE(client_->port_write_failed);
}

TEST_P(Port, hands_over_what_a_program_wrote_before_it_closed)
{
    std::vector<std::uint8_t> bytes = random_bytes(3000, 3);
    Peer program = open_port();
    program.send(as_string(bytes));
    program.close();
    EXPECT_TRUE(client_saw("OPENED CLOSED "));
    EXPECT_TRUE(client_->port_data == bytes) << client_->port_data.size();
}

TEST_P(Port, gives_the_next_program_nothing_that_was_meant_for_the_last)
{
    Peer first = open_port();
    ASSERT_TRUE(client_saw("OPENED "));
    client_->send_to_port(random_bytes(500, 4));
    ASSERT_TRUE(wait_until([&] { return client_->port_writes_left == 0; }));
    first.close(); // without having read
    ASSERT_TRUE(client_saw("OPENED CLOSED "));
    Peer second = open_port();
    ASSERT_TRUE(client_saw("OPENED CLOSED OPENED "));
    client_->send_to_port({'n', 'e', 'w'});
    EXPECT_TRUE(second.wait_for("new"));
    EXPECT_EQ(second.received(), "new");
}

TEST_P(Port, closed_and_opened_by_a_tester_loses_what_is_sent_between)
{
    Peer program = open_port();
    ASSERT_TRUE(client_saw("OPENED "));
    control_->send("close-port\n");
    ASSERT_TRUE(client_saw("OPENED CLOSED "));
    program.send("lost");
    ASSERT_TRUE(wait_until([&] {
        control_->send("stats\n");
        return control_->next_line("\"stats\"").value_or("").find("\"bytes_discarded\":4}") != std::string::npos;
    }));
    control_->send("open-port\n");
    ASSERT_TRUE(client_saw("OPENED CLOSED OPENED "));
    program.send("kept");
    ASSERT_TRUE(wait_until([&] { return client_->port_data.size() >= 4; }));
    EXPECT_EQ(as_string(client_->port_data), "kept");
}

TEST_P(Port, paused_by_a_tester_holds_bytes_back_until_resumed)
{
    Peer program = open_port();
    ASSERT_TRUE(client_saw("OPENED "));
    control_->send("pause-port\nbogus\n");
    ASSERT_TRUE(control_->wait_for("unknown command 'bogus'")); // so the pause has been seen
    program.send("patience");
    client_->send_to_port({'u', 'p'});
    ASSERT_TRUE(program.wait_for("up")); // the other way is open, and time has passed
    EXPECT_TRUE(client_->port_data.empty());
    control_->send("resume-port\n");
    EXPECT_TRUE(wait_until([&] { return as_string(client_->port_data) == "patience"; }));
}

TEST_P(Port, injects_as_much_garbage_as_a_tester_asks_for)
{
    Peer program = open_port();
    ASSERT_TRUE(client_saw("OPENED "));
    control_->send("garbage-port 100000\n");
    EXPECT_TRUE(wait_until([&] { return client_->port_data.size() == 100000; }));
    program.send("after");
    EXPECT_TRUE(wait_until([&] { return client_->port_data.size() == 100005; }));
}

TEST_P(Port, of_many_small_messages_arrives_in_few_pieces)
{
    Peer program = open_port();
    ASSERT_TRUE(client_saw("OPENED "));
    std::string expected;
    for (int i = 0; i < 5000; ++i) {
        std::string message = "message " + std::to_string(i) + "\n";
        program.send(message);
        expected += message;
    }
    ASSERT_TRUE(wait_until([&] { return client_->port_data.size() >= expected.size(); }));
    EXPECT_EQ(as_string(client_->port_data), expected);
    control_->send("quit\n");
    ASSERT_EQ(host_->program().wait(), 0);
    std::string stats = read_file(host_->path("stats.json"));
    std::size_t at = stats.find("\"pieces_to_client\":");
    ASSERT_NE(at, std::string::npos) << stats;
    EXPECT_LT(std::stoi(stats.substr(at + 19)), 1000) << stats;
}

TEST(PortSocket, refuses_a_second_program_while_the_first_has_it)
{
    TemporaryDirectory directory;
    HostProgram host(kScene, {"--port-socket", directory.path("port")});
    ASSERT_TRUE(host.ready());
    Peer first(directory.path("port"));
    Peer second(directory.path("port"));
    EXPECT_TRUE(wait_until([&] { return second.received().empty() && second.ended(); }));
    EXPECT_TRUE(first.received().empty() && !first.ended());
}

TEST(PortSocket, kicked_by_a_tester_lets_the_next_program_in)
{
    TemporaryDirectory directory;
    HostProgram host(kScene, {"--port-socket", directory.path("port")});
    ASSERT_TRUE(host.ready());
    Peer control(host.path("control"));
    Peer first(directory.path("port"));
    ASSERT_TRUE(control.wait_for("port-opened"));
    control.send("kick-port\n");
    EXPECT_TRUE(control.wait_for("port-closed"));
    EXPECT_TRUE(wait_until([&] { return first.received().empty() && first.ended(); }));
    Peer second(directory.path("port"));
    EXPECT_TRUE(control.next_line("port-opened") && control.next_line("port-opened"));
}

} // namespace
