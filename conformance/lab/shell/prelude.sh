# What each script of the lab's shell lines begins with. Nothing here may say where the script is.
export LC_ALL=C TZ=UTC HOME=/tmp NOISE=/mnt/lab/shell/noise
umask 022

# noise COUNT [SKIP]: so many bytes of $NOISE, which are the same in each run.
noise() { dd if="$NOISE" iflag=skip_bytes,count_bytes skip="${2:-0}" count="$1" bs=64K status=none; }

# others FILE [SKIP]: how many bytes behind SKIP are not zero.
others() { tail -c "+$((${2:-0} + 1))" "$1" | tr -d '\0' | wc -c; }

# size FILE...: what stat says, a number for each file.
size() { stat -c %s "$@"; }

# same FILE COUNT [SKIP]: whether the file holds exactly those bytes of $NOISE.
same() { noise "$2" "${3:-0}" | cmp -s - "$1" && echo same || echo different; }

# unheld: waits until the names are gone that an NFS client gives to removed files while they are open.
unheld() { for _ in $(seq 200); do ls -A | grep -q '^\.nfs' || return 0; sleep 0.05; done; }

# await FILE COUNT: waits until the file has so many bytes, or gives up after some seconds.
await() { for _ in $(seq 200); do [ "$(stat -c %s "$1" 2>/dev/null || echo 0)" -ge "$2" ] && return; sleep 0.05; done; }
