import { setTimeout } from "node:timers/promises";

// Returns once the broker has the message. After any other error than this one the outcome is unknown: the same message,
// with the same id, may be published again.
export class NotPublished extends Error {}

// `channel` is a confirm channel, `prefix` the worker's QUEUE_PREFIX.
export async function publish(channel, message, prefix = "") {
  const unroutable = new Set();
  const noted = ({ properties }) => unroutable.add(properties.messageId);
  channel.on("return", noted); // comes before the confirm
  const properties = {
    messageId: message.id,
    type: message.type,
    correlationId: message.correlation_id,
    contentType: "application/json",
    persistent: true,
    mandatory: true, // else a message that no queue takes is lost unseen
  };
  const body = Buffer.from(JSON.stringify(message));
  const confirmed = new Promise((resolve, reject) => {
    channel.once("error", (error) => reject(new NotPublished(error.message))); // no such exchange
    channel.publish(`${prefix}phin.billing`, message.type, body, properties, (refused) => {
      refused ? reject(new NotPublished(`the broker refused the message: ${refused.message}`)) : resolve();
    });
  });
  const late = setTimeout(30_000, undefined, { ref: false }).then(() => {
    throw new Error("the broker did not answer in 30 s");
  });
  try {
    await Promise.race([confirmed, late]);
  } finally {
    channel.off("return", noted);
  }
  if (unroutable.has(message.id)) throw new NotPublished(`no queue takes ${message.type}: deploy the worker`);
}
