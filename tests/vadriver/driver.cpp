// SPDX-License-Identifier: LGPL-2.1-or-later
// A libva driver for tests, which libva loads as any other: it decodes VP8 and VP9 in software into memory that it exports as a GPU's
// driver does, and fails on purpose when told to (surfaces.h).
#include "bitstream.h"
#include "processor.h"
#include "surfaces.h"

#include <va/va_backend.h>
#include <va/va_backend_vpp.h>

#include <drm_fourcc.h>

#include <fcntl.h>
#include <poll.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <utility>
#include <vector>

using namespace spice_overlay;

namespace {

constexpr VAProfile kProfiles[] = {VAProfileVP8Version0_3, VAProfileVP9Profile0, VAProfileVP9Profile2};
constexpr unsigned kMinSide = 16; ///< pixels
constexpr unsigned kMaxSide = 8192;

struct Buffer {
    VABufferType type{};
    std::vector<std::uint8_t> own;
    std::uint8_t *data = nullptr; ///< into `own`, or a surface's memory
};

struct Driver {
    Fault fault = Fault::from_environment("LIBVA_TEST_FAULT", kFaults);
    Layers layers = layers_from_environment();
    bool processes = processes_from_environment();
    Processor processor;
    UniqueFd udmabuf{::open("/dev/udmabuf", O_RDWR | O_CLOEXEC)}; ///< now: later a sandbox forbids it
    VAGenericID last_id = 0;
    std::map<VAConfigID, VAProfile> configs;
    std::map<VAContextID, VAProfile> contexts;
    std::map<VASurfaceID, Surface> surfaces;
    std::map<VABufferID, Buffer> buffers;
    std::map<VAImageID, VAImage> images;
    std::map<VAProfile, std::unique_ptr<SliceDecoder>> decoders; ///< they outlive contexts, which change with the size
    Picture picture;
    VAProcPipelineParameterBuffer pipeline{};
    VASurfaceID target = VA_INVALID_SURFACE;

