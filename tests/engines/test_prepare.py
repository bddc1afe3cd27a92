"""What is missing is said before anything starts, in a sentence that names the service and what to do."""

import re
import uuid
from typing import Any

import pytest

from vx11 import signals
from vx11.engines.port import EngineError

UNREACHABLE = "127.0.0.1:1/none:latest"


def refusal(bench: Any, entry: dict[str, Any]) -> str:
    """What prepare says about an entry that cannot be started."""
    with pytest.raises(EngineError) as caught:
        bench.engine.prepare(bench.service(entry))
    return str(caught.value)


def test_what_can_be_started_passes(bench: Any, web: dict[str, Any]) -> None:
    bench.engine.prepare(bench.service(web))


def test_a_service_without_a_command_for_processes(process_bench: Any) -> None:
    assert "it has no x-vx11.process.command" in refusal(process_bench, {"image": "debian"})


@pytest.mark.parametrize("program", ["no-such-program", "./no-such-file", "/no/such/path"])
def test_a_program_that_is_not_there(process_bench: Any, program: str) -> None:
    said = refusal(process_bench, {"x-vx11": {"process": {"command": [program]}}})
    assert said == f"the program of it was not found: {program}"


def test_a_program_of_the_bundle_is_found(process_bench: Any) -> None:
    script = process_bench.bundle / "here.sh"
    script.write_text("#!/bin/sh\necho 'from the bundle'\nexec sleep 60\n", encoding="utf-8")
    script.chmod(0o755)
    started = process_bench.start(process_bench.service({"x-vx11": {"process": {"command": ["./here.sh"]}}}))
    process_bench.says(started, "from the bundle")


@pytest.mark.docker
def test_a_service_without_an_image_for_docker(docker_bench: Any) -> None:
    said = refusal(docker_bench, {"x-vx11": {"process": {"command": ["true"]}}})
    assert said == "it has neither image nor build, and the docker engine needs one of them"


@pytest.mark.docker
def test_an_image_that_cannot_be_pulled(docker_bench: Any) -> None:
    said = refusal(docker_bench, {"image": UNREACHABLE})
    assert f"the image {UNREACHABLE} of it cannot be had: " in said
    assert "connection refused" in said


@pytest.mark.docker
class TestBuild:
    """Images that are built from the bundle."""

    def test_a_failed_build_shows_its_last_lines(self, docker_bench: Any) -> None:
        entry = self.entry(docker_bench, "RUN echo a-clue-for-the-reader && exit 3")
        said = refusal(docker_bench, entry)
        assert said.startswith("the image of it was not built:\n")
        assert "a-clue-for-the-reader" in said
        assert re.search(r"code: 3|status 3", said)  # Docker, Podman

    def test_a_dockerfile_that_is_not_there(self, docker_bench: Any) -> None:
        entry = self.entry(docker_bench, "") | {"build": {"context": ".", "dockerfile": "Missing"}}
        said = refusal(docker_bench, entry)
        assert said.startswith("the image of it was not built:")
        assert "Missing" in said

    def test_a_context_that_is_not_there(self, docker_bench: Any) -> None:
        entry = self.entry(docker_bench, "") | {"build": "nowhere"}
        said = refusal(docker_bench, entry)
        assert said.startswith("the image of it was not built: ")
        assert "nowhere" in said

    def test_a_good_build_is_started_without_building_again(self, docker_bench: Any) -> None:
        entry = self.entry(docker_bench, "CMD echo 'built and run'; exec sleep 60")
        service = docker_bench.service(entry)
        try:
            docker_bench.engine.prepare(service)
            built = docker_bench.client.images.get(entry["image"]).id
            started = docker_bench.start(service)
            docker_bench.says(started, "built and run")
            docker_bench.remove(started)
            assert docker_bench.client.images.get(entry["image"]).id == built
        finally:
            docker_bench.client.images.remove(entry["image"], force=True)

    @pytest.mark.parametrize(
        ("instruction", "stated", "expected"),
        [
            ("STOPSIGNAL SIGQUIT", {}, "SIGQUIT"),
            ("STOPSIGNAL SIGRTMIN+3", {}, "SIGRTMIN+3"),
            ("STOPSIGNAL SIGQUIT", {"stop_signal": "SIGINT"}, "SIGINT"),
            ("", {}, "SIGTERM"),
        ],
    )
    def test_what_asks_it_to_end(
        self, docker_bench: Any, instruction: str, stated: dict[str, str], expected: str
    ) -> None:
        entry = self.entry(docker_bench, f"{instruction}\nCMD exec sleep 60") | stated
        try:
            running = docker_bench.start(docker_bench.service(entry)).running
            assert signals.number(running.stop_signal) == signals.number(expected)  # Podman tells numbers
        finally:
            docker_bench.clear()
            docker_bench.client.images.remove(entry["image"], force=True)

    @staticmethod
    def entry(bench: Any, instruction: str) -> dict[str, Any]:
        """An entry that builds on the image of the sample services."""
        dockerfile = bench.bundle / "Dockerfile"
        dockerfile.write_text(f"FROM vx11/e2e-services:0.1.0\n{instruction}\n", encoding="utf-8")
        return {"image": f"vx11/test-{uuid.uuid4().hex[:8]}:1", "build": "."}
