// SPDX-License-Identifier: LGPL-2.1-or-later
#include "x11_window.h"

#include <xcb/xcb.h>
#include <xcb/xcb_keysyms.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>

namespace spice_overlay::guest {
namespace {

struct Free {
    void operator()(void *memory) const { std::free(memory); }
};
template <typename T>
using Reply = std::unique_ptr<T, Free>;

// keysymdef.h belongs to Xlib's development files; these few never change.
constexpr xcb_keysym_t kEscape = 0xff1b, kLeft = 0xff51, kUp = 0xff52, kRight = 0xff53, kDown = 0xff54;

std::optional<Command> command_of(xcb_keysym_t key)
{
    switch (key) {
    case ' ':
        return Command::kPause;
    case kLeft:
        return Command::kBack;
    case kRight:
        return Command::kForward;
    case kDown:
        return Command::kFarBack;
    case kUp:
        return Command::kFarForward;
    case '9':
        return Command::kQuieter;
    case '0':
        return Command::kLouder;
    case 'm':
        return Command::kMute;
    case 'f':
        return Command::kFullscreen;
    case 'q':
    case kEscape:
        return Command::kQuit;
    default:
        return std::nullopt;
    }
}

} // namespace

struct X11Window::Private {
    ~Private()
    {
        if (keys)
            xcb_key_symbols_free(keys);
        xcb_disconnect(connection);
    }

    xcb_atom_t atom(const char *name)
    {
        std::string_view text(name);
        auto cookie = xcb_intern_atom(connection, 0, static_cast<std::uint16_t>(text.size()), name);
        Reply<xcb_intern_atom_reply_t> reply(xcb_intern_atom_reply(connection, cookie, nullptr));
        return reply ? reply->atom : xcb_atom_t{XCB_ATOM_NONE};
    }

    void set_text(xcb_atom_t property, xcb_atom_t type, const std::string &text)
    {
        xcb_change_property(connection, XCB_PROP_MODE_REPLACE, window, property, type, 8,
                            static_cast<std::uint32_t>(text.size()), text.data());
    }

