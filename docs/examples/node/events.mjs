// The events that a platform publishes, as docs/messages.md and the schemas have them.
import { randomUUID } from "node:crypto";
import { seal } from "./seal.mjs";

const now = () => new Date().toISOString();

// The envelope of every message. Every answer carries the correlation_id.
export function event(type, partner_id, content) {
  return { id: randomUUID(), type, time: now(), source: "portal", partner_id, correlation_id: randomUUID(), ...content };
}

// The box belongs to this partner and connection, so it is sealed to the very texts that the message has.
export async function connectionChanged(partnerId, { siteUrl, companyIdentifier, publicKey, privateKey, caBundle }, sealKey) {
  const owner = { partnerId, companyIdentifier, publicKey, siteUrl };
  return event("connection.changed.v1", partnerId, {
    changed_at: now(),
    site_url: siteUrl,
    company_identifier: companyIdentifier,
    public_key: publicKey,
    sealed_private_key: await seal(privateKey, owner, sealKey),
    ca_bundle: caBundle ?? null,
  });
}

export function mappingChanged(partnerId, { companyId, companyName }, { cwCompanyId, agreementId, additionId }) {
  return event("mapping.changed.v1", partnerId, {
    changed_at: now(),
    company_id: companyId,
    company_name: companyName,
    cw_company_id: cwCompanyId,
    agreement_id: agreementId,
    addition_id: additionId,
  });
}

// A push of one company; a real one has a line for each company of the partner.
export function pushRequested(partnerId, { companyId, companyName }, users, month) {
  const [year, number] = month.split("-").map(Number);
  const end = new Date(Date.UTC(year, number, 0)).toISOString().slice(0, "2026-11-30".length);
  return event("push.requested.v1", partnerId, {
    push_id: randomUUID(),
    mode: "apply",
    period: { start: `${month}-01`, end },
    requested_at: now(),
    requested_by: "ana@msp-1.example",
    lines: [{ company_id: companyId, company_name: companyName, billable_users: users }],
  });
}
