// SPDX-License-Identifier: LGPL-2.1-or-later
#include "qxl_display.h"

#include <glib.h>

#include <cstring>

namespace spice_overlay::host {

namespace {

constexpr std::size_t kManyOutstanding = 64;

QXLPHYSICAL address(const void *pointer)
{
    return reinterpret_cast<QXLPHYSICAL>(pointer); // the one memory slot spans the whole address space
}

QXLRect to_qxl(const Rect &rect)
{
    QXLRect out{};
    out.top = rect.y;
    out.left = rect.x;
    out.bottom = rect.bottom();
    out.right = rect.right();
    return out;
}

} // namespace

#pragma GCC diagnostic ignored "-Wpedantic" // the device's structures end in arrays of no size

/// Lives from draw() until spice-server releases it: everything that the command points at is in here.
struct QxlDisplay::Command {
    QXLCommandExt ext{};
    QXLDrawable drawable{};
    QXLCursorCmd cursor{};
    QXLImage image{};
    Pixels pixels;
    std::vector<std::uint8_t> extra; ///< clip rectangles, or the cursor's shape
};

struct QxlDisplay::Interface {
    static QxlDisplay &of(QXLInstance *instance) { return *reinterpret_cast<Instance *>(instance)->display; }

    static void attached_worker(QXLInstance *) {}
    static void set_compression_level(QXLInstance *, int) {}
    static void set_mm_time(QXLInstance *, uint32_t) {}

    static void get_init_info(QXLInstance *, QXLDevInitInfo *info)
    {
        *info = {};
        info->memslot_gen_bits = 8;
        info->memslot_id_bits = 8;
        info->num_memslots = 1;
        info->num_memslots_groups = 1;
        info->qxl_ram_size = 64u << 20;
        info->n_surfaces = 1;
    }

    static int get_command(QXLInstance *instance, QXLCommandExt *out)
    {
        QxlDisplay &display = of(instance);
        return display.take(display.drawings_, out);
    }

    static int get_cursor_command(QXLInstance *instance, QXLCommandExt *out)
    {
        QxlDisplay &display = of(instance);
        return display.take(display.cursors_, out);
    }

    // Each for its own queue: 0 makes the worker ask for another command at once, and again.
    static int notify_of_drawings(QXLInstance *instance)
    {
        QxlDisplay &display = of(instance);
        std::lock_guard lock(display.mutex_);
        return display.drawings_.empty();
    }
    static int notify_of_cursors(QXLInstance *instance)
    {
        QxlDisplay &display = of(instance);
        std::lock_guard lock(display.mutex_);
        return display.cursors_.empty();
    }

    static void release_resource(QXLInstance *instance, QXLReleaseInfoExt release)
    {
        delete reinterpret_cast<Command *>(static_cast<std::uintptr_t>(release.info->id));
        --of(instance).outstanding_;
    }

    static void notify_update(QXLInstance *, uint32_t) {}
    static int flush_resources(QXLInstance *) { return 0; }
    static void async_complete(QXLInstance *, uint64_t) {}
    static void update_area_complete(QXLInstance *, uint32_t, QXLRect *, uint32_t) {}
    static void set_client_capabilities(QXLInstance *, uint8_t, uint8_t *) {}
    static int client_monitors_config(QXLInstance *instance, VDAgentMonitorsConfig *config)
    {
        QxlDisplay &display = of(instance);
        if (config != nullptr && config->num_of_monitors > 0 && display.wish_)
            display.wish_(config->monitors[0].width, config->monitors[0].height);
        return display.wish_ != nullptr;
    }

