// SPDX-License-Identifier: LGPL-2.1-or-later
#include "portclient/port_channel.h"

#include "portclient/base/unique_fd.h"

#include <gio/gio.h>
#include <gtest/gtest.h>
#include <spice-client.h>

#include <sys/socket.h>
#include <sys/un.h>

#include <fcntl.h>
#include <functional>
#include <vector>

namespace spice_overlay::test {
namespace {

constexpr char kName[] = "org.spice-overlay.test.7";

gboolean set_flag(gpointer flag)
{
    *static_cast<bool *>(flag) = true;
    return G_SOURCE_CONTINUE;
}

/// Runs the main loop until `done`; false after 20 seconds.
bool wait_until(const std::function<bool()> &done)
{
    bool late = false;
    guint deadline = g_timeout_add_seconds(20, set_flag, &late);
    bool unused = false;
    guint poll = g_timeout_add(5, set_flag, &unused); // what has no source of its own
    while (!done() && !late)
        g_main_context_iteration(nullptr, TRUE);
    g_source_remove(deadline);
    g_source_remove(poll);
    return done();
}

UniqueFd connect_to(const std::string &path)
{
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    if (connect(fd.get(), reinterpret_cast<sockaddr *>(&address), sizeof address) != 0)
        fd.reset();
    return fd;
}

struct Log : PortChannel::Listener {
    void opened() override
    {
        ++opens;
        if (on_opened)
            on_opened();
    }
    void closed() override { ++closes; }
    void data(std::span<const std::uint8_t> bytes) override { received.append(bytes.begin(), bytes.end()); }

    int opens = 0, closes = 0;
    std::string received;
    std::function<void()> on_opened;
};

std::span<const std::uint8_t> bytes_of(const std::string &text)
{
    return {reinterpret_cast<const std::uint8_t *>(text.data()), text.size()};
}

/// A real SPICE server with one port, in a process of its own; a client's session; and the program in the guest.
class PortChannelTest : public testing::Test {
protected:
    void SetUp() override
    {
        if (!g_file_test(HOST, G_FILE_TEST_IS_EXECUTABLE))
            GTEST_SKIP() << HOST << " is not built (it needs libspice-server)";
        char directory[] = "/tmp/port-channel-XXXXXX";
        ASSERT_TRUE(g_mkdtemp(directory));
        directory_ = directory;
        start_host();
        session_ = spice_session_new();
        g_object_set(session_, "unix-path", (directory_ + "/spice").c_str(), "enable-audio", FALSE, "enable-usbredir",
                     FALSE, nullptr);
    }

    void TearDown() override
    {
        if (session_) {
            spice_session_disconnect(session_);
            g_object_unref(session_);
        }
        guest_.reset();
        stop_host();
        if (!directory_.empty()) {
            for (const char *name : {"/spice", "/port", "/control"})
                unlink((directory_ + name).c_str());
            rmdir(directory_.c_str());
        }
    }

    void start_host()
    {
        GError *error = nullptr;
        host_ = g_subprocess_new(G_SUBPROCESS_FLAGS_STDOUT_PIPE, &error, HOST, "--scene", SCENE, "--unix",
                                 (directory_ + "/spice").c_str(), "--port-socket", (directory_ + "/port").c_str(),
                                 "--port-name", kName, "--control-socket", (directory_ + "/control").c_str(),
                                 "--start-on", "now", nullptr);
        ASSERT_TRUE(host_) << error->message;
        GInputStream *out = g_subprocess_get_stdout_pipe(host_); // it says "ready" when it listens, or ends
        char c = 0;
        while (c != '\n' && g_input_stream_read(out, &c, 1, nullptr, nullptr) == 1) {
        }
        ASSERT_EQ(c, '\n') << "the host did not start";
    }

    void stop_host()
    {
        if (!host_)
            return;
        g_subprocess_force_exit(host_);
        g_subprocess_wait(host_, nullptr, nullptr);
        g_clear_object(&host_);
    }

    void control(const std::string &line)
    {
        if (!control_.valid())
            control_ = connect_to(directory_ + "/control");
        ASSERT_TRUE(control_.valid());
        ASSERT_EQ(write(control_.get(), line.data(), line.size()), static_cast<ssize_t>(line.size()));
    }

    void open_guest()
    {
        guest_ = connect_to(directory_ + "/port");
        ASSERT_TRUE(guest_.valid());
    }

    void guest_writes(const std::string &text)
    {
        std::size_t written = 0;
        ASSERT_TRUE(wait_until([&] {
            ssize_t n = write(guest_.get(), text.data() + written, text.size() - written);
            written += n > 0 ? static_cast<std::size_t>(n) : 0;
            return written == text.size();
        }));
    }

    /// What the program in the guest has read, once it is `size` bytes; less after the deadline.
    std::string guest_reads(std::size_t size)
    {
        std::string text;
        wait_until([&] {
            char buffer[65536];
            for (ssize_t n; (n = read(guest_.get(), buffer, sizeof buffer)) > 0;)
                text.append(buffer, static_cast<std::size_t>(n));
            return text.size() >= size;
        });
        return text;
    }

