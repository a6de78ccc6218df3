#!/bin/sh
# The first process of a lab guest: gives it a writable corner, a network and its modules, then serves commands.
#
# The guest's root is the root of the machine that runs the lab, read-only. Words of the kernel's command line arrive
# as variables: NAME, IP (with prefix), AGENT (absolute path of the xtask program), LAB (absolute path of the run's
# folder), MODULES (a folder holding lib/modules/VERSION). Ends when the agent ends: the process of the guest goes then.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mountpoint -q /dev || mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
# As udev does: shells read from /dev/fd/N for <(command).
ln -sfn /proc/self/fd /dev/fd
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=755 tmpfs /mnt
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /var/lib/nfs
mkdir -p /run/lock /run/sendsigs.omit.d /var/lib/nfs/sm /var/lib/nfs/sm.bak /var/lib/nfs/rpc_pipefs /var/lib/nfs/v4recovery
touch /var/lib/nfs/etab /var/lib/nfs/rmtab /var/lib/nfs/xtab
mkdir -p /mnt/lab /mnt/agent /mnt/modules /mnt/c
# The machine's own /tmp and /run are hidden now, and one of these may lie below them.
mount -t hostfs none /mnt/lab -o "$LAB"
mount -t hostfs none /mnt/agent -o "${AGENT%/*}"
mount -t hostfs none /mnt/modules -o "$MODULES"

# The machine's /lib/modules is not the guest's: both we and the kernel ask for modules through this.
printf '#!/bin/sh\nexec /sbin/modprobe -d /mnt/modules "$@"\n' >/run/modprobe
chmod 755 /run/modprobe
echo /run/modprobe >/proc/sys/kernel/modprobe

# No name service is near: a server that asks one for a client's name would wait for seconds.
printf 'passwd: files\ngroup: files\nhosts: files\n' >/run/nsswitch.conf
mount --bind /run/nsswitch.conf /etc/nsswitch.conf
printf '127.0.0.1 localhost\n10.77.0.1 server\n10.77.0.2 a\n10.77.0.3 b\n' >/run/hosts
mount --bind /run/hosts /etc/hosts

echo "$NAME" >/proc/sys/kernel/hostname
ip link set lo up
ip link set vec0 up
ip addr add "$IP" dev vec0
# Two clients need two identities, and the same one after a reboot.
/run/modprobe nfs nfs4_unique_id="$NAME"
/run/modprobe nfsv4
/run/modprobe nfs_layout_flexfiles
"/mnt/agent/${AGENT##*/}" guest-agent --listen "${IP%/*}:7700"
sync
echo o >/proc/sysrq-trigger
sleep 5