    static const QXLInterface *table()
    {
        static const QXLInterface interface = [] {
            QXLInterface made{};
            made.base.type = SPICE_INTERFACE_QXL;
            made.base.description = "spice-overlay-host display";
            made.base.major_version = SPICE_INTERFACE_QXL_MAJOR;
            made.base.minor_version = SPICE_INTERFACE_QXL_MINOR;
            made.attached_worker = attached_worker;
            made.set_compression_level = set_compression_level;
            made.get_init_info = get_init_info;
            made.get_command = get_command;
            made.req_cmd_notification = notify_of_drawings;
            made.release_resource = release_resource;
            made.get_cursor_command = get_cursor_command;
            made.req_cursor_notification = notify_of_cursors;
            made.notify_update = notify_update;
            made.flush_resources = flush_resources;
            made.async_complete = async_complete;
            made.update_area_complete = update_area_complete;
            made.set_client_capabilities = set_client_capabilities;
            made.client_monitors_config = client_monitors_config;
            return made;
        }();
        return &interface;
    }
};

QxlDisplay::QxlDisplay(SpiceServer *server, int width, int height) : width_(width), height_(height)
{
    instance_.display = this;
    instance_.qxl.base.sif = &Interface::table()->base;
    spice_server_add_interface(server, &instance_.qxl.base);

    QXLDevMemSlot slot{};
    slot.virt_end = ~static_cast<uintptr_t>(0);
    slot.qxl_ram_size = ~0u;
    spice_qxl_add_memslot(&instance_.qxl, &slot);

    create_primary();
    set_cursor();
}

void QxlDisplay::create_primary()
{
    primary_.assign(static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_), 0);
    QXLDevSurfaceCreate surface{};
    surface.width = static_cast<uint32_t>(width_);
    surface.height = static_cast<uint32_t>(height_);
    surface.stride = width_ * 4;
    surface.format = SPICE_SURFACE_FMT_32_xRGB;
    surface.mouse_mode = 1;
    surface.type = QXL_SURF_TYPE_PRIMARY;
    surface.mem = address(primary_.data());
    spice_qxl_create_primary_surface(&instance_.qxl, 0, &surface);

    monitors_.resize(sizeof(QXLMonitorsConfig) + sizeof(QXLHead));
    auto *monitors = reinterpret_cast<QXLMonitorsConfig *>(monitors_.data());
    monitors->count = 1;
    monitors->max_allowed = 1;
    monitors->heads[0].width = surface.width;
    monitors->heads[0].height = surface.height;
    spice_qxl_monitors_config_async(&instance_.qxl, address(monitors), 0, 0);
}

void QxlDisplay::resize(int width, int height)
{
    {
        std::lock_guard lock(mutex_);
        for (Command *command : drawings_)
            delete command;
        drawings_.clear();
    }
    spice_qxl_destroy_primary_surface(&instance_.qxl, 0); // waits for the worker, which lets go of primary_
    width_ = width;
    height_ = height;
    create_primary();
}

QxlDisplay::~QxlDisplay()
{
    if (unsigned source = drained_source_.exchange(0))
        g_source_remove(source);
    for (auto *queue : {&drawings_, &cursors_})
        for (Command *command : *queue)
            delete command;
}

bool QxlDisplay::take(std::deque<Command *> &queue, QXLCommandExt *out)
{
    std::lock_guard lock(mutex_);
    if (queue.empty())
        return false;
    *out = queue.front()->ext;
    queue.pop_front();
    ++outstanding_;
    if (drawings_.empty() && cursors_.empty() && drained_source_ == 0)
        drained_source_ = g_idle_add_full(G_PRIORITY_DEFAULT, [](gpointer data) -> gboolean {
            auto *self = static_cast<QxlDisplay *>(data);
            {
                std::lock_guard guard(self->mutex_); // the worker may still be storing the source's number
                self->drained_source_ = 0;
            }
            if (self->drained_)
                self->drained_();
            return G_SOURCE_REMOVE;
        }, this, nullptr);
    return true;
}

std::size_t QxlDisplay::waiting() const
{
    std::lock_guard lock(mutex_);
    return drawings_.size() + cursors_.size();
}

