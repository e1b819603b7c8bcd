"""The pages' own: sessions, and what the portal keeps until a worker has it."""

from sqlalchemy import (
    CheckConstraint,
    Column,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
)

from store.schema.columns import key, metadata, time

# The pages' own. `credential`: a fingerprint of the hash of the password that began the session.
web_sessions = Table(
    "web_sessions",
    metadata,
    Column("session_id", String(64)),
    Column("user_name", String(128), nullable=False),
    Column("credential", String(64), nullable=False),
    time("created_at"),
    time("seen_at"),
    PrimaryKeyConstraint("session_id"),
    Index("ix_web_sessions_user_name", "user_name"),
)

# The portal's own: the billable users of a period, as its files named them last. No worker reads them.
portal_counts = Table(
    "portal_counts",
    metadata,
    key("partner_id"),
    Column("period_key", String(32), nullable=False),
    key("company_id"),
    Column("company_name", String(256), nullable=False),
    Column("billable_users", Integer, nullable=False),
    time("imported_at"),
    Column("imported_by", String(256), nullable=False),
    PrimaryKeyConstraint("partner_id", "period_key", "company_id"),
    CheckConstraint("billable_users BETWEEN 0 AND 1000000", name="billable_users"),
)

# The portal's own: what was chosen for a company last, as its event was sent, with the names that the user saw. It is
# shown until `mappings` has that version and its check.
portal_choices = Table(
    "portal_choices",
    metadata,
    key("partner_id"),
    key("company_id"),
    time("changed_at"),
    Column("event_json", Text, nullable=False),
    Column("names_json", Text, nullable=False),
    PrimaryKeyConstraint("partner_id", "company_id"),
)

# The portal's own: the questions for suggestions that a partner has asked last.
portal_questions = Table(
    "portal_questions",
    metadata,
    key("partner_id"),
    key("message_id"),
    time("asked_at", nullable=True),
    PrimaryKeyConstraint("partner_id", "message_id"),
)

# The portal's own: when it has sent a connection last, so that a push that follows waits for it.
portal_connections = Table(
    "portal_connections",
    metadata,
    key("partner_id"),
    time("changed_at"),
    PrimaryKeyConstraint("partner_id"),
)

# The portal's own: the events that its forms have sent, until a worker has had them for a day. A form that is sent
# twice sends the same event.
portal_requests = Table(
    "portal_requests",
    metadata,
    key("partner_id"),
    key("request_id"),
    Column("event_json", Text, nullable=False),
    time("sent_at"),
    PrimaryKeyConstraint("partner_id", "request_id"),
    Index("ix_portal_requests_sent_at", "sent_at"),
)