    /// The value under `id`, or null.
    template <typename Map>
    static auto *find(Map &map, VAGenericID id)
    {
        const auto found = map.find(id);
        return found == map.end() ? nullptr : &found->second;
    }
};

Driver &driver_of(VADriverContextP context)
{
    return *static_cast<Driver *>(context->pDriverData);
}

std::uint32_t fourcc_of(VAProfile profile)
{
    return profile == VAProfileVP9Profile2 ? VA_FOURCC_P010 : VA_FOURCC_NV12;
}

VAStatus terminate(VADriverContextP context)
{
    delete static_cast<Driver *>(context->pDriverData);
    context->pDriverData = nullptr;
    return VA_STATUS_SUCCESS;
}

VAStatus unsupported()
{
    return VA_STATUS_ERROR_UNIMPLEMENTED;
}

// ---- configurations and contexts

VAStatus query_profiles(VADriverContextP context, VAProfile *list, int *count)
{
    std::copy(std::begin(kProfiles), std::end(kProfiles), list);
    *count = static_cast<int>(std::size(kProfiles));
    if (driver_of(context).processes)
        list[(*count)++] = VAProfileNone;
    return VA_STATUS_SUCCESS;
}

bool known(VAProfile profile)
{
    return std::find(std::begin(kProfiles), std::end(kProfiles), profile) != std::end(kProfiles);
}

VAStatus query_entrypoints(VADriverContextP context, VAProfile profile, VAEntrypoint *list, int *count)
{
    if (profile == VAProfileNone && driver_of(context).processes)
        list[0] = VAEntrypointVideoProc;
    else if (known(profile))
        list[0] = VAEntrypointVLD;
    else
        return VA_STATUS_ERROR_UNSUPPORTED_PROFILE;
    *count = 1;
    return VA_STATUS_SUCCESS;
}

VAStatus get_config_attributes(VADriverContextP, VAProfile profile, VAEntrypoint, VAConfigAttrib *list, int count)
{
    for (VAConfigAttrib *a = list; a != list + count; ++a)
        a->value = a->type != VAConfigAttribRTFormat      ? VA_ATTRIB_NOT_SUPPORTED
                   : fourcc_of(profile) == VA_FOURCC_P010 ? VA_RT_FORMAT_YUV420_10
                                                          : VA_RT_FORMAT_YUV420;
    return VA_STATUS_SUCCESS;
}

VAStatus create_config(VADriverContextP context, VAProfile profile, VAEntrypoint, VAConfigAttrib *, int, VAConfigID *id)
{
    Driver &driver = driver_of(context);
    if (!known(profile) && !(profile == VAProfileNone && driver.processes))
        return VA_STATUS_ERROR_UNSUPPORTED_PROFILE;
    *id = ++driver.last_id;
    driver.configs[*id] = profile;
    return VA_STATUS_SUCCESS;
}

VAStatus destroy_config(VADriverContextP context, VAConfigID id)
{
    return driver_of(context).configs.erase(id) ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_CONFIG;
}

VAStatus query_config_attributes(VADriverContextP context, VAConfigID id, VAProfile *profile, VAEntrypoint *entrypoint,
                                 VAConfigAttrib *list, int *count)
{
    const VAProfile *config = Driver::find(driver_of(context).configs, id);
    if (!config)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    *profile = *config;
    *entrypoint = VAEntrypointVLD;
    list[0].type = VAConfigAttribRTFormat;
    *count = 1;
    return get_config_attributes(context, *config, VAEntrypointVLD, list, 1);
}

VAStatus create_context(VADriverContextP context, VAConfigID config, int, int, int, VASurfaceID *, int, VAContextID *id)
{
    Driver &driver = driver_of(context);
    const VAProfile *profile = Driver::find(driver.configs, config);
    if (!profile)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    if (*profile != VAProfileNone) {
        auto &decoder = driver.decoders[*profile];
        if (!decoder)
            decoder = SliceDecoder::open(*profile);
        if (!decoder)
            return VA_STATUS_ERROR_ALLOCATION_FAILED;
    }
    *id = ++driver.last_id;
    driver.contexts[*id] = *profile;
    return VA_STATUS_SUCCESS;
}

VAStatus destroy_context(VADriverContextP context, VAContextID id)
{
    return driver_of(context).contexts.erase(id) ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_CONTEXT;
}

// ---- surfaces

VAStatus create_surfaces(VADriverContextP context, unsigned format, unsigned width, unsigned height, VASurfaceID *ids,
                         unsigned count, VASurfaceAttrib *attributes, unsigned attribute_count)
{
    Driver &driver = driver_of(context);
    const std::uint32_t fourcc = format == VA_RT_FORMAT_YUV420_10 ? VA_FOURCC_P010
                                 : format == VA_RT_FORMAT_RGB32   ? VA_FOURCC_BGRX
                                                                  : VA_FOURCC_NV12;
    bool linear_wanted = false;
    for (const VASurfaceAttrib *a = attributes; a != attributes + attribute_count; ++a) {
        if (a->type == VASurfaceAttribPixelFormat && static_cast<std::uint32_t>(a->value.value.i) != fourcc)
            return VA_STATUS_ERROR_UNSUPPORTED_RT_FORMAT;
        if (a->type != VASurfaceAttribDRMFormatModifiers)
            continue;
        const auto *list = static_cast<const VADRMFormatModifierList *>(a->value.value.p);
        auto *const end = list->modifiers + list->num_modifiers;
        if (std::find(list->modifiers, end, std::uint64_t{DRM_FORMAT_MOD_LINEAR}) == end)
            return VA_STATUS_ERROR_INVALID_PARAMETER;
        linear_wanted = true;
    }
    for (unsigned i = 0; i < count; ++i) {
        auto surface =
            driver.fault.is("allocation") ? std::nullopt : make_surface(driver.udmabuf.get(), fourcc, width, height);
        if (!surface)
            return VA_STATUS_ERROR_ALLOCATION_FAILED;
        surface->linear_wanted = linear_wanted;
        ids[i] = ++driver.last_id;
        driver.surfaces.emplace(ids[i], std::move(*surface));
    }
    return VA_STATUS_SUCCESS;
}

VAStatus create_surfaces_1(VADriverContextP context, int width, int height, int format, int count, VASurfaceID *ids)
{
    return create_surfaces(context, static_cast<unsigned>(format), static_cast<unsigned>(width),
                           static_cast<unsigned>(height), ids, static_cast<unsigned>(count), nullptr, 0);
}

VAStatus destroy_surfaces(VADriverContextP context, VASurfaceID *ids, int count)
{
    for (int i = 0; i < count; ++i)
        driver_of(context).surfaces.erase(ids[i]);
    return VA_STATUS_SUCCESS;
}

VAStatus query_surface_attributes(VADriverContextP context, VAConfigID config, VASurfaceAttrib *list, unsigned *count)
{
    const VAProfile *profile = Driver::find(driver_of(context).configs, config);
    if (!profile)
        return VA_STATUS_ERROR_INVALID_CONFIG;
    const auto attribute = [](VASurfaceAttribType type, std::uint32_t value) {
        VASurfaceAttrib a{};
        a.type = type;
        a.flags = VA_SURFACE_ATTRIB_GETTABLE;
        a.value.type = VAGenericValueTypeInteger;
        a.value.value.i = static_cast<int>(value);
        return a;
    };
    const VASurfaceAttrib attributes[] = {
        attribute(VASurfaceAttribPixelFormat, fourcc_of(*profile)),
        attribute(VASurfaceAttribMinWidth, kMinSide),
        attribute(VASurfaceAttribMinHeight, kMinSide),
        attribute(VASurfaceAttribMaxWidth, kMaxSide),
        attribute(VASurfaceAttribMaxHeight, kMaxSide),
        attribute(VASurfaceAttribMemoryType, VA_SURFACE_ATTRIB_MEM_TYPE_VA | VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2),
    };
    const unsigned room = *count;
    *count = static_cast<unsigned>(std::size(attributes));
    if (!list)
        return VA_STATUS_SUCCESS;
    if (room < *count)
        return VA_STATUS_ERROR_MAX_NUM_EXCEEDED;
    std::copy(std::begin(attributes), std::end(attributes), list);
    return VA_STATUS_SUCCESS;
}

VAStatus sync_surface(VADriverContextP context, VASurfaceID id)
{
    Driver &driver = driver_of(context);
    while (driver.fault.is("hang"))
        ::poll(nullptr, 0, -1); // which the sandbox lets pass
    return driver.surfaces.count(id) ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_SURFACE;
}

VAStatus query_surface_status(VADriverContextP, VASurfaceID, VASurfaceStatus *status)
{
    *status = VASurfaceReady;
    return VA_STATUS_SUCCESS;
}

VAStatus export_handle(VADriverContextP context, VASurfaceID id, std::uint32_t type, std::uint32_t flags,
                       void *descriptor)
{
    Driver &driver = driver_of(context);
    const Surface *surface = Driver::find(driver.surfaces, id);
    if (!surface)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    if (type != VA_SURFACE_ATTRIB_MEM_TYPE_DRM_PRIME_2)
        return VA_STATUS_ERROR_UNSUPPORTED_MEMORY_TYPE;
    return export_surface(*surface, flags, driver.layers, driver.fault,
                          *static_cast<VADRMPRIMESurfaceDescriptor *>(descriptor));
}

// ---- buffers

VAStatus create_buffer(VADriverContextP context, VAContextID, VABufferType type, unsigned size, unsigned count,
                       void *data, VABufferID *id)
{
    Driver &driver = driver_of(context);
    Buffer buffer{type, std::vector<std::uint8_t>(std::size_t{size} * count), nullptr};
    if (data)
        std::memcpy(buffer.own.data(), data, buffer.own.size());
    *id = ++driver.last_id;
    Buffer &kept = driver.buffers[*id] = std::move(buffer);
    kept.data = kept.own.data();
    return VA_STATUS_SUCCESS;
}

VAStatus map_buffer(VADriverContextP context, VABufferID id, void **data)
{
    const Buffer *buffer = Driver::find(driver_of(context).buffers, id);
    if (!buffer)
        return VA_STATUS_ERROR_INVALID_BUFFER;
    *data = buffer->data;
    return VA_STATUS_SUCCESS;
}

VAStatus unmap_buffer(VADriverContextP, VABufferID)
{
    return VA_STATUS_SUCCESS;
}

VAStatus destroy_buffer(VADriverContextP context, VABufferID id)
{
    return driver_of(context).buffers.erase(id) ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_BUFFER;
}

// ---- pictures

VAStatus begin_picture(VADriverContextP context, VAContextID id, VASurfaceID target)
{
    Driver &driver = driver_of(context);
    const VAProfile *profile = Driver::find(driver.contexts, id);
    if (!profile)
        return VA_STATUS_ERROR_INVALID_CONTEXT;
    if (*profile == VAProfileNone && driver.fault.is("processing"))
        return VA_STATUS_ERROR_OPERATION_FAILED;
    if (!driver.surfaces.count(target) || driver.fault.is("lost"))
        return VA_STATUS_ERROR_INVALID_SURFACE;
    driver.picture = {};
    driver.target = target;
    return VA_STATUS_SUCCESS;
}

VAStatus render_picture(VADriverContextP context, VAContextID, VABufferID *ids, int count)
{
    Driver &driver = driver_of(context);
    for (int i = 0; i < count; ++i) {
        const Buffer *buffer = Driver::find(driver.buffers, ids[i]);
        if (!buffer)
            return VA_STATUS_ERROR_INVALID_BUFFER;
        if (buffer->type == VAPictureParameterBufferType)
            driver.picture.parameters = buffer->own;
        else if (buffer->type == VASliceParameterBufferType)
            driver.picture.slice_parameters = buffer->own;
        else if (buffer->type == VASliceDataBufferType)
            driver.picture.slice = buffer->own;
        else if (buffer->type == VAProcPipelineParameterBufferType)
            std::memcpy(&driver.pipeline, buffer->data, sizeof driver.pipeline);
    }
    return VA_STATUS_SUCCESS;
}

VAStatus process(Driver &driver, const Surface &target)
{
    const Surface *source = Driver::find(driver.surfaces, driver.pipeline.surface);
    if (!source)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    if (driver.fault.is("processing-colours"))
        driver.pipeline.surface_color_standard = VAProcColorStandardBT601;
    const bool done = driver.processor.process(driver.pipeline, *source, target);
    if (driver.fault.is("processing-black"))
        target.blacken();
    return done ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_INVALID_PARAMETER;
}

VAStatus query_pipeline_caps(VADriverContextP, VAContextID, VABufferID *, unsigned, VAProcPipelineCaps *caps)
{
    static VAProcColorStandardType in[] = {VAProcColorStandardBT601, VAProcColorStandardBT709,
                                           VAProcColorStandardBT2020};
    static VAProcColorStandardType out[] = {VAProcColorStandardBT601, VAProcColorStandardBT709,
                                            VAProcColorStandardBT2020, VAProcColorStandardSRGB};
    *caps = {};
    caps->input_color_standards = in;
    caps->num_input_color_standards = static_cast<std::uint32_t>(std::size(in));
    caps->output_color_standards = out;
    caps->num_output_color_standards = static_cast<std::uint32_t>(std::size(out));
    return VA_STATUS_SUCCESS;
}

VAStatus query_filters(VADriverContextP, VAContextID, VAProcFilterType *, unsigned *count)
{
    *count = 0;
    return VA_STATUS_SUCCESS;
}

VAStatus query_filter_caps(VADriverContextP, VAContextID, VAProcFilterType, void *, unsigned *)
{
    return VA_STATUS_ERROR_UNSUPPORTED_FILTER;
}

VAStatus end_picture(VADriverContextP context, VAContextID id)
{
    Driver &driver = driver_of(context);
    const VAProfile *profile = Driver::find(driver.contexts, id);
    const Surface *surface = Driver::find(driver.surfaces, std::exchange(driver.target, VA_INVALID_SURFACE));
    if (!profile || !surface)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    if (*profile == VAProfileNone)
        return process(driver, *surface);
    if (driver.fault.is("crash"))
        __builtin_trap();
    const bool decoded = driver.decoders.at(*profile)->decode(driver.picture, *surface);
    if (driver.fault.is("black"))
        surface->blacken();
    driver.fault.picture_done();
    return decoded ? VA_STATUS_SUCCESS : VA_STATUS_ERROR_DECODING_ERROR;
}

// ---- images: for looking at surfaces

VAImageFormat image_format(std::uint32_t fourcc)
{
    VAImageFormat format{};
    format.fourcc = fourcc;
    format.byte_order = VA_LSB_FIRST;
    format.bits_per_pixel = fourcc == VA_FOURCC_BGRX ? 32 : fourcc == VA_FOURCC_P010 ? 24 : 12;
    return format;
}

VAStatus query_image_formats(VADriverContextP, VAImageFormat *list, int *count)
{
    list[0] = image_format(VA_FOURCC_NV12);
    list[1] = image_format(VA_FOURCC_P010);
    list[2] = image_format(VA_FOURCC_BGRX);
    *count = 3;
    return VA_STATUS_SUCCESS;
}

VAStatus add_image(Driver &driver, const Surface &layout, Buffer buffer, VAImage *image)
{
    *image = {};
    image->format = image_format(layout.fourcc);
    image->width = static_cast<std::uint16_t>(layout.width);
    image->height = static_cast<std::uint16_t>(layout.height);
    image->num_planes = layout.planes();
    image->pitches[0] = image->pitches[1] = layout.pitch;
    image->offsets[1] = layout.rgb() ? 0 : layout.chroma_offset;
    image->data_size = static_cast<std::uint32_t>(layout.memory.pixels.size());
    image->buf = ++driver.last_id;
    Buffer &kept = driver.buffers[image->buf] = std::move(buffer);
    if (!kept.data)
        kept.data = kept.own.data();
    image->image_id = ++driver.last_id;
    driver.images[image->image_id] = *image;
    return VA_STATUS_SUCCESS;
}

VAStatus create_image(VADriverContextP context, VAImageFormat *format, int width, int height, VAImage *image)
{
    const auto layout =
        make_surface(-1, format->fourcc, static_cast<std::uint32_t>(width), static_cast<std::uint32_t>(height));
    if (!layout)
        return VA_STATUS_ERROR_ALLOCATION_FAILED;
    return add_image(driver_of(context), *layout,
                     {VAImageBufferType, std::vector<std::uint8_t>(layout->memory.pixels.size()), nullptr}, image);
}

VAStatus derive_image(VADriverContextP context, VASurfaceID id, VAImage *image)
{
    Driver &driver = driver_of(context);
    const Surface *surface = Driver::find(driver.surfaces, id);
    if (!surface)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    return add_image(driver, *surface, {VAImageBufferType, {}, surface->memory.pixels.data()}, image);
}

VAStatus destroy_image(VADriverContextP context, VAImageID id)
{
    Driver &driver = driver_of(context);
    const VAImage *image = Driver::find(driver.images, id);
    if (!image)
        return VA_STATUS_ERROR_INVALID_IMAGE;
    driver.buffers.erase(image->buf);
    driver.images.erase(id);
    return VA_STATUS_SUCCESS;
}

VAStatus get_image(VADriverContextP context, VASurfaceID id, int x, int y, unsigned width, unsigned height,
                   VAImageID image_id)
{
    Driver &driver = driver_of(context);
    const Surface *surface = Driver::find(driver.surfaces, id);
    const VAImage *image = Driver::find(driver.images, image_id);
    if (!surface || !image)
        return VA_STATUS_ERROR_INVALID_SURFACE;
    if (x != 0 || y != 0 || image->format.fourcc != surface->fourcc || width > surface->width || width > image->width
        || height > surface->height || height > image->height)
        return VA_STATUS_ERROR_INVALID_PARAMETER;
    const Buffer &buffer = driver.buffers.at(image->buf);
    for (unsigned plane = 0; plane < surface->planes(); ++plane) {
        const unsigned lines = plane ? (height + 1) / 2 : height;
        const std::size_t bytes = std::size_t{surface->sample_bytes()} * (plane ? (width + 1) / 2 * 2 : width);
        for (unsigned line = 0; line < lines; ++line)
            std::memcpy(buffer.data + image->offsets[plane] + std::size_t{line} * image->pitches[plane],
                        surface->plane(plane) + std::size_t{line} * surface->pitch, bytes);
    }
    return VA_STATUS_SUCCESS;
}

VAStatus query_subpicture_formats(VADriverContextP, VAImageFormat *, unsigned *, unsigned *count)
{
    *count = 0;
    return VA_STATUS_SUCCESS;
}

VAStatus query_display_attributes(VADriverContextP, VADisplayAttribute *, int *count)
{
    *count = 0;
    return VA_STATUS_SUCCESS;
}

/// For what libva wants to be there and no decoder calls.
template <typename... Arguments>
void refuse(VAStatus (*&function)(Arguments...))
{
    function = [](Arguments...) { return unsupported(); };
}

} // namespace

