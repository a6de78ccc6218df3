# Starts the kernel's NFS server in a guest, over ext4 on /dev/ubda. LAYOUTS: ",pnfs" or nothing. FIRST: "yes" when
# no client can have anything to reclaim, so that its grace period may end at once.
set -e
mkdir -p /mnt/disk /run/rpc_pipefs /run/rpcbind /run/nfs
mount /dev/ubda /mnt/disk
mkdir -p /mnt/disk/exported /mnt/disk/clients
/run/modprobe nfsd
mount -t nfsd nfsd /proc/fs/nfsd
mount -t rpc_pipefs none /run/rpc_pipefs
rpcbind -w
nfsdcld -p /run/rpc_pipefs/nfsd/cld -s /mnt/disk/clients >/dev/null 2>&1 || nfsdcld -s /mnt/disk/clients >/dev/null 2>&1 || true
exportfs -o "rw,fsid=0,no_root_squash,no_subtree_check,insecure$LAYOUTS" '*:/mnt/disk/exported'
rpc.nfsd -G 10 -L 10 8
rpc.mountd
if [ "$FIRST" = yes ]; then
  echo Y >/proc/fs/nfsd/v4_end_grace || true
fi
