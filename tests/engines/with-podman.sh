#!/bin/sh
# Runs a command with DOCKER_HOST at a Podman service of its own, and takes all of it away afterwards:
#   tests/engines/with-podman.sh python -m pytest tests/engines -m docker
# The service and the command live in network, mount and process namespaces of their own: the host's firewall, mounts and
# own Podman are not touched, and no process outlives them. Images are taken over from the Docker Engine.
set -eu

IMAGES="vx11/e2e-services:0.1.0 ${VX11_BASE_IMAGE:-}"
NEEDED="docker podman runc netavark catatonit unshare ip"

# In the namespaces: starts the service, runs the command, and leaves no container behind.
serve() {
    scratch=$1
    shift
    mount -t tmpfs tmpfs /run
    ip link set lo up
    podman() { command podman --root "$scratch/root" --runroot /run/podman --tmpdir /run/libpod \
        --network-config-dir "$scratch/networks" "$@"; }
    podman load --quiet --input "$scratch/images.tar"
    podman system service --time=0 "unix://$scratch/podman.sock" >"$scratch/service.log" 2>&1 &
    service=$!
    while [ ! -S "$scratch/podman.sock" ]; do
        kill -0 "$service" || { cat "$scratch/service.log" >&2; exit 3; }
        sleep 0.1
    done
    code=0
    DOCKER_HOST=unix://$scratch/podman.sock "$@" || code=$?
    podman rm --all --force --time 0 >/dev/null
    exit "$code"
}

# On the host: removes what Podman leaves in the control groups and on the disk.
clean_up() {
    rmdir /sys/fs/cgroup/libpod_parent/conmon /sys/fs/cgroup/*/libpod_parent/conmon \
        /sys/fs/cgroup/libpod_parent /sys/fs/cgroup/*/libpod_parent 2>/dev/null || true
    rm -rf "$scratch"
}

if [ "${1:-}" = --serve ]; then
    shift
    serve "$@"
fi
for program in $NEEDED; do
    PATH=$PATH:/usr/lib/podman command -v "$program" >/dev/null || {
        echo "with-podman.sh: $program is missing" >&2
        exit 3
    }
done
scratch=$(mktemp -d)
trap clean_up EXIT
# A container may raise no limit beyond what the host allows, there may be no systemd, and no name server is in reach.
cat >"$scratch/containers.conf" <<CONF
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
pids_limit = 0
dns_options = ["timeout:1", "attempts:1"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
[network]
network_backend = "netavark"
CONF
there=
for image in $IMAGES; do
    if docker image inspect "$image" >/dev/null 2>&1; then there="$there $image"; fi
done
# shellcheck disable=SC2086  # a list of names
docker save --output "$scratch/images.tar" $there
CONTAINERS_CONF=$scratch/containers.conf \
    unshare --net --mount --pid --fork --kill-child --mount-proc sh "$0" --serve "$scratch" "$@"
