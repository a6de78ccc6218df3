# Starts the kernel's NFS server in a guest, over ext4 on /dev/ubda. LAYOUTS: ",pnfs" or nothing. nfsdcld keeps the
# clients' names on that disk: a first start knows none and skips its grace period, a later one waits for them.
set -e
mkdir -p /mnt/disk /run/rpc_pipefs /run/rpcbind /run/nfs
mount /dev/ubda /mnt/disk
mkdir -p /mnt/disk/exported /mnt/disk/clients
/run/modprobe nfsd
mount -t nfsd nfsd /proc/fs/nfsd
mount -t rpc_pipefs none /run/rpc_pipefs
rpcbind -w
nfsdcld -p /run/rpc_pipefs -s /mnt/disk/clients
exportfs -o "rw,fsid=0,no_root_squash,no_subtree_check,insecure$LAYOUTS" '*:/mnt/disk/exported'
rpc.nfsd -G 10 -L 10 8
rpc.mountd
