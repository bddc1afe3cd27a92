"""A Compose file as a catalogue: what its parts say of each other, all problems at once, and digests."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vx11.catalogue import compose, contents
from vx11.catalogue.compose import Catalogue
from vx11.errors import InputError

Write = Callable[[str, str], Path]
Read = Callable[[str], Catalogue]


@pytest.fixture
def read(write: Write) -> Read:
    """Reads a catalogue from its text, with the variable SET alone."""
    return lambda text: compose.load(write("catalogue.yml", text), {"SET": "value"})


def problems_of(read: Read, text: str) -> list[str]:
    """What is wrong with a file, as `LINE: MESSAGE`, in the order it is told."""
    with pytest.raises(InputError) as refused:
        read(text)
    assert {problem.path.name for problem in refused.value.problems if problem.path} == {"catalogue.yml"}
    return [f"{problem.line}: {problem.message}" for problem in refused.value.problems]


def test_services_carry_what_was_written(read: Read, tmp_path: Path) -> None:
    catalogue = read(
        "name: mine\nversion: '3.8'\nx-base: &base {image: 'a:${SET}', read_only: true}\n"
        "services:\n  web: *base\n  db:\n    <<: *base\n    image: b\nvolumes:\n  data:\n"
    )
    assert list(catalogue.services) == ["web", "db"]
    assert catalogue.services["web"].entry.image == "a:value"
    assert catalogue.services["db"].entry.image == "b"
    assert catalogue.services["db"].entry.read_only
    assert catalogue.services["db"].base == tmp_path


@pytest.mark.parametrize("text", ["", "[]", "5", "text", "services:", "services: []", "services: text", "name: x"])
def test_what_is_no_compose_file_is_told(read: Read, text: str) -> None:
    assert problems_of(read, text) == ["None: is not a Compose file: it needs a mapping named services"]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("networks: {a: }\n", ["3: networks: this key is not supported; see docs/catalogue.md"]),
        ("secrets: {}\nconfigs: {}\n", ["3: secrets: this key", "4: configs: this key"]),
        ("volumes: [data]\n", ["3: volumes: must be a mapping of names"]),
        ("volumes: data\n", ["3: volumes: must be a mapping of names"]),
        (
            "volumes:\n  a: {external: true}\n  b: {}\n  c:\n",
            ["4: volumes.a: options of a volume are not supported; leave it empty"],
        ),
    ],
)
def test_what_else_stands_at_the_top_is_checked(read: Read, text: str, problems: list[str]) -> None:
    found = problems_of(read, f"services:\n  web: {{image: x}}\n{text}")
    assert len(found) == len(problems)
    assert all(one.startswith(wanted) for one, wanted in zip(found, problems, strict=True))


@pytest.mark.parametrize("name", ["Web", "a b", "a.b", "ä", "''", "5", "a/b", "~"])
def test_a_service_has_a_plain_name(read: Read, name: str) -> None:
    (problem,) = problems_of(read, f"services:\n  {name}: {{image: x}}\n")
    assert problem.startswith("2: services")
    assert problem.endswith(": a service's name has a-z, 0-9, - and _ alone")


ALL_WRONG = """\
networks: {front: }
services:
  web:
    image: x
    links: [db]
    ports: [0]
    mem_limit: lots
  Db: {image: x}
  cache:
    image: cache:${UNSET}
    user: $UNSET
    container_name: c
  worker:
    image: x
    privileged: true
    env_file: gone.env
    volumes: ["nowhere:/x", "../up:/y", "/etc:/z"]
    x-vx11:
      ready: {tcp: {port: 1234}}
      peers: [web, nobody]
  empty: {}
