// Reads an AsyncAPI document with the published parser, and prints what it finds wrong and what it understands.
import { fromFile, Parser } from "@asyncapi/parser";

const { document, diagnostics } = await fromFile(new Parser(), process.argv[2]).parse();
const found = diagnostics.map(({ code, message, path }) => `${path.join("/")}: ${code}: ${message}`);
const operations = document?.operations().all().map((operation) => [operation.id(), {
  action: operation.action(),
  messages: operation.messages().all().map((message) => message.name()),
  answers: operation.reply()?.messages().all().map((message) => message.name()) ?? [],
  fields: operation.messages().all().flatMap((message) => Object.keys(message.payload().properties())),
}]);
console.log(JSON.stringify({ found, operations: Object.fromEntries(operations ?? []) }));
