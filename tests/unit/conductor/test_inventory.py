"""Hosts as Ansible sees them, whatever it reads them from; and what they have to have."""

from pathlib import Path

import pytest

from vx11.conductor import collection, inventory
from vx11.conductor.inventory import InventoryHost
from vx11.errors import InputError

HOSTS = [InventoryHost("a", "http://a:8000", "own", "svc"), InventoryHost("b", "http://b:8000", "common")]
INI = "a vx11_url=http://a:8000/ vx11_token=own vx11_service_token=svc\nb vx11_url=http://b:8000\n"
GROUPS = """
all:
  children:
    one: {hosts: {a: {named: own, vx11_service_token: svc}}}
    two: {hosts: {b: }}
  vars:
    vx11_url: "http://{{ inventory_hostname }}:8000"
    vx11_token: "{{ named | default('') }}"
"""
SCRIPT = """#!/bin/sh
echo '{"all": {"hosts": ["a", "b"]}, "_meta": {"hostvars": {"a": {"vx11_url": "http://a:8000", "vx11_token": "own", \
"vx11_service_token": "svc"}, "b": {"vx11_url": "http://b:8000"}}}}'
"""


def read(path: Path, limit: str | None = None, token: str = "common") -> list[InventoryHost]:
    return inventory.read(path, limit, collection.find(path), token)


@pytest.mark.parametrize(
    ("name", "text", "mode"),
    [("hosts", INI, 0o644), ("hosts.yml", GROUPS, 0o644), ("hosts.sh", SCRIPT, 0o755)],
    ids=["ini", "yaml", "script"],
)
def test_whatever_ansible_reads_has_hosts(tmp_path: Path, name: str, text: str, mode: int) -> None:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    assert read(path) == HOSTS


def test_a_folder_with_variables_of_a_group_and_a_limit(tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("a\nb\nc\n", encoding="utf-8")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text('vx11_url: "http://{{ inventory_hostname }}:8000"\n')
    found = read(tmp_path, "a:b")
    assert [(host.name, host.url) for host in found] == [("a", "http://a:8000"), ("b", "http://b:8000")]


@pytest.mark.parametrize(
    ("text", "limit", "token", "message"),
    [
        ("a vx11_url=http://a:1\nb\nc\n", None, "t", "these hosts lack vx11_url, the address of their madre: b, c"),
        ("a vx11_url=http://a:1\n", None, "", "these hosts have no token"),
        ("a vx11_url=http://x\nb vx11_url=http://x/\n", None, "t", "the same madre, http://x, which runs one case"),
        ("a vx11_url=http://a:1\n", "nobody", "t", "Ansible finds no host"),
        ("[a\n", None, "t", "Ansible finds no host"),
        ("[a]\na vx11_url=http://a:1\n", None, "t", "a: a group has the same name"),
        ("a vx11_url=\"{{ lookup('ansible.builtin.file', 'nowhere') }}\"\n", None, "t", "a: "),
    ],
    ids=["no-address", "no-token", "one-madre", "limit", "broken", "group", "template"],
)
def test_what_is_wrong_is_said_of_all_hosts(
    tmp_path: Path, text: str, limit: str | None, token: str, message: str
) -> None:
    path = tmp_path / "hosts.ini"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as raised:
        read(path, limit, token)
    assert message in str(raised.value)


def test_an_inventory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such inventory"):
        read(tmp_path / "hosts")


def test_a_token_is_not_shown() -> None:
    assert "own" not in repr(HOSTS[0])
