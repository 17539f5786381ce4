// SPDX-License-Identifier: LGPL-2.1-or-later
#include "report.h"

#include "dmabuf/formats.h"
#include "json.h"

#include <sys/sysmacros.h>

#include <cstdio>
#include <map>

namespace spice_overlay::doctor {

namespace {

std::string hexadecimal(std::uint64_t value)
{
    char text[32];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

Json formats(const FormatSet &set)
{
    std::vector<std::pair<std::uint32_t, std::vector<std::uint64_t>>> grouped;
    std::map<std::uint32_t, std::size_t> places;
    for (const auto &[fourcc, modifier] : set.entries()) {
        const auto [place, is_new] = places.try_emplace(fourcc, grouped.size());
        if (is_new)
            grouped.push_back({fourcc, {}});
        grouped[place->second].second.push_back(modifier);
    }
    return Json::array(grouped, [](const auto &format) {
        return Json::object(
            {{"format", fourcc_name(format.first)}, {"modifiers", Json::array(format.second, hexadecimal)}});
    });
}

std::string device_number(dev_t device)
{
    return std::to_string(major(device)) + ":" + std::to_string(minor(device));
}

Json dmabufs(const CompositorFacts &c)
{
    if (c.dmabuf_version == 0)
        return Json::null();
    return Json::object({{"version", c.dmabuf_version},
                         {"device", Json::or_null(c.dmabufs.has_device ? device_number(c.dmabufs.main_device) : "")},
                         {"driver", Json::or_null(c.device_driver)},
                         {"formats", formats(c.dmabufs.formats)},
                         {"tranches", Json::array(c.dmabufs.tranches, [](const DmabufFeedback::Tranche &t) {
                              return Json::object({{"device", device_number(t.device)},
                                                   {"scanout", t.scanout},
                                                   {"formats", formats(t.formats)}});
                          })}});
}

Json compositor(const Report &report)
{
    if (!report.compositor)
        return Json::null();
    const CompositorFacts &c = *report.compositor;
    const auto text = [](const std::string &s) { return Json(s); };
    return Json::object({{"socket", c.socket},
                         {"program", Json::or_null(c.program)},
                         {"protocols", Json::array(c.globals,
                                                   [](const Global &g) {
                                                       return Json::object({{"name", g.name}, {"version", g.version}});
                                                   })},
                         {"missing", Json::array(c.missing, text)},
                         {"shm_formats", Json::array(c.shm_formats, fourcc_name)},
                         {"dmabuf", dmabufs(c)}});
}

Json gpu(const Gpu &g)
{
    return Json::object(
        {{"node", g.node},
         {"driver", Json::or_null(g.driver)},
         {"why_not", Json::or_null(g.why_not)},
         {"va_driver", Json::or_null(g.va_driver)},
         {"va_profiles",
          Json::array(
              g.va_profiles,
              [](const VaProfile &p) {
                  return Json::object({{"profile", p.name}, {"max_width", p.max_width}, {"max_height", p.max_height}});
              })},
         {"why_no_va", Json::or_null(g.why_no_va)}});
}

Json sandbox(const Sandbox &s)
{
    return Json::object({{"landlock_abi", s.landlock_abi},
                         {"why_no_landlock", Json::or_null(s.why_no_landlock)},
                         {"why_no_seccomp", Json::or_null(s.why_no_seccomp)},
                         {"why_no_user_namespaces", Json::or_null(s.why_no_user_namespaces)}});
}

Json decoder(const Decoder &d)
{
    return Json::object(
        {{"program", d.program},
         {"why_not", Json::or_null(d.why_not)},
         {"codecs", Json::array(d.codecs,
                                [](const Decoder::Codec &c) {
                                    return Json::object({{"codec", name(c.codec)}, {"decoder", c.name}});
                                })},
         {"sandbox", Json::array(d.sandbox, [](const Decoder::Layer &l) {
              return Json::object({{"layer", l.name}, {"holds", l.holds}, {"detail", l.detail}});
          })}});
}

Json performance(const std::optional<Performance> &p)
{
    if (!p)
        return Json::null();
    return Json::object({{"codec", p->codec},
                         {"decoder", p->decoder},
                         {"problem", Json::or_null(p->problem)},
                         {"transport", Json::or_null(p->transport)},
                         {"frames", p->frames},
                         {"decoded", p->decoded},
                         {"presented", p->presented},
                         {"late", p->late},
                         {"measured", p->measured},
                         {"zero_copy", p->zero_copy},
                         {"vsync", p->vsync},
                         {"frames_a_second", p->frames_a_second},
                         {"decode_ms", p->decode_ms},
                         {"copied_by_decoder", p->copies.by_decoder},
                         {"copied_by_compositor", p->copies.by_compositor}});
}

} // namespace

std::string as_json(const Report &r)
{
    return Json::object(
               {{"version", SPICE_OVERLAY_VERSION},
                {"verdict", name(r.verdict)},
                {"exit_status", static_cast<int>(r.verdict)},
                {"kernel", r.machine.kernel},
                {"compositor", compositor(r)},
                {"why_no_compositor", Json::or_null(r.why_no_compositor)},
                {"gpus", Json::array(r.machine.gpus, gpu)},
                {"why_no_gpu", Json::or_null(r.machine.why_no_gpu)},
                {"memory",
                 Json::array(r.machine.memories,
                             [](const Memory &m) {
                                 return Json::object({{"name", m.name}, {"why_not", Json::or_null(m.why_not)}});
                             })},
                {"sandbox", sandbox(r.machine.sandbox)},
                {"decoder", decoder(r.machine.decoder)},
                {"rungs", Json::array(r.ladder,
                                      [](const Tried &tried) {
                                          return Json::object({{"rung", tried.rung.name},
                                                               {"what", tried.rung.what},
                                                               {"why_not", Json::or_null(tried.rung.why_not)},
                                                               {"performance", performance(tried.performance)}});
                                      })},
                {"streams",
                 Json::array(r.streams,
                             [](const Stream &s) {
                                 return Json::object(
                                     {{"codec", name(s.codec)},
                                      {"width", s.width},
                                      {"height", s.height},
                                      {"rung", Json::or_null(s.rung)},
                                      {"passed_over",
                                       Json::array(s.passed_over,
                                                   [](const auto &p) {
                                                       return Json::object({{"rung", p.first}, {"why_not", p.second}});
                                                   })},
                                      {"performance", performance(s.performance)}});
                             })}})
               .text
           + "\n";
}

} // namespace spice_overlay::doctor
