// A platform of its own: with schemas and docs alone it connects, maps and pushes, and prints what it is answered.
import { randomUUID } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import amqp from "amqplib";
import { seal } from "./seal.mjs";

const { BROKER_URL, PREFIX, SCHEMAS, EXAMPLES, SEAL_KEY, SITE_URL, CA_FILE, COMPANY, PRIVATE_KEY } = process.env;
const partner_id = "p1";
const now = () => new Date().toISOString();
const ajv = addFormats(new Ajv({ strict: true, allErrors: true }));
const read = (path) => JSON.parse(readFileSync(path));
const jsonIn = (folder) => readdirSync(folder).filter((file) => file.endsWith(".json"));
const compiled = (file) => [file.slice(0, -".json".length), ajv.compile(read(`${SCHEMAS}/${file}`))];
const schemas = new Map(jsonIn(SCHEMAS).map(compiled));
const obeys = (message) => schemas.get(message.type)(message);
const examples = jsonIn(EXAMPLES).map((file) => [file, obeys(read(`${EXAMPLES}/${file}`))]);
console.log(JSON.stringify({ compiled: [...schemas.keys()], examples: Object.fromEntries(examples) }));

const connection = await amqp.connect(BROKER_URL);
const channel = await connection.createConfirmChannel();
const { queue } = await channel.assertQueue("", { exclusive: true });
await channel.bindQueue(queue, `${PREFIX}connectwise.sync`, "#");
const waiting = new Map();
await channel.consume(queue, ({ content, properties }) => {
  const answer = JSON.parse(content);
  const { type, correlation_id, status, problem, problems } = answer;
  console.log(JSON.stringify({
    type, correlation_id, status, property: properties.correlationId, obeys: obeys(answer),
    problem: (problem ?? problems?.[0])?.code ?? null,
  }));
  waiting.get(`${correlation_id} ${type}`)?.();
}, { noAck: true });

async function ask(type, content, answeredBy) {
  const correlation_id = `node-${randomUUID()}`;
  const envelope = { id: randomUUID(), type, time: now(), source: "node", partner_id, correlation_id };
  const message = { ...envelope, ...content };
  console.log(JSON.stringify({ asked: type, correlation_id, obeys: obeys(message) }));
  const answered = new Promise((resolve) => waiting.set(`${correlation_id} ${answeredBy}`, resolve));
  const named = { type, messageId: message.id, correlationId: correlation_id };
  const properties = { ...named, contentType: "application/json", persistent: true };
  channel.publish(`${PREFIX}phin.billing`, type, Buffer.from(JSON.stringify(message)), properties);
  await channel.waitForConfirms();
  await answered;
}

const site = { partnerId: partner_id, companyIdentifier: COMPANY, publicKey: "public", siteUrl: SITE_URL };
const half = { changed_at: now(), site_url: SITE_URL, company_identifier: COMPANY };
await ask("connection.changed.v1", half, "connection.checked.v1");
const keys = { public_key: "public", sealed_private_key: await seal(PRIVATE_KEY, site, SEAL_KEY) };
await ask("connection.changed.v1", { ...half, ...keys, ca_bundle: readFileSync(CA_FILE, "ascii") }, "connection.checked.v1");
const company = { company_id: "c1", company_name: "Company 1" };
const ids = { cw_company_id: 1, agreement_id: 1001, addition_id: 100001 };
await ask("mapping.changed.v1", { changed_at: now(), ...company, ...ids }, "mapping.checked.v1");
const period = { start: "2026-11-01", end: "2026-11-30" };
const lines = [{ ...company, billable_users: 5 }];
const push = { push_id: randomUUID(), period, requested_at: now(), requested_by: "ana", mode: "apply", lines };
await ask("push.requested.v1", push, "push.completed.v1");
await connection.close();
