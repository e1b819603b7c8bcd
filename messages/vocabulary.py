"""The words of the contract: the values that its fields hold, each with an example and, of a number, its unit."""

from typing import Annotated

from messages.values import (
    Code,
    CorrelationId,
    Count,
    CwId,
    Day,
    Id,
    Name,
    Quantity,
    TraceParent,
    UtcTime,
    Uuid,
    Version,
    Words,
)

# --- the envelope
MessageId = Annotated[Uuid, Words.like("0197a2f4-7c00-7abc-8def-0123456789ab")]
SentAt = Annotated[UtcTime, Words.like("2026-11-22T10:00:00Z")]
Source = Annotated[Name, Words.like("phin")]
PartnerId = Annotated[Id, Words.like("msp-1")]
Correlation = Annotated[CorrelationId, Words.like("click-4711")]
Causation = Annotated[Id, Words.like("0197a2f4-7c00-7abc-8def-0123456789ab")]
Trace = Annotated[TraceParent, Words.like("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]

# --- Phin's side
CompanyId = Annotated[Id, Words.like("c-17")]
CompanyName = Annotated[Name, Words.like("Acme Dental")]
PersonName = Annotated[Name, Words.like("ana@msp-1.example")]
PushId = Annotated[Id, Words.like("p-1")]
RevertId = Annotated[Id, Words.like("r-1")]
Changed = Annotated[Version, Words.like("2026-11-22T10:00:00Z")]
FirstDay = Annotated[Day, Words.like("2026-11-01")]
LastDay = Annotated[Day, Words.like("2026-11-30")]

# --- ConnectWise's side
CwCompanyId = Annotated[CwId, Words.like(250)]
AgreementId = Annotated[CwId, Words.like(7)]
AdditionId = Annotated[CwId, Words.like(11)]
CwCompanyName = Annotated[Name, Words.like("Acme Dental, Inc.")]
AgreementName = Annotated[Name, Words.like("Managed Services")]
AdditionName = Annotated[Name, Words.like("Security awareness training")]
Product = Annotated[Name, Words.like("PHIN-SAT")]
ProductId = Annotated[CwId, Words.like(5)]

# --- numbers
Users = Annotated[Count, Words.like(42, "users")]
Companies = Annotated[Count, Words.like(1, "companies")]
Lines = Annotated[Count, Words.like(1, "lines")]
Attempts = Annotated[Count, Words.like(1, "attempts")]
Units = Annotated[Quantity, Words.like(42, "units of the addition, which are users")]
Money = Annotated[Quantity, Words.like(62.5, "the currency of the agreement")]

# --- words
Reason = Annotated[Code, Words.like("big_jump")]
At = Annotated[UtcTime, Words.like("2026-11-22T10:00:00Z")]