void QxlDisplay::draw(const Drawing &drawing)
{
    auto *command = new Command;
    command->pixels = drawing.pixels;
    QXLImage &image = command->image;
    QXL_SET_IMAGE_ID(&image, QXL_IMAGE_GROUP_DRIVER_DONT_CACHE, static_cast<uint32_t>(++commands_));
    image.descriptor.type = SPICE_IMAGE_TYPE_BITMAP;
    image.descriptor.width = static_cast<uint32_t>(drawing.box.w);
    image.descriptor.height = static_cast<uint32_t>(drawing.box.h);
    image.bitmap.format = SPICE_BITMAP_FMT_32BIT;
    image.bitmap.flags = QXL_BITMAP_DIRECT | QXL_BITMAP_TOP_DOWN;
    image.bitmap.x = image.descriptor.width;
    image.bitmap.y = image.descriptor.height;
    image.bitmap.stride = image.descriptor.width * 4;
    image.bitmap.data = address(command->pixels.data());

    QXLDrawable &drawable = command->drawable;
    drawable.release_info.id = reinterpret_cast<std::uintptr_t>(command);
    drawable.effect = QXL_EFFECT_OPAQUE;
    drawable.type = QXL_DRAW_COPY;
    drawable.bbox = to_qxl(drawing.box);
    drawable.clip.type = SPICE_CLIP_TYPE_NONE;
    for (int i = 0; i < 3; ++i)
        drawable.surfaces_dest[i] = -1;
    drawable.u.copy.src_bitmap = address(&image);
    drawable.u.copy.src_area = to_qxl({0, 0, drawing.box.w, drawing.box.h});
    drawable.u.copy.rop_descriptor = SPICE_ROPD_OP_PUT;
    drawable.u.copy.scale_mode = SPICE_IMAGE_SCALE_MODE_NEAREST;

    for (const Rect &area : drawing.areas)
        drawn_pixels_ += static_cast<std::uint64_t>(area.w) * static_cast<std::uint64_t>(area.h);
    if (drawing.areas.size() != 1 || drawing.areas.front() != drawing.box) {
        std::size_t bytes = drawing.areas.size() * sizeof(QXLRect);
        command->extra.resize(sizeof(QXLClipRects) + bytes);
        auto *clip = reinterpret_cast<QXLClipRects *>(command->extra.data());
        clip->num_rects = static_cast<uint32_t>(drawing.areas.size());
        clip->chunk.data_size = static_cast<uint32_t>(bytes);
        for (std::size_t i = 0; i < drawing.areas.size(); ++i) {
            QXLRect rect = to_qxl(drawing.areas[i]);
            std::memcpy(clip->chunk.data + i * sizeof rect, &rect, sizeof rect);
        }
        drawable.clip.type = SPICE_CLIP_TYPE_RECTS;
        drawable.clip.data = address(clip);
    }
    command->ext.cmd.type = QXL_CMD_DRAW;
    command->ext.cmd.data = address(&drawable);
    {
        std::lock_guard lock(mutex_);
        drawings_.push_back(command);
    }
    spice_qxl_wakeup(&instance_.qxl);
    if (outstanding_ > kManyOutstanding)
        spice_qxl_oom(&instance_.qxl);
}

void QxlDisplay::set_cursor()
{
    // A black arrow with a white border, 32 bits with alpha, hot spot at its tip.
    static constexpr int kSide = 24;
    auto *command = new Command;
    constexpr std::size_t kBytes = kSide * kSide * 4;
    command->extra.resize(sizeof(QXLCursor) + kBytes);
    auto *shape = reinterpret_cast<QXLCursor *>(command->extra.data());
    shape->header.unique = 0; // not to be cached
    shape->header.type = SPICE_CURSOR_TYPE_ALPHA;
    shape->header.width = kSide;
    shape->header.height = kSide;
    shape->data_size = kBytes;
    shape->chunk.data_size = kBytes;
    for (int y = 0; y < kSide; ++y)
        for (int x = 0; x < kSide; ++x) {
            bool head = y < 16 && x <= y * 2 / 3;
            bool border = head && (x == 0 || y == 15 || x >= y * 2 / 3 - 1);
            std::uint32_t pixel = border ? 0xFFFFFFFF : head ? 0xFF101010 : 0;
            std::memcpy(shape->chunk.data + (y * kSide + x) * 4, &pixel, sizeof pixel);
        }
    QXLCursorCmd &cursor = command->cursor;
    cursor.release_info.id = reinterpret_cast<std::uintptr_t>(command);
    cursor.type = QXL_CURSOR_SET;
    cursor.u.set.position.x = static_cast<int16_t>(width_ / 2);
    cursor.u.set.position.y = static_cast<int16_t>(height_ / 2);
    cursor.u.set.visible = 1;
    cursor.u.set.shape = address(shape);
    command->ext.cmd.type = QXL_CMD_CURSOR;
    command->ext.cmd.data = address(&cursor);
    std::lock_guard lock(mutex_);
    cursors_.push_back(command);
}

void QxlDisplay::move_cursor(int x, int y)
{
    auto *command = new Command;
    QXLCursorCmd &cursor = command->cursor;
    cursor.release_info.id = reinterpret_cast<std::uintptr_t>(command);
    cursor.type = QXL_CURSOR_MOVE;
    cursor.u.position.x = static_cast<int16_t>(x);
    cursor.u.position.y = static_cast<int16_t>(y);
    command->ext.cmd.type = QXL_CMD_CURSOR;
    command->ext.cmd.data = address(&cursor);
    {
        std::lock_guard lock(mutex_);
        cursors_.push_back(command);
    }
    spice_qxl_wakeup(&instance_.qxl);
}

} // namespace spice_overlay::host
