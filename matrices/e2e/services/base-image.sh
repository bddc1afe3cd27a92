#!/bin/sh
# Makes the base image of the sample services where no registry can be reached: a minimal Debian with Python, by
# debootstrap and `docker import`. See `usage` below, or run it with --help.
set -eu

IMAGE=vx11/base:bookworm
SUITE=bookworm
PACKAGES=python3,ca-certificates

usage() {
    cat <<USAGE
Usage: base-image.sh [--force] [--mirror URL]

Makes the image $IMAGE from Debian's packages. Needs root, debootstrap, and a Docker Engine that answers.
Does nothing when the image is there.

  --force       make the image anew
  --mirror URL  take the packages from there; otherwise from the mirror in this host's own apt sources,
                if it runs Debian, else from debootstrap's default
  --help        show this

Then build the services on it:
  VX11_BASE_IMAGE=$IMAGE docker compose -f matrices/e2e/catalogue.yml build
Exit codes: 0 the image is there; 1 it could not be made; 2 wrong usage; 3 something that it needs is missing.
USAGE
}

# fail CODE SENTENCE: says what is wrong and ends.
fail() {
    printf 'base-image.sh: %s\n' "$2" >&2
    exit "$1"
}

# Prints the first URL that the apt sources name for Debian's own archive, or nothing. Both formats are read: lines
# `deb [options] URL suite component…`, and paragraphs with `URIs:`, `Suites:` and `Components:`. The suite, the component
# main and a path with /debian tell the archive from other people's repositories.
mirror_of_host() {
    {
        cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null \
            | sed -n "s/^deb *\(\[[^]]*\]\)\{0,1\} *\([^ ]*\) *$SUITE .*\bmain\b.*/\2/p"
        cat /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v suite="$SUITE" '
            function has(word,  i) { for (i = 2; i <= NF; i++) if ($i == word) return 1; return 0 }
            function flush() { if (suites && main) print uri; suites = main = 0 }
            /^[ \t]*$/ || /^Types:/ { flush() }
            /^URIs:/ { uri = $2 }
            /^Suites:/ { suites = has(suite) }
            /^Components:/ { main = has("main") }
            END { flush() }'
    } | sed -n '/^https\{0,1\}:.*\/debian\(\/\|$\)/{p;q;}'
}

# Undoes what debootstrap may have mounted below the tree before removing it.
clean_up() {
    for mounted in proc sys dev; do
        umount "$work/root/$mounted" 2>/dev/null || true
    done
    rm -rf --one-file-system "$work"
}

force=no
mirror=
while [ $# -gt 0 ]; do
    case $1 in
        --force) force=yes ;;
        --mirror) [ $# -gt 1 ] || fail 2 "--mirror needs a URL"; mirror=$2; shift ;;
        --help | -h) usage; exit 0 ;;
        *) usage >&2; fail 2 "unknown argument: $1" ;;
    esac
    shift
done

command -v docker >/dev/null || fail 3 "there is no docker command; install Docker's client"
docker version >/dev/null 2>&1 || fail 3 "no Docker Engine answers; start one, or set DOCKER_HOST"
if [ "$force" = no ] && docker image inspect "$IMAGE" >/dev/null 2>&1; then
    echo "$IMAGE is there; --force makes it anew"
    exit 0
fi
[ "$(id -u)" = 0 ] || fail 3 "debootstrap needs root; run this as root"
command -v debootstrap >/dev/null || fail 3 "there is no debootstrap; install the package debootstrap"

work=$(mktemp -d)
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
[ -n "$mirror" ] || mirror=$(mirror_of_host)

# An empty mirror must not become an argument: debootstrap then takes its own default.
if ! debootstrap --force-check-gpg --variant=minbase --include="$PACKAGES" "$SUITE" "$work/root" \
    ${mirror:+"$mirror"} >"$work/log" 2>&1; then
    tail -n 20 "$work/log" >&2
    fail 1 "debootstrap could not make the tree from ${mirror:-its default mirror}; its last lines are above"
fi
rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/*
# A file between the two, because the shell sees only the last exit code of a pipe.
tar --create --numeric-owner --one-file-system --directory "$work/root" --file "$work/root.tar" . \
    || fail 1 "the tree could not be packed below $work; is there room?"
docker import "$work/root.tar" "$IMAGE" >/dev/null || fail 1 "docker import did not take the tree as $IMAGE"
echo "made $IMAGE"
