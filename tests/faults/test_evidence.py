"""Evidence whose writer dies: nothing that was acknowledged is lost, and a crash is never taken for tampering."""

import random
import subprocess
import sys
from pathlib import Path

from vx11.evidence import verify
from vx11.evidence.chain import Chain
from vx11.evidence.keys import PublicKeys, Signer
from vx11.evidence.reading import records, segments
from vx11.evidence.verify import State

from .scene import FULL

WRITERS = Path(__file__).with_name("writers.py")
KILLS = 200 if FULL else 40
LOGS = 1000 if FULL else 100


def test_writers_that_are_killed_lose_nothing_that_was_acknowledged(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "evidence.jsonl"
    command = [sys.executable, str(WRITERS), str(path), str(KILLS), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    acknowledged = done.stdout.split()
    assert len(acknowledged) > KILLS
    Chain(path, Signer.of()).close()
    found = verify.chain(path, PublicKeys([Signer.of().public]))
    assert (found.findings, found.state) == ((), State.SOUND)
    written = [str(record["subject"]) for record in records(path)]
    assert set(acknowledged) <= set(written)
    assert len({subject.split(".")[0] for subject in acknowledged}) > KILLS / 4, "they took turns"


def test_an_honest_log_that_was_cut_anywhere_raises_no_alarm(tmp_path: Path, dice: random.Random) -> None:
    signer = Signer.of()
    keys = PublicKeys([signer.public])
    for number in range(LOGS):
        path = tmp_path / str(number) / "evidence.jsonl"
        for _ in range(dice.randint(1, 3)):
            chain = Chain(path, signer)
            for entry in range(dice.randint(0, 5)):
                chain.append("writer", "noted", str(entry), sync=False)
            if dice.random() < 0.5:
                chain.close()
                continue
            chain.sync()
            chain._close_files()
            last = segments(path)[-1]
            # A record is written in one piece, of which power that fails may leave any part.
            last.write_bytes(last.read_bytes()[: -dice.randint(1, 200)] if last.stat().st_size > 200 else b"{")
        found = verify.chain(path, keys)
        assert found.findings == ()
        Chain(path, signer).close()
        sealed = verify.chain(path, keys)
        assert (sealed.findings, sealed.state) == ((), State.SOUND if sealed.records else State.UNSEALED)
