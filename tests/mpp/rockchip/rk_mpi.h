// SPDX-License-Identifier: LGPL-2.1-or-later
/// What FFmpeg's rkmpp decoders use of Rockchip's MPP, by its names: enough to build them and tests/mpp/mpp.cpp against. Not the library's
/// binary interface: both sides are built with this header.
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef int32_t RK_S32;
typedef uint32_t RK_U32;
typedef int64_t RK_S64;

typedef struct MppContextOfTests *MppCtx;
typedef struct MppPacketOfTests *MppPacket;
typedef struct MppFrameOfTests *MppFrame;
typedef struct MppBufferOfTests *MppBuffer;
typedef struct MppGroupOfTests *MppBufferGroup;
typedef void *MppParam;

typedef enum { MPP_OK = 0, MPP_NOK = -1, MPP_ERR_TIMEOUT = -8, MPP_ERR_BUFFER_FULL = -1012 } MPP_RET;
typedef enum { MPP_CTX_DEC } MppCtxType;
typedef enum {
    MPP_VIDEO_CodingUnused,
    MPP_VIDEO_CodingAVC,
    MPP_VIDEO_CodingHEVC,
    MPP_VIDEO_CodingVP8,
    MPP_VIDEO_CodingVP9
} MppCodingType;
typedef enum { MPP_FMT_YUV420SP = 0, MPP_FMT_YUV420SP_10BIT = 1 } MppFrameFormat;
typedef enum { MPP_BUFFER_TYPE_ION = 1 } MppBufferType;
typedef enum {
    MPP_SET_OUTPUT_BLOCK,
    MPP_SET_OUTPUT_BLOCK_TIMEOUT,
    MPP_DEC_SET_EXT_BUF_GROUP,
    MPP_DEC_SET_INFO_CHANGE_READY,
    MPP_DEC_GET_STREAM_COUNT
} MpiCmd;
enum { MPP_POLL_BLOCK = -1 };
enum {
    MPP_FRAME_FLAG_TOP_FIRST = 1,
    MPP_FRAME_FLAG_BOT_FIRST = 2,
    MPP_FRAME_FLAG_DEINTERLACED = 3,
    MPP_FRAME_FLAG_FIELD_ORDER_MASK = 3
};

typedef struct {
    MPP_RET (*decode_put_packet)(MppCtx context, MppPacket packet);
    MPP_RET (*decode_get_frame)(MppCtx context, MppFrame *frame);
    MPP_RET (*reset)(MppCtx context);
    MPP_RET (*control)(MppCtx context, MpiCmd command, MppParam parameter);
} MppApi;

MPP_RET mpp_check_support_format(MppCtxType type, MppCodingType coding);
MPP_RET mpp_create(MppCtx *context, MppApi **api);
MPP_RET mpp_init(MppCtx context, MppCtxType type, MppCodingType coding);
MPP_RET mpp_destroy(MppCtx context);

MPP_RET mpp_packet_init(MppPacket *packet, void *data, size_t size);
MPP_RET mpp_packet_deinit(MppPacket *packet);
void mpp_packet_set_pts(MppPacket packet, RK_S64 pts);
MPP_RET mpp_packet_set_eos(MppPacket packet);

MPP_RET mpp_frame_deinit(MppFrame *frame);
RK_U32 mpp_frame_get_width(MppFrame frame);
RK_U32 mpp_frame_get_height(MppFrame frame);
RK_U32 mpp_frame_get_hor_stride(MppFrame frame);
RK_U32 mpp_frame_get_ver_stride(MppFrame frame);
RK_U32 mpp_frame_get_mode(MppFrame frame);
RK_U32 mpp_frame_get_discard(MppFrame frame);
RK_U32 mpp_frame_get_errinfo(MppFrame frame);
RK_U32 mpp_frame_get_eos(MppFrame frame);
RK_U32 mpp_frame_get_info_change(MppFrame frame);
RK_S64 mpp_frame_get_pts(MppFrame frame);
MppFrameFormat mpp_frame_get_fmt(MppFrame frame);
int mpp_frame_get_color_range(MppFrame frame);
int mpp_frame_get_color_primaries(MppFrame frame);
int mpp_frame_get_color_trc(MppFrame frame);
int mpp_frame_get_colorspace(MppFrame frame);
MppBuffer mpp_frame_get_buffer(MppFrame frame);

int mpp_buffer_get_fd(MppBuffer buffer);
size_t mpp_buffer_get_size(MppBuffer buffer);
MPP_RET mpp_buffer_group_get_internal(MppBufferGroup *group, MppBufferType type);
MPP_RET mpp_buffer_group_put(MppBufferGroup group);
MPP_RET mpp_buffer_group_limit_config(MppBufferGroup group, size_t size, RK_S32 count);

#ifdef __cplusplus
}
#endif
