// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "portclient/base/result.h"

#include <gst/gst.h>

#include <memory>
#include <string>

namespace spice_overlay::guest {

template <auto Free>
struct Freed {
    template <typename T>
    void operator()(T *thing) const
    {
        Free(thing);
    }
};
using Text = std::unique_ptr<char, Freed<g_free>>;
using Failure = std::unique_ptr<GError, Freed<g_error_free>>;

/// Whether it is an element of ours that redirects.
[[nodiscard]] bool is_redirecting(GstObject *object);

/// The element of `bin`, at any depth, that redirects, with a reference, or null when playbin has chosen another.
[[nodiscard]] GstElement *find_redirecting(GstElement *bin);

/// Whether GStreamer has an element that redirects. `allowed` false: let nobody choose it.
bool prepare_redirection(bool allowed);

/// A URI for a path or URL; the error starts with `item`.
[[nodiscard]] Result<std::string> uri_of(const std::string &item);

} // namespace spice_overlay::guest
