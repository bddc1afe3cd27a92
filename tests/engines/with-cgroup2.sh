#!/bin/sh
# Runs a command of this checkout as root in a virtual machine, whose systemd mounts control groups of version 2 alone:
#   tests/engines/with-cgroup2.sh python3 -m pytest tests/engines/test_limits.py
# Output and exit code are the command's; 3 when there was no machine to run it in. The machine is the image of test
# hosts with a kernel of its own. It has this checkout and what python3 imports here, at the same places, a Docker
# Engine with the sample services, and no network. Nothing is mounted or installed here; nothing but images is left.
set -eu

IMAGE=vx11/test-vm
KERNEL=linux-image-cloud-amd64
SERVICES=vx11/e2e-services:0.1.0
NEEDED="qemu-system-x86_64:qemu-system-x86 mke2fs:e2fsprogs docker:docker.io python3:python3"
LIMIT=3600
# The image of test hosts, then the folders that this Python imports from.
LOOK='
import sys, docker
from tests.hosts import host, image
if why := image.missing():
    sys.exit(why)
print(image.build_image(docker.from_env()), *host.site_paths(), sep="\n")
'

fail() {
    echo "with-cgroup2.sh: $1" >&2
    exit 3
}

# In the machine: the second serial line has what the command says, the third its exit code.
run_inside() {
    stty -F /dev/ttyS1 raw
    exec >/dev/ttyS1 2>&1
    [ "$(stat -fc %T /sys/fs/cgroup)" = cgroup2fs ] || fail "/sys/fs/cgroup is not of version 2"
    systemctl start docker || fail "the Docker Engine did not start"
    docker load --quiet --input /srv/services.tar
    rm /srv/services.tar
    code=0
    sh /srv/command || code=$?
    echo "$code" >/dev/ttyS2
}

# What the disk of the machine holds.
make_tree() {
    found=$(python3 -c "$LOOK") || fail "there is no image of test hosts to take"
    host=$(echo "$found" | head -n 1)
    docker build --quiet --network host --tag "$IMAGE" - >/dev/null <<DOCKERFILE
FROM $host
RUN apt-get update \\
    && apt-get install --yes --no-install-recommends $KERNEL \\
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
DOCKERFILE
    docker image inspect "$SERVICES" >/dev/null 2>&1 || docker build --quiet \
        ${VX11_BASE_IMAGE:+--build-arg VX11_BASE_IMAGE} --tag "$SERVICES" matrices/e2e/services >/dev/null
    container=$(docker create "$IMAGE")
    docker export --output "$scratch/root.tar" "$container"
    docker rm "$container" >/dev/null
    container=
    tar --extract --file "$scratch/root.tar" --directory "$root"
    # It would tell systemd that it is in a container, and empty /tmp, where the checkout may be.
    rm "$scratch/root.tar" "$root/.dockerenv" "$root/usr/lib/tmpfiles.d/tmp.conf"
    echo 127.0.0.1 localhost >"$root/etc/hosts"
    copy "$PWD" --exclude="${PWD#/}/.git" --exclude="${PWD#/}/.nox" --exclude="${PWD#/}/evidence"
    echo "$found" | tail -n +2 | tee "$root/usr/lib/python3/dist-packages/vx11.pth" | while read -r path; do
        copy "$path"
    done
    docker save --output "$root/srv/services.tar" "$SERVICES"
    python3 -c 'import shlex, sys; print("cd", shlex.join(sys.argv[1:2]), "&& exec env", shlex.join(sys.argv[2:]))' \
        "$PWD" HOME=/root TERM=dumb VX11_REQUIRE=docker,root "$@" >"$root/srv/command"
    cp "$0" "$root/srv/inside"
}

# copy FOLDER [OPTION…]: takes it over, to the same place.
copy() {
    folder=$1
    shift
    tar --create --directory / "$@" "${folder#/}" | tar --extract --directory "$root"
}

clean_up() {
    if [ -n "$machine" ] && kill "$machine" 2>/dev/null; then wait "$machine" || true; fi
    [ -z "$container" ] || docker rm "$container" >/dev/null
    rm -rf --one-file-system "$scratch"
}

if [ "${1:-}" = --inside ]; then
    run_inside
    exit
fi
[ "$(id -u)" = 0 ] || fail "root is needed, to take over the owners of files"
for pair in $NEEDED; do
    command -v "${pair%:*}" >/dev/null || fail "${pair%:*} is missing; install ${pair#*:}"
done
machine=
container=
scratch=$(mktemp -d)
root=$scratch/root
mkdir "$root"
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
make_tree "$@"
truncate --size 6G "$scratch/disk"
touch "$scratch/console" "$scratch/code"
mke2fs -q -t ext4 -O ^has_journal -d "$root" "$scratch/disk"
# /dev/kvm may be there and of no use, in a virtual machine that nests none.
accelerator=tcg
if [ -w /dev/kvm ] && grep -qwE 'vmx|svm' /proc/cpuinfo; then accelerator=kvm; fi
timeout "$LIMIT" qemu-system-x86_64 -accel "$accelerator" -m 2G -smp 2 -nodefaults -nic none -display none -no-reboot \
    -kernel "$root/vmlinuz" -initrd "$root/initrd.img" \
    -append "root=/dev/vda rw console=ttyS0 panic=-1 apparmor=0 systemd.run='sh /srv/inside --inside'" \
    -drive "file=$scratch/disk,if=virtio,format=raw,cache=unsafe" \
    -serial "file:$scratch/console" -serial stdio -serial "file:$scratch/code" </dev/null &
machine=$!
wait "$machine" || true
machine=
code=$(cat "$scratch/code")
if [ -z "$code" ]; then
    tail -n 30 "$scratch/console" >&2
    fail "the machine ended without a result; its last lines are above"
fi
exit "$code"
