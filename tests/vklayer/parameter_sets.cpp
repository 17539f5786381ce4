// SPDX-License-Identifier: LGPL-2.1-or-later
#include "parameter_sets.h"

#include <bit>

namespace spice_overlay {

namespace {

/// ITU-T H.264, clauses 7.2 and 9.1.
class BitWriter {
public:
    void u(std::uint32_t value, unsigned bits)
    {
        while (bits-- > 0)
            bits_.push_back((value >> bits & 1) != 0);
    }
    void flag(std::uint32_t value) { u(value, 1); }
    void ue(std::uint32_t value)
    {
        const auto width = static_cast<unsigned>(std::bit_width(value + 1));
        u(0, width - 1);
        u(value + 1, width);
    }
    void se(std::int32_t value)
    {
        ue(value > 0 ? 2 * static_cast<std::uint32_t>(value) - 1 : 2 * static_cast<std::uint32_t>(-value));
    }
    /// With start code, header byte, trailing bits, and emulation prevention.
    [[nodiscard]] std::vector<std::uint8_t> nal(std::uint8_t header)
    {
        flag(1);
        while (bits_.size() % 8 != 0)
            flag(0);
        std::vector<std::uint8_t> bytes{0, 0, 0, 1, header};
        unsigned zeros = 0;
        for (std::size_t i = 0; i < bits_.size(); i += 8) {
            std::uint8_t byte = 0;
            for (std::size_t k = 0; k < 8; ++k)
                byte = static_cast<std::uint8_t>(byte << 1 | (bits_[i + k] ? 1 : 0));
            if (zeros >= 2 && byte <= 3) {
                bytes.push_back(3);
                zeros = 0;
            }
            bytes.push_back(byte);
            zeros = byte == 0 ? zeros + 1 : 0;
        }
        return bytes;
    }

private:
    std::vector<bool> bits_;
};

constexpr std::uint8_t kSps = 0x67;
constexpr std::uint8_t kPps = 0x68;
constexpr std::uint32_t kLevel = 62; // the highest

bool is_high(StdVideoH264ProfileIdc profile)
{
    return profile == STD_VIDEO_H264_PROFILE_IDC_HIGH || profile == STD_VIDEO_H264_PROFILE_IDC_HIGH_444_PREDICTIVE;
}

} // namespace

std::optional<std::vector<std::uint8_t>> write_sps(const StdVideoH264SequenceParameterSet &sps)
{
    const StdVideoH264SpsFlags &flags = sps.flags;
    if (flags.seq_scaling_matrix_present_flag || sps.pic_order_cnt_type == STD_VIDEO_H264_POC_TYPE_1
        || sps.chroma_format_idc == STD_VIDEO_H264_CHROMA_FORMAT_IDC_444)
        return std::nullopt;
    BitWriter out;
    out.u(static_cast<std::uint32_t>(sps.profile_idc), 8);
    out.flag(flags.constraint_set0_flag);
    out.flag(flags.constraint_set1_flag);
    out.flag(flags.constraint_set2_flag);
    out.flag(flags.constraint_set3_flag);
    out.flag(flags.constraint_set4_flag);
    out.flag(flags.constraint_set5_flag);
    out.u(0, 2);
    out.u(kLevel, 8);
    out.ue(sps.seq_parameter_set_id);
    if (is_high(sps.profile_idc)) {
        out.ue(static_cast<std::uint32_t>(sps.chroma_format_idc));
        out.ue(sps.bit_depth_luma_minus8);
        out.ue(sps.bit_depth_chroma_minus8);
        out.flag(flags.qpprime_y_zero_transform_bypass_flag);
        out.flag(0); // seq_scaling_matrix_present_flag
    }
    out.ue(sps.log2_max_frame_num_minus4);
    out.ue(static_cast<std::uint32_t>(sps.pic_order_cnt_type));
    if (sps.pic_order_cnt_type == STD_VIDEO_H264_POC_TYPE_0)
        out.ue(sps.log2_max_pic_order_cnt_lsb_minus4);
    out.ue(sps.max_num_ref_frames);
    out.flag(flags.gaps_in_frame_num_value_allowed_flag);
    out.ue(sps.pic_width_in_mbs_minus1);
    out.ue(sps.pic_height_in_map_units_minus1);
    out.flag(flags.frame_mbs_only_flag);
    if (!flags.frame_mbs_only_flag)
        out.flag(flags.mb_adaptive_frame_field_flag);
    out.flag(flags.direct_8x8_inference_flag);
    out.flag(0); // frame_cropping_flag
    out.flag(0); // vui_parameters_present_flag
    return out.nal(kSps);
}

std::optional<std::vector<std::uint8_t>> write_pps(const StdVideoH264PictureParameterSet &pps)
{
    const StdVideoH264PpsFlags &flags = pps.flags;
    if (flags.pic_scaling_matrix_present_flag)
        return std::nullopt;
    BitWriter out;
    out.ue(pps.pic_parameter_set_id);
    out.ue(pps.seq_parameter_set_id);
    out.flag(flags.entropy_coding_mode_flag);
    out.flag(flags.bottom_field_pic_order_in_frame_present_flag);
    out.ue(0); // num_slice_groups_minus1
    out.ue(pps.num_ref_idx_l0_default_active_minus1);
    out.ue(pps.num_ref_idx_l1_default_active_minus1);
    out.flag(flags.weighted_pred_flag);
    out.u(static_cast<std::uint32_t>(pps.weighted_bipred_idc), 2);
    out.se(pps.pic_init_qp_minus26);
    out.se(pps.pic_init_qs_minus26);
    out.se(pps.chroma_qp_index_offset);
    out.flag(flags.deblocking_filter_control_present_flag);
    out.flag(flags.constrained_intra_pred_flag);
    out.flag(flags.redundant_pic_cnt_present_flag);
    if (flags.transform_8x8_mode_flag || pps.second_chroma_qp_index_offset != pps.chroma_qp_index_offset) {
        out.flag(flags.transform_8x8_mode_flag);
        out.flag(0); // pic_scaling_matrix_present_flag
        out.se(pps.second_chroma_qp_index_offset);
    }
    return out.nal(kPps);
}

} // namespace spice_overlay
