"""The production profile of a clone, with generated secrets, beside a simulated ConnectWise in its network."""

import json
import re
import shutil
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from prometheus_client.parser import text_string_to_metric_families

from messages import BillingPeriod, ConnectionChanged, KeyRing, MappingChanged, PushLine, PushRequested, seal
from messages.values import MAX_COUNT
from tests.containers.clone import STARTS_WITHIN, Clone, fresh_clone
from tests.support.own_servers.places import free_port
from tests.support.platform import Platform
from tests.support.waiting import wait_for
from tests.support.world import tenant

BESIDE = Path(__file__).with_name("compose.yml")
SITE = "https://connectwise:8443"
PERIOD = BillingPeriod.parse("2026-11")
ADDITION = re.compile(r"/additions/(\d+)$")
PRIVATE_KEY = "private-key-of-the-test"


@dataclass
class Production:
    """It runs; `partners` have so many `companies` each, which are neither connected nor mapped yet."""

    clone: Clone
    partners: Sequence[str]
    companies: int
    rabbitmq_port: int

    @contextmanager
    def platform(self) -> Iterator[Platform]:
        """The platform, as RabbitMQ's user `platform`."""
        password = (self.clone.folder / "secrets" / "platform-password").read_text("utf-8")
        url = f"amqp://platform:{password}@127.0.0.1:{self.rabbitmq_port}/"
        with Platform(url, "phin.connectwise-results.v1") as platform:
            yield platform

    def connected(self, partner: str) -> ConnectionChanged:
        """A connection.changed of now."""
        seal_keys = (self.clone.folder / "secrets" / "seal-keys").read_text("utf-8").strip()
        box = seal(
            PRIVATE_KEY,
            public_key="public",
            partner_id=partner,
            company_identifier=f"cw-{partner}",
            site_url=SITE,
            seal_key=KeyRing.parse(seal_keys).seal_key,
        )
        return ConnectionChanged(
            partner_id=partner,
            correlation_id="test",
            changed_at=datetime.now(UTC),
            site_url=SITE,
            company_identifier=f"cw-{partner}",
            public_key="public",
            sealed_private_key=box,
            ca_bundle=self.clone.compose("exec", "-T", "connectwise", "cat", "tls/ca.pem"),
        )

    def mapped(self, partner: str) -> list[MappingChanged]:
        """A mapping.changed of now for each company."""
        return [
            MappingChanged(
                partner_id=partner,
                correlation_id="test",
                changed_at=datetime.now(UTC),
                company_id=f"c{number}",
                company_name=f"Company {number}",
                cw_company_id=number,
                agreement_id=1000 + number,
                addition_id=100_000 + number,
            )
            for number in range(1, self.companies + 1)
        ]

    def push(self, partner: str) -> PushRequested:
        """A push.requested of now: company n gets n + 1 users."""
        return PushRequested(
            partner_id=partner,
            correlation_id="test",
            push_id=str(uuid4()),
            period=PERIOD,
            requested_at=datetime.now(UTC),
            requested_by="ana@msp.example",
            mode="apply",
            lines=tuple(
                PushLine(company_id=f"c{number}", company_name=f"Company {number}", billable_users=number + 1)
                for number in range(1, self.companies + 1)
            ),
        )

    def written(self) -> tuple[dict[tuple[str, int], float], Counter[tuple[str, int]]]:
        """(last quantity, number of PATCH requests that were applied) of each addition that ConnectWise saw one for."""
        quantities: dict[tuple[str, int], float] = {}
        times: Counter[tuple[str, int]] = Counter()
        for line in self.clone.compose("exec", "-T", "connectwise", "cat", "requests.jsonl").splitlines():
            request = json.loads(line)
            found = ADDITION.search(request["path"])
            if found and request["method"] == "PATCH" and request["quantity_after"] is not None:
                key = request["tenant"], int(found[1])
                quantities[key] = request["quantity_after"]
                times[key] += 1
        return quantities, times


@contextmanager
def production(folder: Path, partners: Sequence[str], companies: int) -> Iterator[Production]:
    """Build, make secrets and settings, and start, as docs/containers.md says."""
    with fresh_clone(folder, "production", BESIDE.name) as clone:
        shutil.copy(BESIDE, clone.folder)
        state = {"tenants": [tenant(partner, companies) for partner in partners]}
        (clone.folder / "state.json").write_text(json.dumps(state), "utf-8")
        ports = {name: free_port() for name in ("RABBITMQ_PORT", "RABBITMQ_MANAGEMENT_PORT", "POSTGRES_PORT")}
        _settings(clone.folder / ".env", ports)
        subprocess.run(["docker", "build", "--tag", "phin-connectwise", "."], cwd=clone.folder, check=True)
        subprocess.run(["deploy/make-secrets.sh"], cwd=clone.folder, check=True)
        clone.compose("up", "--detach", within=STARTS_WITHIN)
        wait_for(lambda: not not_well(clone), "all services to be healthy", STARTS_WITHIN)
        yield Production(clone, partners, companies, ports["RABBITMQ_PORT"])


def not_well(clone: Clone) -> list[str]:
    """The services that run and are not healthy, or have ended with an error."""
    return [
        f"{one['Service']}: {one['State']} {one['Health']} {one['ExitCode']}"
        for one in clone.services()
        if not (one["State"] == "running" and one["Health"] == "healthy")
        and not (one["State"] == "exited" and one["ExitCode"] == 0)
    ]


def lines_of(container: dict[str, Any]) -> int:
    """The final results that the worker in this container has counted since it started; 0 if it does not answer."""
    (network,) = container["NetworkSettings"]["Networks"].values()
    try:
        with urllib.request.urlopen(f"http://{network['IPAddress']}:9464/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return 0
    return sum(
        int(sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "phin_connectwise_lines_total" and sample.labels["status"] != "retrying"
    )


def _settings(file: Path, ports: dict[str, int]) -> None:
    example = (file.parent / "deploy" / "env.example").read_text("utf-8")
    text = example.replace("CLIENT_ID=\n", "CLIENT_ID=00000000-0000-0000-0000-000000000001\n")
    more = {"PHIN_CONNECTWISE_ALLOW_PRIVATE_HOSTS": "connectwise", "PHIN_CONNECTWISE_BIG_JUMP_COUNT": MAX_COUNT}
    more |= ports
    file.write_text(text + "".join(f"{name}={value}\n" for name, value in more.items()), "utf-8")
