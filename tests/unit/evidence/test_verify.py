"""Chains that were tampered with: each manipulation is found and named, and honest ones raise no alarm."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from vx11.evidence import verify
from vx11.evidence.chain import SEAL_RECORDS, Chain
from vx11.evidence.keys import PublicKeys, Signer
from vx11.evidence.reading import without_hash
from vx11.evidence.verify import Kind, State

Lines = list[bytes]


@pytest.fixture(scope="module")
def signer(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer.of(tmp_path_factory.mktemp("key") / "evidence.key")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Signer:
    return Signer.of(tmp_path_factory.mktemp("key") / "evidence.key")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evidence.jsonl"


def written(path: Path, signer: Signer | None, count: int = 4) -> Path:
    """So many records, and their seal."""
    chain = Chain(path, signer)
    for number in range(count):
        chain.append("anna", "opened", f"window-{number}", {"service": "web", "ttl_s": 30.5})
    chain.close()
    return path


def anew(line: bytes, **changes: Any) -> bytes:
    """A record that somebody changed, and gave the hash that it has to have then."""
    record = json.loads(line) | changes
    record["hash"] = hashlib.sha256(rfc8785.dumps({k: v for k, v in record.items() if k != "hash"})).hexdigest()
    return rfc8785.dumps(record) + b"\n"


def chained(lines: Lines) -> Lines:
    """Records numbered and chained anew, as somebody would who wants it to look whole."""
    head, found = "0" * 64, []
    for number, line in enumerate(lines, start=1):
        found.append(anew(line, seq=number, prev=head))
        head = json.loads(found[-1])["hash"]
    return found


def flipped(line: bytes, word: bytes, other: bytes) -> bytes:
    assert word in line
    return line.replace(word, other, 1)


def with_seal(line: bytes, **changes: Any) -> bytes:
    return anew(line, data=json.loads(line)["data"] | changes)


OF_SEAL = (Kind.BAD_SEAL, 5, "whose signature is wrong")
OTHER_SIGNATURE = "A" * 86 + "=="
# What is done to a chain of four records and a seal; what is found, at which record.
MANIPULATIONS: dict[str, tuple[Callable[[Lines], Lines], Kind, int | None, str]] = {
    "a flipped byte": (
        lambda at: [at[0], flipped(at[1], b"anna", b"anne"), *at[2:]],
        Kind.CHANGED,
        2,
        "does not match its own hash",
    ),
    "a number that is another": (
        lambda at: [*at[:2], flipped(at[2], b"30.5", b"31.5"), *at[3:]],
        Kind.CHANGED,
        3,
        "does not match its own hash",
    ),
    "a record written anew": (
        lambda at: [at[0], anew(at[1], subject="other"), *at[2:]],
        Kind.CHANGED,
        3,
        "does not follow the record before it",
    ),
    "a missing record": (lambda at: [at[0], *at[2:]], Kind.MISSING, 3, "record 2 is missing"),
    "missing records": (lambda at: [at[0], *at[3:]], Kind.MISSING, 4, "records 2 to 3 are missing"),
    "a missing first record": (lambda at: at[1:], Kind.MISSING, 2, "record 1 is missing"),
    "reordered records": (
        lambda at: [at[0], at[2], at[1], *at[3:]],
        Kind.REORDERED,
        2,
        "does not stand where it belongs",
    ),
    "a repeated record": (lambda at: [*at[:2], at[1], *at[2:]], Kind.REPEATED, 2, "stands there 2 times"),
    "what is no record": (lambda at: [*at[:2], b"\n", *at[2:]], Kind.CHANGED, 3, "what stands before it is not a record"),
    "what is no record behind all": (lambda at: [*at, b"[]\n"], Kind.CHANGED, 6, "is not a record"),
    "half a surrogate in a name": (
        lambda at: [*at[:3], flipped(at[3], b'"service"', b'"\\ud800"'), *at[4:]],
        Kind.CHANGED,
        4,
        "is not in canonical form",
    ),
    "another form of the same": (
        lambda at: [*at[:3], flipped(at[3], b",", b", "), *at[4:]],
        Kind.CHANGED,
        4,
        "is not in canonical form",
    ),
    "a record put in": (
        lambda at: [at[0], anew(at[0], seq=2, prev=json.loads(at[0])["hash"]), *at[1:]],
        Kind.REPEATED,
        2,
        "stands there 2 times",
    ),
    "a record taken out, all chained anew": (
        lambda at: chained([at[0], *at[2:]]),
        Kind.BAD_SEAL,
        4,
        "is a seal of something else",
    ),
    "a record changed, all chained anew, the seal made to fit": (
        lambda at: (lambda c: [*c[:4], with_seal(c[4], head=json.loads(c[3])["hash"])])(
            chained([at[0], flipped(at[1], b"anna", b"anne"), *at[2:]])
        ),
        *OF_SEAL,
    ),
    "another signature": (
        lambda at: [*at[:4], with_seal(at[4], signature=OTHER_SIGNATURE)],
        *OF_SEAL,
    ),
    "a seal that is not final any more": (
        lambda at: [*at[:4], with_seal(at[4], final=False)],
        *OF_SEAL,
    ),
    "a seal without a canonical form": (
        lambda at: [*at[:4], flipped(at[4], b'"final":true', b'"final":NaN')],
        *OF_SEAL,
    ),
    "a seal that says more": (
        lambda at: [*at[:4], with_seal(at[4], until="2099")],
        *OF_SEAL,
    ),
    "a seal with another field": (lambda at: [*at[:4], anew(at[4], type="vx11-seal")], *OF_SEAL),
    "a seal of another time": (lambda at: [*at[:4], anew(at[4], wall_ns="1764000001000000000")], *OF_SEAL),
    "a seal of another boot": (lambda at: [*at[:4], anew(at[4], mono_ns="1")], *OF_SEAL),
    "a seal of another chain": (lambda at: [*at[:4], anew(at[4], subject="heads")], *OF_SEAL),
    "a seal of another key": (
        lambda at: [*at[:4], with_seal(at[4], key="0123456789abcdef")],
        Kind.WRONG_KEY,
        5,
        "is sealed by the key 0123456789abcdef",
    ),
}


@pytest.mark.parametrize("name", MANIPULATIONS)
def test_a_manipulation_is_found_and_named(path: Path, signer: Signer, name: str) -> None:
    change, kind, record, message = MANIPULATIONS[name]
    lines = written(path, signer).read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(change(lines)))
    found = verify.chain(path, PublicKeys([signer.public]))
    assert found.state is State.TAMPERED
    assert (kind, record) in [(item.kind, item.record) for item in found.findings if message in item.message]


def test_a_chain_that_is_as_it_was_written_is_sound(path: Path, signer: Signer) -> None:
    found = verify.chain(written(path, signer), PublicKeys([signer.public]))
    assert (found.state, found.records, found.sealed, found.closed) == (State.SOUND, 5, 5, True)
    assert found.why == "sealed and closed at record 5"
    assert found.keys == {signer.public.id}


def test_a_wrong_key_is_told(path: Path, signer: Signer, stranger: Signer) -> None:
    found = verify.chain(written(path, signer), PublicKeys([stranger.public]))
    assert [item.kind for item in found.findings] == [Kind.WRONG_KEY]
    assert f"sealed by the key {signer.public.id}, not by {stranger.public.id}" in found.findings[0].message


@pytest.mark.parametrize(
    ("keep", "why"),
    [
        (4, "unsealed since record 1 of 4: its writer goes on, or crashed"),
        (0, "empty"),
    ],
)
def test_a_cut_tail_leaves_it_unsealed(path: Path, signer: Signer, keep: int, why: str) -> None:
    lines = written(path, signer).read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:keep]))
    found = verify.chain(path, PublicKeys([signer.public]))
    assert (found.state, found.findings, found.why) == (State.UNSEALED, (), why)


def test_unsealed_counts_from_the_last_seal(path: Path, signer: Signer) -> None:
    chain = Chain(path, signer)
    for number in range(SEAL_RECORDS + 2):
        chain.append("anna", "opened", f"w-{number}", sync=False)
    chain.sync()
    found = verify.chain(path, PublicKeys([signer.public]))
    assert found.why == f"unsealed since record {SEAL_RECORDS + 2} of {SEAL_RECORDS + 3}: its writer goes on, or crashed"
    chain.seal()
    assert "not closed" in verify.chain(path, PublicKeys([signer.public])).why
    chain.close()
    assert verify.chain(path, PublicKeys([signer.public])).state is State.SOUND


def test_a_seal_is_not_made_twice(path: Path, signer: Signer) -> None:
    written(path, signer)
    before = path.read_bytes()
    for _ in range(2):
        chain = Chain(path, signer)
        chain.seal()
        chain.close()
    assert path.read_bytes() == before


def test_a_tail_that_was_sealed_anew_is_found_by_a_head_noted_elsewhere(path: Path, signer: Signer) -> None:
    noted = verify.chain(written(path, signer), PublicKeys()).head
    path.unlink()
    written(path, signer, count=3)
    keys = PublicKeys([signer.public])
    assert verify.chain(path, keys).state is State.SOUND
    assert verify.chain(path, keys, anchors=[noted]).anchors == set()
    assert verify.chain(path, keys, anchors=[json.loads(path.read_bytes().splitlines()[1])["hash"]]).anchors


def torn(path: Path, signer: Signer) -> Path:
    """A chain whose first writer ended in the middle of its third record."""
    chain = Chain(path)
    for number in range(2):
        chain.append("anna", "opened", f"w-{number}")
    chain.close()
    with path.open("ab") as file:
        file.write(b'{"action":"op')
    written(path, signer, 2)
    return path


def test_a_crash_is_no_tampering(path: Path, signer: Signer) -> None:
    found = verify.chain(torn(path, signer), PublicKeys([signer.public]))
    assert (found.state, found.crashes, found.records) == (State.SOUND, (2,), 6)


def test_where_a_chain_went_on_behind_what_was_not_sealed_is_told(path: Path, signer: Signer) -> None:
    """Its writer was killed between two records, or somebody put one in while nobody wrote."""
    written(path, signer)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    written(path, signer, 1)
    written(path, signer, 1)
    found = verify.chain(path, PublicKeys([signer.public]))
    assert (found.findings, found.state, found.crashes) == ((), State.SOUND, (3,))


def shortened(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def mended(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.read_bytes().rindex(b"\n") + 1])


def lost(path: Path) -> None:
    path.with_name("evidence-2.jsonl").unlink()


def foreign(path: Path) -> None:
    second = path.with_name("evidence-2.jsonl")
    second.write_bytes(b"".join(second.read_bytes().splitlines(keepends=True)[1:]))


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (shortened, Kind.CHANGED, "half a line at the end of evidence.jsonl is not as it was"),
        (mended, Kind.CHANGED, "half a line at the end of evidence.jsonl is not as it was"),
        (foreign, Kind.FOREIGN, "evidence-2.jsonl does not say what it continues"),
        (foreign, Kind.FOREIGN, "half a line at the end of evidence.jsonl, which what follows does not tell of"),
    ],
)
def test_what_is_done_around_a_crash_is_found(
    path: Path, signer: Signer, change: Callable[[Path], None], kind: Kind, message: str
) -> None:
    change(torn(path, signer))
    findings = verify.chain(path, PublicKeys([signer.public])).findings
    assert [item.kind for item in findings if message in item.message] == [kind]


def test_who_ends_before_he_can_tell_of_the_crash_before_him_is_no_tampering_either(path: Path, signer: Signer) -> None:
    torn(path, signer)
    second = path.with_name("evidence-2.jsonl")
    second.write_bytes(second.read_bytes()[:40])
    found = verify.chain(path, PublicKeys([signer.public]))
    assert (found.findings, found.state, found.cut) == ((), State.UNSEALED, True)


def test_a_further_file_that_is_gone_leaves_it_cut(path: Path, signer: Signer) -> None:
    lost(torn(path, signer))
    found = verify.chain(path, PublicKeys([signer.public]))
    assert found.state is State.UNSEALED
    assert found.why == (
        "unsealed since record 1 of 2, and half a line behind the last record: its writer goes on, or crashed"
    )


@given(st.data())
def test_every_flipped_bit_shows(
    signer: Signer, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = written(tmp_path_factory.mktemp("chain") / "evidence.jsonl", signer, 2)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 6))
    path.write_bytes(content)
    assert verify.chain(path, PublicKeys([signer.public])).state is not State.SOUND


texts = st.text(max_size=8)
plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
records = st.lists(st.tuples(texts, texts, texts, st.dictionaries(texts, plain, max_size=3)), max_size=4)


@given(records, st.integers(0, 400))
def test_what_was_written_honestly_raises_no_alarm(
    signer: Signer, tmp_path_factory: pytest.TempPathFactory, what: list[Any], cut: int
) -> None:
    """Also where the writer ended anywhere, and another went on."""
    path = tmp_path_factory.mktemp("chain") / "evidence.jsonl"
    chain = Chain(path)
    for actor, action, subject, data in what:
        chain.append(actor, action, subject, data)
    chain.close()
    path.write_bytes(path.read_bytes()[: max(0, len(path.read_bytes()) - cut)])
    written(path, signer, 1)
    found = verify.chain(path, PublicKeys([signer.public]))
    assert (found.findings, found.state) == ((), State.SOUND)


def test_the_hash_is_that_of_the_record_without_it(path: Path) -> None:
    chain = Chain(path)
    chain.append("anna", "opened", ',"mono_ns":"1', {"x": ',"mono_ns":"2', "mono_ns": "3", "hash": "4"})
    chain.close()
    line = path.read_bytes()[:-1]
    record = json.loads(line)
    assert without_hash(line, record["hash"]) == rfc8785.dumps({k: v for k, v in record.items() if k != "hash"})
    assert verify.chain(path, PublicKeys()).findings == ()


def test_a_further_file_that_nothing_leads_to_is_found(path: Path, signer: Signer) -> None:
    torn(path, signer)
    path.with_name("evidence-2.jsonl").rename(path.with_name("evidence-3.jsonl"))
    (found,) = verify.chain(path, PublicKeys([signer.public])).findings
    assert (found.kind, found.message) == (
        Kind.MISSING,
        "evidence-3.jsonl is there, and the file that it continues is not",
    )


def test_the_sound_part_ends_before_the_first_finding(path: Path) -> None:
    lines = written(path, None).read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], flipped(lines[2], b"anna", b"anne"), lines[3]]))
    assert [record["seq"] for record in verify.sound_part(path)] == [1, 2]