/// The name under which libva looks for a driver's beginning: __vaDriverInit_1_17.
#define JOINED(name, major, minor) name##_##major##_##minor
#define INIT_NAME(major, minor) JOINED(__vaDriverInit, major, minor)

extern "C" __attribute__((visibility("default")))
VAStatus INIT_NAME(VA_MAJOR_VERSION, VA_MINOR_VERSION)(VADriverContextP);

VAStatus INIT_NAME(VA_MAJOR_VERSION, VA_MINOR_VERSION)(VADriverContextP context)
{
    context->pDriverData = new Driver;
    context->version_major = VA_MAJOR_VERSION;
    context->version_minor = VA_MINOR_VERSION;
    context->max_profiles = static_cast<int>(std::size(kProfiles)) + 1;
    context->max_entrypoints = 1;
    context->max_attributes = 1;
    context->max_image_formats = 3;
    context->max_subpic_formats = 1;
    context->max_display_attributes = 1;
    context->str_vendor = "spice-overlay driver for tests";

    VADriverVTable &table = *context->vtable;
    table.vaTerminate = terminate;
    table.vaQueryConfigProfiles = query_profiles;
    table.vaQueryConfigEntrypoints = query_entrypoints;
    table.vaGetConfigAttributes = get_config_attributes;
    table.vaCreateConfig = create_config;
    table.vaDestroyConfig = destroy_config;
    table.vaQueryConfigAttributes = query_config_attributes;
    table.vaCreateSurfaces = create_surfaces_1;
    table.vaCreateSurfaces2 = create_surfaces;
    table.vaDestroySurfaces = destroy_surfaces;
    table.vaQuerySurfaceAttributes = query_surface_attributes;
    table.vaCreateContext = create_context;
    table.vaDestroyContext = destroy_context;
    table.vaCreateBuffer = create_buffer;
    table.vaMapBuffer = map_buffer;
    table.vaUnmapBuffer = unmap_buffer;
    table.vaDestroyBuffer = destroy_buffer;
    table.vaBeginPicture = begin_picture;
    table.vaRenderPicture = render_picture;
    table.vaEndPicture = end_picture;
    table.vaSyncSurface = sync_surface;
    table.vaQuerySurfaceStatus = query_surface_status;
    table.vaExportSurfaceHandle = export_handle;
    table.vaQueryImageFormats = query_image_formats;
    table.vaCreateImage = create_image;
    table.vaDeriveImage = derive_image;
    table.vaDestroyImage = destroy_image;
    table.vaGetImage = get_image;
    table.vaQuerySubpictureFormats = query_subpicture_formats;
    table.vaQueryDisplayAttributes = query_display_attributes;
    if (VADriverVTableVPP *processing = context->vtable_vpp) {
        processing->vaQueryVideoProcFilters = query_filters;
        processing->vaQueryVideoProcFilterCaps = query_filter_caps;
        processing->vaQueryVideoProcPipelineCaps = query_pipeline_caps;
    }
    refuse(table.vaBufferSetNumElements);
    refuse(table.vaQuerySurfaceError);
    refuse(table.vaPutSurface);
    refuse(table.vaPutImage);
    refuse(table.vaSetImagePalette);
    refuse(table.vaCreateSubpicture);
    refuse(table.vaDestroySubpicture);
    refuse(table.vaSetSubpictureImage);
    refuse(table.vaSetSubpictureChromakey);
    refuse(table.vaSetSubpictureGlobalAlpha);
    refuse(table.vaAssociateSubpicture);
    refuse(table.vaDeassociateSubpicture);
    refuse(table.vaGetDisplayAttributes);
    refuse(table.vaSetDisplayAttributes);
    return VA_STATUS_SUCCESS;
}
