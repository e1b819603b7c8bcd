// Publishes one event to the broker of BROKER_URL, and prints its id, of a push its push id:
//   node publisher.mjs connection msp-1 https://na.myconnectwise.net acmemsp PublicKey SEAL_KEY [ca.pem] < private-key
//   node publisher.mjs mapping msp-1 c-17 Acme 250 1001 100001
//   node publisher.mjs push msp-1 c-17 Acme 42 2026-11
// SEAL_KEY is the public line of `phin-connectwise keys generate`. QUEUE_PREFIX is the worker's.
import { readFileSync } from "node:fs";
import amqp from "amqplib";
import { connectionChanged, mappingChanged, pushRequested } from "./events.mjs";
import { NotPublished, publish } from "./publish.mjs";

const STANDARD_INPUT = 0;

const made = {
  connection: (partner, siteUrl, companyIdentifier, publicKey, sealKey, caFile) => {
    const privateKey = readFileSync(STANDARD_INPUT, "utf8").replace(/\r?\n$/, "");
    const caBundle = caFile && readFileSync(caFile, "ascii");
    return connectionChanged(partner, { siteUrl, companyIdentifier, publicKey, privateKey, caBundle }, sealKey);
  },
  mapping: (partner, companyId, companyName, ...ids) => {
    const [cwCompanyId, agreementId, additionId] = ids.map(Number);
    return mappingChanged(partner, { companyId, companyName }, { cwCompanyId, agreementId, additionId });
  },
  push: (partner, companyId, companyName, users, month) =>
    pushRequested(partner, { companyId, companyName }, Number(users), month),
};

const [kind, ...values] = process.argv.slice(2);
const message = await made[kind](...values);
try {
  // amqplib before 0.10.7 asks for smaller frames than RabbitMQ 4.1 allows.
  const connection = await amqp.connect(process.env.BROKER_URL);
  connection.on("error", () => {}); // publish tells of it
  await publish(await connection.createConfirmChannel(), message, process.env.QUEUE_PREFIX);
  await connection.close();
  console.log(message.push_id ?? message.id);
} catch (error) {
  console.error(error instanceof NotPublished ? `Not published: ${error.message}` : `Try again later: ${error.message}`);
  process.exit(1);
}
