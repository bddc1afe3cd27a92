#!/bin/sh
# A run on a full disk, and what comes after it: in a mount namespace of its own, with a disk of a few MB for the evidence.
# Arguments: a folder for the evidence, a folder for what is printed, the python, the bundle, then further words for the run.
set -u
evidence=$1 out=$2 python=$3 bundle=$4
shift 4
mount -t tmpfs -o size=6m tmpfs "$evidence"
"$python" -m vx11 run "$bundle" --evidence "$evidence" --json "$@" >"$out/run" 2>"$out/errors"
echo $? >"$out/code"
cp "$evidence/index.json" "$out/index-full"
rm -f "$evidence/filler"
"$python" -m vx11 evidence recover "$evidence" --json >"$out/recovered"
cp "$evidence/index.json" "$out/index"
cp "$evidence"/*/evidence.jsonl "$out/evidence.jsonl"