volumes: {data: {driver: x}}
"""


def test_every_problem_is_told_at_once_with_its_line_service_and_key(read: Read) -> None:
    told = problems_of(read, ALL_WRONG)
    wanted = [
        "1: networks: this key is not supported",
        "5: services.web.links: unknown key",
        "6: services.web.ports[0].target: ",
        "7: services.web.mem_limit: 'lots' is not a size",
        "8: services.Db: a service's name",
        "10: services.cache.image: the variable UNSET is not set",
        "11: services.cache.user: the variable UNSET is not set",
        "12: services.cache.container_name: unknown key",
        "15: services.worker.privileged: gives away the host; if that is meant, say so with x-vx11",
        "16: services.worker.env_file[0]: the file gone.env does not exist beside it",
        "17: services.worker.volumes[0]: the volume nowhere is not declared under volumes",
        "17: services.worker.volumes[1]: ../up lies outside the bundle",
        "17: services.worker.volumes[2]: /etc lies outside the bundle",
        "19: services.worker.x-vx11.ready: port 1234 is not among the service's ports or expose",
        "20: services.worker.x-vx11.peers.nobody: there is no service nobody",
        "21: services.empty: nothing to run",
        "22: volumes.data: options of a volume",
    ]
    missing = [text for text in wanted if not any(line.startswith(text) for line in told)]
    assert missing == []
    assert len(told) == len(wanted)
    assert told == sorted(told, key=lambda line: int(line.partition(":")[0]))


def test_what_a_variable_left_open_is_told_once(read: Read) -> None:
    assert problems_of(read, "services:\n  web:\n    image: x\n    mem_limit: ${UNSET}\n") == [
        "4: services.web.mem_limit: the variable UNSET is not set; set it, or give a default"
    ]


@pytest.mark.parametrize(
    ("key", "value"),
    [("privileged", "true"), ("devices", "[/dev/kvm]"), ("network_mode", "host"), ("pid", "host")],
)
def test_what_gives_away_the_host_has_to_be_declared_key_by_key(read: Read, key: str, value: str) -> None:
    text = f"services:\n  web:\n    image: x\n    {key}: {value}\n"
    others = ", ".join({"privileged", "devices", "network_mode", "pid", "volumes"} - {key})
    for unsafe in ("", "    x-vx11: {unsafe: []}\n", f"    x-vx11: {{unsafe: [{others}]}}\n"):
        assert problems_of(read, text + unsafe) == [
            f"4: services.web.{key}: gives away the host; if that is meant, say so with x-vx11.unsafe: [{key}]"
        ]
    assert read(f"{text}    x-vx11: {{unsafe: [{key}]}}\n").services["web"].entry.vx11.unsafe == (key,)


@pytest.mark.parametrize(
    "source", ["/", "/var/run/docker.sock", "..", "../sibling", "./a/../../b", "a/../..", "./link-out", "./link-out/x"]
)
def test_a_bind_mount_outside_the_bundle_has_to_be_declared(read: Read, tmp_path: Path, source: str) -> None:
    (tmp_path / "link-out").symlink_to("/etc")
    for volume in (f'"{source}:/x"', f"{{type: bind, source: {source}, target: /x}}"):
        if not source.startswith((".", "/")) and volume.startswith('"'):
            continue  # the short form of this is a named volume
        text = f"services:\n  web:\n    image: x\n    volumes: [{volume}]\n"
        assert problems_of(read, text) == [
            f"4: services.web.volumes[0]: {source} lies outside the bundle; "
            "if that is meant, say so with x-vx11.unsafe: [volumes]"
        ]
        assert read(f"{text}    x-vx11: {{unsafe: [volumes]}}\n").services["web"].entry.volumes


@pytest.mark.parametrize("source", [".", "./conf", "./a/../b", "./link-in"])
def test_a_bind_mount_inside_the_bundle_is_fine(read: Read, tmp_path: Path, source: str) -> None:
    (tmp_path / "link-in").symlink_to("conf")
    assert read(f"services:\n  web:\n    image: x\n    volumes: ['{source}:/x']\n").services["web"].entry.volumes


def test_a_bundle_behind_a_link_is_still_the_bundle(write: Write, tmp_path: Path) -> None:
    write("real/catalogue.yml", "services:\n  web:\n    image: x\n    volumes: ['./conf:/x']\n")
    (tmp_path / "link").symlink_to("real")
    catalogue = compose.load(tmp_path / "link" / "catalogue.yml", {})
    assert catalogue.services["web"].base == tmp_path / "real"


@pytest.mark.parametrize("volumes", ["", "volumes:\n", "volumes: {other: }\n"])
def test_a_named_volume_has_to_be_declared(read: Read, volumes: str) -> None:
    text = f"services:\n  web:\n    image: x\n    volumes: ['data:/x']\n{volumes}"
    assert problems_of(read, text) == ["4: services.web.volumes[0]: the volume data is not declared under volumes"]


@pytest.mark.parametrize(
    ("ports", "ready"),
    [
        ("ports: ['80:8080']", "http: {port: 8080}"),
        ("ports: [8080]", "tcp: {port: 8080}"),
        ("expose: [8080]", "tcp: {port: 8080}"),
        ("ports: [1]", "log: up"),
    ],
)
def test_a_probe_of_a_port_that_is_there(read: Read, ports: str, ready: str) -> None:
    text = f"services:\n  web:\n    image: x\n    {ports}\n    x-vx11: {{ready: {{{ready}}}}}\n"
    assert read(text).services["web"].entry.vx11.ready


def test_one_service_answers_operators(read: Read) -> None:
    text = "services:\n"
    for name in ("web", "db", "cache"):
        text += f"  {name}:\n    image: x\n    ports: [1]\n    x-vx11:\n      operator: true\n"
    assert problems_of(read, text) == [
        f"{line}: services.{name}.x-vx11.operator: web answers operators already; a catalogue has one that does"
        for line, name in ((11, "db"), (16, "cache"))
    ]
    assert read(text.replace("true", "false", 2)).services["cache"].entry.vx11.operator


@pytest.mark.parametrize(
    "ports",
    [
        "tmpfs: /x",
        "ports: [53/udp]",
        "ports: [{target: 1, app_protocol: grpc}]",
        "ports: [{target: 1, app_protocol: https}]",
        "ports: [1]\n    x-vx11: {ready: {tcp: {port: 1}}, operator: true}",
    ],
)
def test_what_answers_operators_speaks_http(read: Read, ports: str) -> None:
    text = f"services:\n  web:\n    image: x\n    {ports}\n"
    text += "" if "operator" in text else "    x-vx11: {operator: true}\n"
    assert problems_of(read, text) == [
        "5: services.web.x-vx11.operator: what answers operators needs a port that speaks HTTP"
    ]
    assert read(text.replace("operator: true", "operator: false"))
    http = text.replace("    image: x\n", "    image: x\n    expose: [2]\n")
    assert read(http).services["web"].entry.vx11.operator


def test_a_probe_knows_the_service_s_own_ports_alone(read: Read) -> None:
    text = "services:\n  web:\n    image: x\n    ports: ['8080:80']\n    x-vx11: {ready: {http: {port: 8080}}}\n"
    (problem,) = problems_of(read, text)
    assert problem.endswith("port 8080 is not among the service's ports or expose")


# Digests -----------------------------------------------------------------------------------------------------------


def digest_of(read: Read, text: str) -> str:
    return contents.digest(read(text).services["web"], Path("allowlist.yml"))


SAME = [
    "services:\n  web:\n    image: a\n    ports: ['80']\n    environment: {B: 2, A: 1}\n",
    "services:\n  web: {environment: {A: 1, B: 2}, ports: ['80'], image: a}\n",
    "# a comment\nx-env: &e {B: 2, A: 1}\nservices:\n  web:\n    environment: *e\n    image: 'a'\n    ports: ['80']\n",
    "x-all: &all {image: a, ports: ['80']}\nservices:\n  web:\n    <<: *all\n    environment: {A: 1, B: 2}\n",
    "x-a: &b {image: z, ports: ['80']}\nservices:\n  web:\n    <<: *b\n    image: a\n    environment: {A: 1, B: 2}\n",
    "name: other\nservices:\n  other: {image: b}\n  web: {environment: {A: 1, B: 2}, ports: ['80'], image: a}\n",
    "services:\n  web: {environment: {A: 1, B: 2}, ports: ['${UNSET:-80}'], image: a}\n",
]
CHANGED = [
    "services:\n  web: {environment: {A: 1, B: 3}, ports: ['80'], image: a}\n",
    "services:\n  web: {environment: {A: 1}, ports: ['80'], image: a}\n",
    "services:\n  web: {environment: {A: 1, B: 2}, ports: ['81'], image: a}\n",
    "services:\n  web: {environment: {A: 1, B: 2}, ports: ['80'], image: b}\n",
    "services:\n  web: {environment: {A: 1, B: 2}, ports: ['80'], image: '${SET}'}\n",
    "services:\n  web: {environment: {A: 1, B: 2}, ports: ['80'], image: a, read_only: false}\n",
    "services:\n  web: {environment: {A: 1, B: 2}, ports: ['80'], image: a, x-note: 1}\n",
    "services:\n  web: {environment: {A: 1, B: 2}, ports: ['80'], image: a, x-vx11: {max_ttl: 1h}}\n",
]


@pytest.mark.parametrize("text", SAME)
def test_a_digest_does_not_see_order_anchors_and_comments(read: Read, text: str) -> None:
    assert digest_of(read, text) == digest_of(read, SAME[0])


def test_a_digest_sees_every_value(read: Read) -> None:
    digests = [digest_of(read, text) for text in [SAME[0], *CHANGED]]
    assert len(set(digests)) == len(digests)
    assert all(len(digest) == 64 for digest in digests)


def test_a_digest_sees_the_order_of_lists(read: Read) -> None:
    one, two = (f"services:\n  web: {{image: a, command: [{words}]}}\n" for words in ("x, y", "y, x"))
    assert digest_of(read, one) != digest_of(read, two)


LEAVES = st.none() | st.booleans() | st.integers(-(2**50), 2**50) | st.text(max_size=5)
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=25)
@given(TREES, TREES)
def test_digests_are_equal_exactly_when_the_values_are(
    tmp_path_factory: pytest.TempPathFactory, one: object, other: object
) -> None:
    path = tmp_path_factory.getbasetemp() / "digests.yml"

    def digest(value: object, *, turned: bool) -> str:
        entry = {"x-tree": value, "image": "a"}
        ordered = dict(reversed(entry.items())) if turned else entry
        text = yaml.safe_dump({"services": {"web": ordered}}, sort_keys=not turned).replace("$", "$$")
        path.write_text(text, encoding="utf-8")
        return contents.digest(compose.load(path, {}).services["web"], Path("allowlist.yml"))

    def as_json(value: object) -> str:
        return json.dumps(value, sort_keys=True)

    assert digest(one, turned=False) == digest(one, turned=True)
    assert (digest(one, turned=False) == digest(other, turned=False)) is (as_json(one) == as_json(other))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("{1: a}", "object keys must be strings"),
        (".nan", "nan is not representable"),
        ("9007199254740993", "exceeds safe integer domain"),
        ("!!binary aGVsbG8=", "unsupported type"),
        ("!!set {a, b}", "unsupported type"),
    ],
)
def test_what_has_no_digest_is_an_error(read: Read, value: str, why: str) -> None:
    (problem,) = problems_of(read, f"services:\n  web:\n    image: a\n    x-note: {value}\n")
    assert problem.startswith("2: services.web: ")
    assert why in problem


# Variables ---------------------------------------------------------------------------------------------------------


def test_variables_come_from_the_environment_over_the_env_file(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write(".env", "IN_FILE=file\nIN_BOTH=file\nEMPTY\n")
    monkeypatch.setenv("IN_BOTH", "environment")
    image = "${IN_FILE}-${IN_BOTH}-${EMPTY}"
    path = write("catalogue.yml", f"services:\n  web: {{image: '{image}'}}\n")
    assert compose.load(path).services["web"].entry.image == "file-environment-"


def test_an_env_file_that_is_not_utf_8_is_told(write: Write, tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"NAME=caf\xe9\n")
    with pytest.raises(InputError, match=r"\.env: is not UTF-8 text"):
        compose.load(write("catalogue.yml", "services:\n  web: {image: x}\n"))


def test_the_environment_of_a_service(read: Read, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("one.env", "A=one\nB=one\nC=one\n# a comment\n")
    write("two.env", "B='two words'\nC=two\n")
    monkeypatch.setenv("PASSED", "from madre")
    monkeypatch.delenv("NOT_THERE", raising=False)
    service = read(
        "services:\n  web:\n    image: x\n    env_file: [one.env, two.env]\n"
        "    environment: {C: own, PASSED: , NOT_THERE: , EMPTY: ''}\n"
    ).services["web"]
    assert service.environment() == {"A": "one", "B": "two words", "C": "own", "PASSED": "from madre", "EMPTY": ""}


def test_build_arguments_without_a_value_come_from_who_builds(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BASE", "debian")
    monkeypatch.delenv("NOT_THERE", raising=False)
    services = read("services:\n  web: {build: {args: [A=1, BASE, NOT_THERE]}}\n  db: {image: x}\n").services
    assert services["web"].build_arguments() == {"A": "1", "BASE": "debian"}
    assert services["db"].build_arguments() == {}


def test_the_bundle_of_the_end_to_end_matrix_is_a_catalogue(monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = Path(__file__).resolve().parents[3]
    assert compose.load(checkout / "matrices/e2e/catalogue.yml", dict(os.environ)).services


NEEDS = """\
services:
  web:
    image: x
    depends_on: [db, cache]
  db:
    image: x
    depends_on:
      migrate: {condition: service_completed_successfully, restart: true}
      cache: {condition: service_healthy}
  cache: {image: x}
  migrate: {image: x}
