"""The platform's part in a run: partners, mappings and pushes, their order and number, all chosen by the seed.

Company n of a partner is at home on addition 100000+n; remappings send it to 200000+n, to a neighbour's addition, into
the sum of the last three companies, or nowhere. One partner more only sends the backlog.
"""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from messages import BillingPeriod, ConnectionChanged, MappingChanged, Message, PushLine, PushRequested, SealKey, seal
from tests.support.world import tenant

PUSHES = 3
PERSON = "ana@msp.example"
REMAPPED, DUPLICATED, OVERTAKES, OTHER_PERIOD = 0.12, 0.1, 0.3, 0.12
NOVEMBER, DECEMBER = BillingPeriod.parse("2026-11"), BillingPeriod.parse("2026-12")
SUM_OF = 3
BACKLOG_COMPANIES = 3


@dataclass(frozen=True)
class Size:
    """The extent of a run: partners, companies of each, the seconds in which everything is published, the backlog."""

    partners: int = 40
    companies: int = 50
    seconds: float = 170.0
    backlog: int = 400


@dataclass(frozen=True)
class Site:
    """The address of the partners' ConnectWise, the authority that it needs, and the key that seals for the worker."""

    url: str
    ca_bundle: str
    seal_key: SealKey


@dataclass(frozen=True)
class Turn:
    """The messages that one partner's coordinator sends at one moment, in this order."""

    at: float
    messages: tuple[Message, ...]


@dataclass
class Partner:
    """One partner as the platform knows it: the newest mapping of each company."""

    name: str
    private_key: str
    companies: int
    connected_at: datetime | None = None
    mapped: dict[int, MappingChanged] = field(default_factory=dict)
    pushed: list[PushRequested] = field(default_factory=list)


class Scenario:
    """The partners of a run, and their turns in order of time. `marker` is in every private key."""

    def __init__(self, seed: int, size: Size) -> None:
        self._random = random.Random(f"{seed} scenario")
        self._size = size
        self._last = datetime.min.replace(tzinfo=UTC)
        self.marker = f"sEcret/{self._random.randbytes(9).hex()}+="
        self.partners = [
            Partner(f"msp-{number}", f"{self.marker}{number}", size.companies) for number in range(1, size.partners + 1)
        ]
        self._flooding = Partner("msp-backlog", f"{self.marker}backlog", BACKLOG_COMPANIES)

    def state(self) -> dict[str, Any]:
        """The state document of the simulated ConnectWise."""
        partners = [*self.partners, self._flooding]
        return {"tenants": [tenant(one.name, one.companies, private_key=one.private_key) for one in partners]}

    def backlog(self, site: Site) -> tuple[list[Message], list[PushRequested]]:
        """The backlog's partner: its events, and the pushes that it asked for and that are deferred."""
        partner = self._flooding
        mapped = [self._map(partner, n, n) for n in range(1, partner.companies + 1)]
        return [self._connected(partner, site), *mapped], [self._push(partner) for _ in range(self._size.backlog)]

    def turns(self, site: Site) -> Iterator[Turn]:
        """The turns; take each when its time has come, since its messages carry the time of making them."""
        third = self._size.seconds / PUSHES
        times = sorted(
            (number * third + self._random.uniform(0, third), index, number)
            for index in range(len(self.partners))
            for number in range(PUSHES)
        )
        for at, index, number in times:
            partner = self.partners[index]
            told = self._remapped(partner) if number else [self._connected(partner, site), *self._mapped(partner)]
            older = list(partner.pushed)
            yield Turn(at, tuple(self._disordered([*told, self._push(partner)], older)))

    # --- messages, each later than all before it

    def _now(self) -> datetime:
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last

    def _connected(self, partner: Partner, site: Site) -> ConnectionChanged:
        company_identifier = f"cw-{partner.name}"
        partner.connected_at = self._now()
        return ConnectionChanged(
            partner_id=partner.name,
            correlation_id="chaos",
            changed_at=partner.connected_at,
            site_url=site.url,
            company_identifier=company_identifier,
            public_key="public",
            sealed_private_key=seal(
                partner.private_key,
                public_key="public",
                partner_id=partner.name,
                company_identifier=company_identifier,
                site_url=site.url,
                seal_key=site.seal_key,
            ),
            ca_bundle=site.ca_bundle,
        )

    def _mapped(self, partner: Partner) -> list[MappingChanged]:
        summed = range(partner.companies - SUM_OF + 1, partner.companies + 1)
        return [
            self._map(partner, n, summed[0] if n in summed else n, rule="sum" if n in summed else "refuse")
            for n in range(1, partner.companies + 1)
        ]

    def _remapped(self, partner: Partner) -> list[Message]:
        told: list[Message] = []
        for n in range(1, partner.companies - SUM_OF):
            if self._random.random() < REMAPPED:
                told += self._remap(partner, n)
        return told

    def _remap(self, partner: Partner, n: int) -> list[MappingChanged]:
        match self._random.choice(("other", "other", "home", "neighbour", "sum", "nowhere")):
            case "other":
                return [self._map(partner, n, n, base=200_000)]
            case "neighbour":
                return [self._map(partner, n, n + 1), self._map(partner, n + 1, n)]
            case "sum":
                return [self._map(partner, n, partner.companies - SUM_OF + 1, rule="sum")]
            case "nowhere":
                return [self._map(partner, n, None)]
            case _:
                return [self._map(partner, n, n)]

    def _map(
        self, partner: Partner, n: int, home: int | None, *, base: int = 100_000, rule: str = "refuse"
    ) -> MappingChanged:
        mapping = MappingChanged(
            partner_id=partner.name,
            correlation_id="chaos",
            changed_at=self._now(),
            company_id=f"c{n}",
            company_name=f"Company {n}",
            cw_company_id=home,
            agreement_id=None if home is None else 1000 + home,
            addition_id=None if home is None else base + home,
            rule="sum" if rule == "sum" else "refuse",
        )
        partner.mapped[n] = mapping
        return mapping

    def _push(self, partner: Partner) -> PushRequested:
        push_id = uuid.UUID(int=self._random.getrandbits(128), version=4)
        push = PushRequested(
            partner_id=partner.name,
            correlation_id="chaos",
            traceparent=f"00-{push_id.hex}-{push_id.hex[:16]}-01",
            push_id=str(push_id),
            period=DECEMBER if self._random.random() < OTHER_PERIOD else NOVEMBER,
            requested_at=self._now(),
            requested_by=PERSON,
            mode="apply",
            connection_changed_at=partner.connected_at,
            lines=tuple(
                PushLine(
                    company_id=f"c{n}",
                    company_name=f"Company {n}",
                    billable_users=self._random.randrange(300),
                    mapping_changed_at=mapping.changed_at,
                )
                for n, mapping in sorted(partner.mapped.items())
            ),
        )
        partner.pushed.append(push)
        return push

    def _disordered(self, told: list[Message], older: list[PushRequested]) -> list[Message]:
        """Let some messages overtake others, and some come twice; a push of before may come again too."""
        sent = list(told)
        if self._random.random() < OVERTAKES:
            self._random.shuffle(sent)
        again = [message for message in told if self._random.random() < DUPLICATED]
        if older and self._random.random() < OVERTAKES:
            again.append(self._random.choice(older))
        for message in again:
            sent.insert(self._random.randrange(len(sent) + 1), message)
        return sent
