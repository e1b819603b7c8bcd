// Prints the worker's answers from the broker of BROKER_URL, until Ctrl-C: node results_consumer.mjs
// RESULTS_QUEUE is the worker's, behind its QUEUE_PREFIX: a durable queue, which keeps what comes while nobody reads.
import amqp from "amqplib";

const { BROKER_URL, RESULTS_QUEUE = "phin.connectwise-results.v1" } = process.env;

const seen = new Set(); // a platform keeps them in its database, in the transaction that keeps the result

// Shows a message once: one that comes again has the same id.
function take(message) {
  if (seen.has(message.id)) return;
  seen.add(message.id);
  const { type, push_id, company_id, status, problem, totals } = message;
  switch (type) {
    case "sync.result.v1":
      return console.log(push_id, company_id, problem ? `${status}: ${problem.title}. ${problem.fix}` : status);
    case "push.completed.v1":
      return console.log(push_id, status, `${totals.written.companies} of ${totals.imported.companies} written`);
    case "connection.checked.v1":
    case "mapping.checked.v1":
      return console.log(type, status);
  }
}

const connection = await amqp.connect(BROKER_URL);
const channel = await connection.createChannel();
await channel.prefetch(100);
await channel.consume(RESULTS_QUEUE, (delivery) => {
  if (delivery === null) throw new Error(`${RESULTS_QUEUE} was deleted`);
  take(JSON.parse(delivery.content)); // what throws here ends the program, and the message comes again
  channel.ack(delivery); // only what is kept
});
process.once("SIGINT", () => connection.close());
