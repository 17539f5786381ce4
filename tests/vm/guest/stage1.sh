#!/bin/busybox sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# PID 1 of the initramfs: mounts what the host shares, then hands over to the command server in the guest tree, or to
# systemd there, which runs it as a service.
# 9p shares: "tree" the guest's packages, "host" the host's root, both for reading; "outside" for logs.
/bin/busybox mkdir -p /proc /sys /dev /tree /tmpfs /new
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
for module in /modules/*.ko; do
    /bin/busybox insmod "$module" || echo "stage 1: cannot load $module"
done

# Everything can be written to; what is written is gone with the machine.
stack()
{
    /bin/busybox mkdir -p "/tmpfs/$1-lower" "/tmpfs/$1-upper" "/tmpfs/$1-work" "$2"
    /bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro "$1" "/tmpfs/$1-lower"
    /bin/busybox mount -t overlay \
        -o "lowerdir=/tmpfs/$1-lower,upperdir=/tmpfs/$1-upper,workdir=/tmpfs/$1-work" "$1" "$2"
}
/bin/busybox mount -t tmpfs -o mode=755 tmpfs /tmpfs
stack tree /new
stack host /new/host
/bin/busybox mkdir -p /new/outside
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none outside /new/outside

for place in /new /new/host; do
    /bin/busybox mkdir -p $place/proc $place/sys $place/dev $place/run $place/tmp $place/outside
done
/bin/busybox mount -t tmpfs -o mode=755 run /new/run
/bin/busybox mount -t tmpfs -o mode=1777 tmp /new/tmp
/bin/busybox mkdir -p /new/tmp/.X11-unix /new/host/tmp/.X11-unix /dev/shm /dev/pts
/bin/busybox chmod 1777 /new/tmp/.X11-unix
/bin/busybox mount -t tmpfs -o mode=1777 shm /dev/shm
/bin/busybox mount -t devpts pts /dev/pts
for name in proc sys dev; do
    /bin/busybox mount --rbind /$name /new/host/$name
    /bin/busybox mount --move /$name /new/$name
done
/bin/busybox mount --bind /new/run /new/host/run
/bin/busybox mount --bind /new/tmp/.X11-unix /new/host/tmp/.X11-unix
/bin/busybox mount --bind /new/outside /new/host/outside

# shellcheck disable=SC2154  # from the kernel's command line
if [ "$guest_init" = systemd ]; then
    units=/new/etc/systemd/system
    /bin/busybox mkdir -p $units/multi-user.target.wants
    /bin/busybox cp -r /new/outside/systemd/. $units/
    /bin/busybox ln -s ../command-server.service $units/multi-user.target.wants/
    exec /bin/busybox switch_root /new /usr/lib/systemd/systemd
fi
exec /bin/busybox switch_root /new /usr/bin/python3 /outside/command_server.py
