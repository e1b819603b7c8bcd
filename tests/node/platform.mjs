// A platform with schemas and docs alone: by the docs' examples it connects, maps and pushes, and prints what it is answered.
import { readFileSync, readdirSync } from "node:fs";
import Ajv from "ajv/dist/2020.js";
import addFormats from "ajv-formats";
import amqp from "amqplib";
import { connectionChanged, event, mappingChanged, pushRequested } from "./events.mjs";
import { publish } from "./publish.mjs";

const { BROKER_URL, PREFIX, SCHEMAS, EXAMPLES, SEAL_KEY, SITE_URL, CA_FILE, COMPANY, PRIVATE_KEY } = process.env;
const partner = "p1";
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

async function ask(message, answeredBy) {
  const { type, correlation_id } = message;
  console.log(JSON.stringify({ asked: type, correlation_id, obeys: obeys(message) }));
  const answered = new Promise((resolve) => waiting.set(`${correlation_id} ${answeredBy}`, resolve));
  await publish(channel, message, PREFIX);
  await answered;
}

const site = { siteUrl: SITE_URL, companyIdentifier: COMPANY, publicKey: "public", privateKey: PRIVATE_KEY };
const caBundle = readFileSync(CA_FILE, "ascii");
const half = { changed_at: new Date().toISOString(), site_url: SITE_URL, company_identifier: COMPANY };
await ask(event("connection.changed.v1", partner, half), "connection.checked.v1");
await ask(await connectionChanged(partner, { ...site, caBundle }, SEAL_KEY), "connection.checked.v1");
const company = { companyId: "c1", companyName: "Company 1" };
const addition = { cwCompanyId: 1, agreementId: 1001, additionId: 100001 };
await ask(mappingChanged(partner, company, addition), "mapping.checked.v1");
await ask(pushRequested(partner, company, 5, "2026-11"), "push.completed.v1");
await connection.close();