    xcb_connection_t *connection = nullptr;
    xcb_screen_t *screen = nullptr; ///< belongs to the connection
    xcb_key_symbols_t *keys = nullptr;
    xcb_window_t window = XCB_NONE;
    xcb_atom_t utf8 = XCB_ATOM_NONE, net_name = XCB_ATOM_NONE, protocols = XCB_ATOM_NONE;
    xcb_atom_t delete_window = XCB_ATOM_NONE, net_state = XCB_ATOM_NONE, net_fullscreen = XCB_ATOM_NONE;
};

X11Window::X11Window(std::unique_ptr<Private> p) : p_(std::move(p)) {}
X11Window::~X11Window() = default;

Result<std::unique_ptr<X11Window>> X11Window::open(const std::string &title, unsigned width, unsigned height)
{
    auto p = std::make_unique<Private>();
    int number = 0;
    p->connection = xcb_connect(nullptr, &number);
    if (xcb_connection_has_error(p->connection)) {
        const char *display = std::getenv("DISPLAY");
        return Error{display && *display
                         ? "cannot open the X display " + std::string(display)
                               + "; is its server running, and may this user use it (XAUTHORITY)?"
                         : std::string("no X display: run it in a graphical session, or set DISPLAY; with --port the "
                                       "video is sent without a window")};
    }
    auto screens = xcb_setup_roots_iterator(xcb_get_setup(p->connection));
    for (; number > 0 && screens.rem > 1; number--)
        xcb_screen_next(&screens);
    p->screen = screens.data;
    p->keys = xcb_key_symbols_alloc(p->connection);
    p->utf8 = p->atom("UTF8_STRING");
    p->net_name = p->atom("_NET_WM_NAME");
    p->protocols = p->atom("WM_PROTOCOLS");
    p->delete_window = p->atom("WM_DELETE_WINDOW");
    p->net_state = p->atom("_NET_WM_STATE");
    p->net_fullscreen = p->atom("_NET_WM_STATE_FULLSCREEN");

    p->window = xcb_generate_id(p->connection);
    const std::array<std::uint32_t, 2> values = {
        p->screen->black_pixel, XCB_EVENT_MASK_EXPOSURE | XCB_EVENT_MASK_KEY_PRESS | XCB_EVENT_MASK_STRUCTURE_NOTIFY};
    xcb_create_window(p->connection, XCB_COPY_FROM_PARENT, p->window, p->screen->root, 0, 0,
                      static_cast<std::uint16_t>(width), static_cast<std::uint16_t>(height), 0,
                      XCB_WINDOW_CLASS_INPUT_OUTPUT, p->screen->root_visual, XCB_CW_BACK_PIXEL | XCB_CW_EVENT_MASK,
                      values.data());
    xcb_change_property(p->connection, XCB_PROP_MODE_REPLACE, p->window, p->protocols, XCB_ATOM_ATOM, 32, 1,
                        &p->delete_window);
    p->set_text(XCB_ATOM_WM_CLASS, XCB_ATOM_STRING, std::string("spice-overlay-play\0Spice-overlay-play\0", 38));
    std::unique_ptr<X11Window> window(new X11Window(std::move(p)));
    window->set_title(title);
    xcb_map_window(window->p_->connection, window->p_->window);
    xcb_flush(window->p_->connection);
    return window;
}

std::uint32_t X11Window::id() const
{
    return p_->window;
}

int X11Window::fd() const
{
    return xcb_get_file_descriptor(p_->connection);
}

bool X11Window::dispatch(const Events &events)
{
    while (Reply<xcb_generic_event_t> event{xcb_poll_for_event(p_->connection)}) {
        switch (event->response_type & 0x7f) {
        case XCB_EXPOSE:
            if (reinterpret_cast<xcb_expose_event_t *>(event.get())->count == 0)
                events.exposed();
            break;
        case XCB_KEY_PRESS: {
            auto *press = reinterpret_cast<xcb_key_press_event_t *>(event.get());
            if (auto command = command_of(xcb_key_press_lookup_keysym(p_->keys, press, 0)))
                events.command(*command);
            break;
        }
        case XCB_MAPPING_NOTIFY:
            xcb_refresh_keyboard_mapping(p_->keys, reinterpret_cast<xcb_mapping_notify_event_t *>(event.get()));
            break;
        case XCB_CLIENT_MESSAGE: {
            auto *message = reinterpret_cast<xcb_client_message_event_t *>(event.get());
            if (message->type == p_->protocols && message->data.data32[0] == p_->delete_window)
                events.command(Command::kQuit);
            break;
        }
        }
    }
    return !xcb_connection_has_error(p_->connection);
}

void X11Window::set_title(const std::string &title)
{
    p_->set_text(p_->net_name, p_->utf8, title);
    p_->set_text(XCB_ATOM_WM_NAME, XCB_ATOM_STRING, title);
    xcb_flush(p_->connection);
}

void X11Window::resize(unsigned width, unsigned height)
{
    if (width == 0 || height == 0)
        return;
    double most_wide = static_cast<double>(p_->screen->width_in_pixels) / width;
    double most_high = static_cast<double>(p_->screen->height_in_pixels) / height;
    double scale = std::min({1.0, most_wide, most_high});
    const std::array<std::uint32_t, 2> size = {std::max(1u, static_cast<unsigned>(width * scale)),
                                               std::max(1u, static_cast<unsigned>(height * scale))};
    xcb_configure_window(p_->connection, p_->window, XCB_CONFIG_WINDOW_WIDTH | XCB_CONFIG_WINDOW_HEIGHT, size.data());
    xcb_flush(p_->connection);
}

void X11Window::toggle_fullscreen()
{
    constexpr std::uint32_t kToggle = 2, kFromApplication = 1;
    xcb_client_message_event_t message{};
    message.response_type = XCB_CLIENT_MESSAGE;
    message.format = 32;
    message.window = p_->window;
    message.type = p_->net_state;
    message.data.data32[0] = kToggle;
    message.data.data32[1] = p_->net_fullscreen;
    message.data.data32[3] = kFromApplication;
    xcb_send_event(p_->connection, 0, p_->screen->root,
                   XCB_EVENT_MASK_SUBSTRUCTURE_REDIRECT | XCB_EVENT_MASK_SUBSTRUCTURE_NOTIFY,
                   reinterpret_cast<const char *>(&message));
    xcb_flush(p_->connection);
}

} // namespace spice_overlay::guest