"""


def test_what_is_needed_is_read_in_both_forms(read: Read) -> None:
    services = read(NEEDS).services
    assert {name: need.condition.value for name, need in services["web"].entry.depends_on.items()} == {
        "db": "service_started",
        "cache": "service_started",
    }
    assert {name: need.condition.value for name, need in services["db"].entry.depends_on.items()} == {
        "migrate": "service_completed_successfully",
        "cache": "service_healthy",
    }


def test_addresses_of_what_is_needed_and_of_peers_are_given_once(read: Read) -> None:
    text = NEEDS.replace("[db, cache]", "[db, cache]\n    x-vx11: {peers: [migrate, db]}")
    assert read(text).services["web"].entry.neighbours() == ("db", "cache", "migrate")


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            ("cache: {image: x}", "cache: {image: x, depends_on: [cache]}"),
            "10: services.cache.depends_on: needs itself",
        ),
        (("[db, cache]", "[db, nobody]"), "4: services.web.depends_on.nobody: there is no service nobody"),
        (("service_healthy", "healthy"), "9: services.db.depends_on.cache.condition: "),
        (("restart: true", "required: false"), "8: services.db.depends_on.migrate.required: "),
        (("restart: true", "reload: true"), "8: services.db.depends_on.migrate.reload: unknown key"),
    ],
)
def test_what_is_wrong_about_needs_is_told(read: Read, change: tuple[str, str], problem: str) -> None:
    (found,) = problems_of(read, NEEDS.replace(*change))
    assert found.startswith(problem)


def test_each_cycle_is_told_once_with_all_its_members(read: Read) -> None:
    text = "services:\n" + "".join(
        f"  {name}: {{image: x, depends_on: [{other}]}}\n" for name, other in ("ab", "bc", "ca", "de", "ed")
    )
    found = sorted(problems_of(read, text))
    assert len(found) == 2
    assert {"a", "b", "c"} == set(found[0].rpartition(": ")[2].split(" → "))
    assert {"d", "e"} == set(found[1].rpartition(": ")[2].split(" → "))