    std::vector<SpiceChannel *> port_channels()
    {
        std::vector<SpiceChannel *> found;
        GList *channels = spice_session_get_channels(session_);
        for (GList *item = channels; item; item = item->next)
            if (SPICE_IS_PORT_CHANNEL(item->data))
                found.push_back(SPICE_CHANNEL(item->data));
        g_list_free(channels);
        return found;
    }

    std::string directory_;
    GSubprocess *host_ = nullptr;
    SpiceSession *session_ = nullptr;
    UniqueFd guest_, control_;
    Log log_;
};

TEST_F(PortChannelTest, port_that_is_open_before_the_client_comes_is_opened_and_carries_bytes_both_ways)
{
    open_guest();
    PortChannel port(session_, kName, log_);
    EXPECT_FALSE(port.write(bytes_of("too early")));
    log_.on_opened = [&] { EXPECT_TRUE(port.write(bytes_of("first "))); };
    ASSERT_TRUE(spice_session_connect(session_));
    ASSERT_TRUE(wait_until([&] { return log_.opens == 1; }));
    EXPECT_TRUE(port.is_open());
    EXPECT_TRUE(port.write(bytes_of("second ")));
    EXPECT_TRUE(port.write(bytes_of("third")));
    EXPECT_EQ(guest_reads(18), "first second third");
    guest_writes("from the guest");
    EXPECT_TRUE(wait_until([&] { return log_.received == "from the guest"; }));
    EXPECT_EQ(log_.closes, 0);
}

TEST_F(PortChannelTest, port_that_the_guest_opens_later_is_opened_then_and_not_before)
{
    PortChannel port(session_, kName, log_);
    ASSERT_TRUE(spice_session_connect(session_));
    char *name = nullptr;
    ASSERT_TRUE(wait_until([&] {
        for (SpiceChannel *channel : port_channels())
            g_object_get(channel, "port-name", &name, nullptr);
        return name != nullptr;
    }));
    g_free(name);
    EXPECT_EQ(log_.opens, 0);
    open_guest();
    EXPECT_TRUE(wait_until([&] { return log_.opens == 1; }));
}

TEST_F(PortChannelTest, channel_that_is_connected_already_is_taken_without_calling_back_from_the_constructor)
{
    open_guest();
    Log other;
    PortChannel first(session_, kName, other);
    ASSERT_TRUE(spice_session_connect(session_));
    ASSERT_TRUE(wait_until([&] { return other.opens == 1; }));
    PortChannel port(session_, kName, log_);
    EXPECT_EQ(log_.opens, 0);
    EXPECT_TRUE(wait_until([&] { return log_.opens == 1; }));
}

TEST_F(PortChannelTest, guest_that_closes_and_opens_the_port_is_followed)
{
    PortChannel port(session_, kName, log_);
    ASSERT_TRUE(spice_session_connect(session_));
    for (int round = 1; round <= 3; ++round) {
        SCOPED_TRACE(round);
        open_guest();
        ASSERT_TRUE(wait_until([&] { return log_.opens == round; }));
        EXPECT_TRUE(port.write(bytes_of("hello")));
        EXPECT_EQ(guest_reads(5), "hello");
        guest_.reset();
        ASSERT_TRUE(wait_until([&] { return log_.closes == round; }));
        EXPECT_FALSE(port.is_open());
        EXPECT_FALSE(port.write(bytes_of("nobody there")));
    }
}

TEST_F(PortChannelTest, host_that_closes_and_opens_the_port_under_the_guest_is_followed)
{
    open_guest();
    PortChannel port(session_, kName, log_);
    ASSERT_TRUE(spice_session_connect(session_));
    ASSERT_TRUE(wait_until([&] { return log_.opens == 1; }));
    control("close-port\n");
    ASSERT_TRUE(wait_until([&] { return log_.closes == 1; }));
    control("open-port\n");
    ASSERT_TRUE(wait_until([&] { return log_.opens == 2; }));
    guest_writes("again");
    EXPECT_TRUE(wait_until([&] { return log_.received == "again"; }));
}

TEST_F(PortChannelTest, megabytes_arrive_whole_and_in_order_both_ways)
{
    open_guest();
    PortChannel port(session_, kName, log_);
    ASSERT_TRUE(spice_session_connect(session_));
    ASSERT_TRUE(wait_until([&] { return log_.opens == 1; }));
    std::string big;
    for (unsigned i = 0; big.size() < 3'000'000; ++i)
        big += std::to_string(i) + ",";
    guest_writes(big);
    EXPECT_TRUE(wait_until([&] { return log_.received.size() >= big.size(); }));
    EXPECT_EQ(log_.received, big);

    std::string small = big.substr(0, 500'000);
    for (std::size_t at = 0; at < small.size(); at += 777)
        ASSERT_TRUE(port.write(bytes_of(small.substr(at, 777))));
    EXPECT_EQ(guest_reads(small.size()), small);
}

TEST_F(PortChannelTest, no_more_than_a_megabyte_waits_to_be_written)
{
    open_guest();
    PortChannel port(session_, kName, log_);
    ASSERT_TRUE(spice_session_connect(session_));
    ASSERT_TRUE(wait_until([&] { return log_.opens == 1; }));
    std::string piece(100'000, 'x');
    int taken = 0;
    while (taken < 20 && port.write(bytes_of(piece)))
        ++taken;
    EXPECT_EQ(taken, 10);
    EXPECT_FALSE(port.write(bytes_of(std::string(2'000'000, 'x'))));
    EXPECT_EQ(guest_reads(1'000'000).size(), 1'000'000u);
    EXPECT_TRUE(wait_until([&] { return port.write(bytes_of(piece)); })) << "and there is room again";
}

TEST_F(PortChannelTest, port_of_another_name_is_left_alone)
{
    open_guest();
    PortChannel port(session_, "org.spice-overlay.test.8", log_);
    bool closed = false;
    auto on_event = +[](SpiceChannel *channel, SpiceChannelEvent event, gpointer flag) {
        if (SPICE_IS_PORT_CHANNEL(channel) && event == SPICE_CHANNEL_CLOSED)
            *static_cast<bool *>(flag) = true;
    };
    struct Both {
        decltype(on_event) handler;
        bool *flag;
    } both{on_event, &closed};
    g_signal_connect(session_, "channel-new", G_CALLBACK(+[](SpiceSession *, SpiceChannel *channel, Both *b) {
                         g_signal_connect(channel, "channel-event", G_CALLBACK(b->handler), b->flag);
                     }),
                     &both);
    ASSERT_TRUE(spice_session_connect(session_));
    EXPECT_TRUE(wait_until([&] { return closed; })) << "it was connected to learn its name, and must not stay so";
    guest_writes("for somebody else");
    EXPECT_EQ(log_.opens, 0);
    EXPECT_EQ(log_.received, "");
    g_signal_handlers_disconnect_by_data(session_, &both);
    for (SpiceChannel *channel : port_channels())
        g_signal_handlers_disconnect_by_data(channel, &closed);
}

TEST_F(PortChannelTest, port_that_somebody_else_listens_to_stays_connected)
{
    open_guest();
    Log nobody;
    PortChannel before(session_, "org.spice-overlay.test.8", nobody);
    PortChannel port(session_, kName, log_);
    PortChannel after(session_, "org.spice-overlay.test.9", nobody);
    ASSERT_TRUE(spice_session_connect(session_));
    ASSERT_TRUE(wait_until([&] { return log_.opens == 1; }));
    guest_writes("still there");
    EXPECT_TRUE(wait_until([&] { return log_.received == "still there"; }));
    EXPECT_EQ(log_.closes, 0);
    EXPECT_EQ(nobody.opens, 0);
}

TEST_F(PortChannelTest, server_that_dies_closes_the_port_and_a_new_one_opens_it_again)
{
    open_guest();
    PortChannel port(session_, kName, log_);
    ASSERT_TRUE(spice_session_connect(session_));
    ASSERT_TRUE(wait_until([&] { return log_.opens == 1; }));
    EXPECT_TRUE(port.write(bytes_of(std::string(300'000, 'x')))) << "a write under way";
    stop_host();
    ASSERT_TRUE(wait_until([&] { return log_.closes == 1; }));
    spice_session_disconnect(session_);
    ASSERT_TRUE(wait_until([&] { return port_channels().empty(); }));
    for (const char *name : {"/spice", "/port", "/control"})
        unlink((directory_ + name).c_str());
    start_host();
    open_guest();
    ASSERT_TRUE(spice_session_connect(session_));
    ASSERT_TRUE(wait_until([&] { return log_.opens == 2; }));
    EXPECT_TRUE(port.write(bytes_of("new")));
    EXPECT_EQ(guest_reads(3), "new");
}

TEST_F(PortChannelTest, client_that_disconnects_closes_the_port)
{
    open_guest();
    PortChannel port(session_, kName, log_);
    ASSERT_TRUE(spice_session_connect(session_));
    ASSERT_TRUE(wait_until([&] { return log_.opens == 1; }));
    spice_session_disconnect(session_);
    EXPECT_TRUE(wait_until([&] { return log_.closes == 1; }));
    EXPECT_FALSE(port.is_open());
}

TEST_F(PortChannelTest, may_be_destroyed_with_a_write_under_way_and_the_port_open)
{
    open_guest();
    auto port = std::make_unique<PortChannel>(session_, kName, log_);
    ASSERT_TRUE(spice_session_connect(session_));
    ASSERT_TRUE(wait_until([&] { return log_.opens == 1; }));
    std::string text(200'000, 'y');
    EXPECT_TRUE(port->write(bytes_of(text)));
    port.reset();
    guest_writes("nobody listens");
    EXPECT_EQ(guest_reads(text.size()), text) << "what was given to the channel still arrives";
    EXPECT_EQ(log_.closes, 0);
    EXPECT_EQ(log_.received, "");
}

} // namespace
} // namespace spice_overlay::test
