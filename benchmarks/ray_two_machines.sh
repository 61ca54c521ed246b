#!/usr/bin/env bash
# A batch on a Ray cluster of two machines that are one: each a network namespace with its own address, /tmp and shared
# memory. Then the same again, and the cable of the second is pulled in the middle. Both must equal a run without Ray.
#
#     benchmarks/ray_two_machines.sh "shots/*.jpg" "all ships" out/two-machines      (as root; iproute2, refersat, Ray)
set -euo pipefail
images=$1 phrase=$2 out=$3
net=10.77.0 port=6379 spare=$(mktemp -d)
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN=$(od -An -tx1 -N32 /dev/urandom | tr -d " \n") RAY_USAGE_STATS_ENABLED=0 RAY_worker_niceness=0
export OMP_NUM_THREADS=1

clean() {
    trap - EXIT
    for k in 1 2; do
        ip netns pids "refersat-$k" 2>/dev/null | xargs -r kill -9 || true
        ip netns delete "refersat-$k" 2>/dev/null || true
    done
    rm -rf "$spare"
}
trap clean EXIT

machine() { # NUMBER COMMAND...: run on one of the two, in its own file systems for what is temporary
    local number=$1
    shift
    nsenter --mount="$spare/mounts-$number" ip netns exec "refersat-$number" "$@"
}

answers() { # FOLDER: all that a batch answered, without times and hosts
    (cd "$1" && find rows -type f ! -name record.json -exec sha256sum {} + | sort -k2)
}

mkdir -p "$out"
mount --bind "$spare" "$spare" && mount --make-private "$spare"
trap 'umount -q "$spare"/mounts-* "$spare" || true; clean' EXIT
for k in 1 2; do
    ip netns add "refersat-$k"
    touch "$spare/mounts-$k"
    unshare --mount="$spare/mounts-$k" sh -c 'mount -t tmpfs tmpfs /dev/shm'
done
ip link add cable-1 netns refersat-1 type veth peer name cable-2 netns refersat-2
for k in 1 2; do
    ip -n "refersat-$k" address add "$net.$k/24" dev "cable-$k"
    ip -n "refersat-$k" link set "cable-$k" up
    ip -n "refersat-$k" link set lo up
done
machine 1 ray start --head --node-ip-address "$net.1" --port "$port" --num-cpus 1 --temp-dir "$spare/ray-1" >"$out/ray-1.log"
machine 2 ray start --address "$net.1:$port" --node-ip-address "$net.2" --num-cpus 1 --temp-dir "$spare/ray-2" >"$out/ray-2.log"

batch() { # NAME OPTIONS...
    local name=$1
    shift
    rm -rf "${out:?}/$name"
    machine 1 refersat batch "$images" -t "$phrase" --out "$out/$name" "$@"
}
batch alone
batch both --engine ray --address "$net.1:$port"
batch cut --engine ray --address "$net.1:$port" &
run=$!
while [ "$(find "$out/cut/rows" -name record.json 2>/dev/null | wc -l)" -lt 2 ]; do kill -0 $run && sleep 0.2; done
ip -n refersat-2 link set cable-2 down
echo "The second machine is cut off."
wait $run
for name in both cut; do
    diff <(answers "$out/alone") <(answers "$out/$name") && echo "$name: equal to the run without Ray, byte for byte"
done
