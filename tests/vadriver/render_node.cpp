// SPDX-License-Identifier: LGPL-2.1-or-later
/// libdrm's answers in its place: with this linked, libva takes any descriptor for a GPU's render node, on machines without a GPU.
extern "C" {

struct _drmVersion { // libdrm's drmVersion
    int version_major;
    int version_minor;
    int version_patchlevel;
    int name_len;
    char *name;
    int date_len;
    char *date;
    int desc_len;
    char *desc;
};

int drmGetNodeTypeFromFd(int)
{
    return 2; // DRM_NODE_RENDER
}

_drmVersion *drmGetVersion(int)
{
    static char name[] = "spice_overlay_test";
    static _drmVersion version{1, 0, 0, sizeof name - 1, name, 0, name, 0, name};
    return &version;
}

void drmFreeVersion(_drmVersion *) {}

} // extern "C"
