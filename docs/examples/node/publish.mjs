import { setTimeout } from "node:timers/promises";

// The broker has not got the message. After any other error of `publish` that is not known: the same message, with the
// same id, may be published again.
export class NotPublished extends Error {}

// Returns once the broker has the message. `channel` is a confirm channel, `prefix` the worker's QUEUE_PREFIX.
export async function publish(channel, message, prefix = "") {
  const properties = {
    messageId: message.id,
    type: message.type,
    correlationId: message.correlation_id,
    contentType: "application/json",
    persistent: true,
    mandatory: true, // else a message that no queue takes is lost unseen
  };
  const body = Buffer.from(JSON.stringify(message));
  const problems = [];
  const refused = (error) => problems.push(error.message); // no such exchange, or not allowed
  const returned = ({ properties: { messageId } }) => { // comes before the confirm
    if (messageId === message.id) problems.push(`no queue takes ${message.type}: deploy the worker`);
  };
  channel.on("error", refused).on("return", returned);
  try {
    const confirmed = new Promise((resolve, reject) => {
      const settle = (error) => (error ? reject(error) : resolve());
      channel.publish(`${prefix}phin.billing`, message.type, body, properties, settle);
    });
    const late = setTimeout(30_000, undefined, { ref: false }).then(() => {
      throw new Error("the broker did not answer in 30 s");
    });
    await Promise.race([confirmed, late]);
  } catch (error) {
    if (error.message === "message nacked") problems.push("the broker refused the message: a queue is full");
    if (problems.length === 0) throw error;
  } finally {
    channel.off("error", refused).off("return", returned);
  }
  if (problems.length > 0) throw new NotPublished(problems.join("; "));
}
