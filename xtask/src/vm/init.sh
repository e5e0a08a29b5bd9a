#!/bin/busybox sh
# A guest's first process. It shows the host's files with an overlay in memory above them, and plays.
say() { /bin/busybox echo "$@"; }
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in /modules/*; do insmod "$module" 2>/dev/null; done
mount -t virtiofs host /host || { say "the host's files cannot be seen"; poweroff -f; }
mount -t tmpfs tmpfs /upper; mkdir /upper/upper /upper/work
mount -t overlay -o lowerdir=/host,upperdir=/upper/upper,workdir=/upper/work overlay /guest \
    || { say "no overlay"; poweroff -f; }
mount --move /proc /guest/proc; mount --move /sys /guest/sys; mount --move /dev /guest/dev
mkdir -p /guest/dev/pts /guest/dev/shm /guest/lib/modules
# What is written here stays on the host.
mount --bind "/host$OUT" "/guest$OUT"
mount --bind "/host$MODULES" /guest/lib/modules
for place in run dev/shm; do mount -t tmpfs tmpfs "/guest/$place"; done
mount -t devpts devpts /guest/dev/pts
mount -t cgroup2 cgroup2 /guest/sys/fs/cgroup; mount -t tracefs tracefs /guest/sys/kernel/tracing
exec switch_root /guest /bin/sh -c '
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    ip link set lo up
    cd "$OUT"
    : > began
    # As in a pod: a hook must tell what the kernel logs of OOM kills.
    rm /dev/kmsg
    "$PROBE502_BIN" doctor --silent --output json > doctor.json 2> doctor.err; echo $? > doctor.status
    if [ "$(cat doctor.status)" != 3 ]; then
        PROBE502_GUEST=1 "$PLAYER" --gateway nginx --side-by-side 1 --keep "$OUT" --fault "$FAULTS" > played.log 2>&1
    fi
    sync
    echo o > /proc/sysrq-trigger
    sleep 10'
