"""Production by Docker Compose: what may its containers do, and what becomes of a push if some of them die."""

import os
import signal
from collections.abc import Iterator

import pytest

from messages import MappingChecked, Message, PushCompleted, SyncResult
from tests.containers.clone import Clone, Failed, docker
from tests.containers.production import Production, lines_of, not_well, production
from tests.support.platform import Platform
from tests.support.waiting import wait_for

PARTNERS = tuple(f"p{number}" for number in range(1, 31))
COMPANIES = 100
LINES = len(PARTNERS) * COMPANIES
OURS = ("worker", "connectwise")
SERVERS = ("rabbitmq", "postgres")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Production]:
    """It runs and is healthy."""
    with production(tmp_path_factory.mktemp("production") / "clone", PARTNERS, COMPANIES) as installation:
        yield installation


def test_every_container_is_healthy_and_may_do_little(
    installation: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever breaks into a container is no root, writes no program, and has no capability."""
    clone = installation.clone
    assert not_well(clone) == []
    assert {one["Service"] for one in clone.services() if one["State"] == "running"} == {*OURS, *SERVERS}
    for service in (*OURS, *SERVERS):
        (container,) = clone.containers(service)
        assert container["HostConfig"]["ReadonlyRootfs"], service
        assert container["HostConfig"]["SecurityOpt"] == ["no-new-privileges:true"] or service == "connectwise"
        if service in OURS:
            assert container["Config"]["User"] == "10001:10001"
            assert container["HostConfig"]["CapDrop"] == ["ALL"]
            assert "CapEff:\t0000000000000000" in clone.compose("exec", "-T", service, "cat", "/proc/1/status")
            with pytest.raises(Failed, match="Read-only file system"):
                clone.compose("exec", "-T", service, "sh", "-c", "echo > /opt/phin-connectwise/x")
    size = int(docker("image", "inspect", "--format", "{{.Size}}", "phin-connectwise"))
    with capsys.disabled():
        print(f"\nimage: {size / 1e6:.0f} MB")  # noqa: T201


def test_a_push_outlives_a_killed_replica_and_one_that_is_restarted(
    installation: Production, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of 3,000 lines none is lost, none is written twice, and each of three replicas did a part."""
    clone = installation.clone
    clone.compose("up", "--detach", "--no-recreate", "--scale", "worker=3")
    wait_for(lambda: not not_well(clone), "three replicas", 120)
    with installation.platform() as platform:
        for partner in PARTNERS:
            platform.publish([installation.connected(partner), *installation.mapped(partner)])
        wait_for(lambda: _count(platform, MappingChecked) >= LINES, "the checks of all mappings", 600)
        platform.publish([installation.push(partner) for partner in PARTNERS])
        wait_for(lambda: min(_parts(clone)) > 0 and _done(platform) > LINES / 5, "each replica's first lines", 300)
        parts, killed_after = _parts(clone), _done(platform)
        killed, restarted, _ = clone.containers("worker")
        os.kill(killed["State"]["Pid"], signal.SIGKILL)
        wait_for(lambda: _done(platform) > LINES / 2, "half of the lines", 300)
        restarted_after = _done(platform)
        docker("restart", restarted["Id"])
        wait_for(lambda: _count(platform, PushCompleted) == len(PARTNERS), "all pushes", 600)
        wait_for(lambda: not not_well(clone), "three replicas again", 120)
        answers = platform.final_ids()
        statuses = {one.status for one in platform.received if isinstance(one, SyncResult)}
    assert max(killed_after, restarted_after) < LINES
    assert len(answers) == LINES
    assert {len(ids) for ids in answers.values()} == {1}
    assert statuses == {"updated"}
    quantities, times = installation.written()
    assert quantities == {(f"cw-{p}", 100_000 + n): n + 1 for p in PARTNERS for n in range(1, COMPANIES + 1)}
    assert set(times.values()) == {1}
    show = (
        f"killed after {killed_after}, when they had {parts}; restarted after {restarted_after}; {_parts(clone)} then"
    )
    with capsys.disabled():
        print(f"\nthree replicas: {LINES} lines, 0 lost, 0 doubled; {show}")  # noqa: T201


def _done(platform: Platform) -> int:
    return len(platform.final_ids())


def _count(platform: Platform, kind: type[Message]) -> int:
    return len({str(one.id) for one in list(platform.received) if isinstance(one, kind)})


def _parts(clone: Clone) -> list[int]:
    """The results that each replica has counted since it started."""
    return [lines_of(container) for container in clone.containers("worker")]
