// Opens each box of the sealing vectors, and seals anew what they say; prints the content, the box, or null if it is refused.
import { readFileSync } from "node:fs";
import sodium from "libsodium-wrappers";
import { seal } from "./seal.mjs";

const { seal_key, opening, making } = JSON.parse(readFileSync(process.argv[2]));
await sodium.ready;
const bytes = (text) => sodium.from_base64(text.split(":").at(-1), sodium.base64_variants.ORIGINAL);
const [publicKey, privateKey] = [bytes(seal_key.public), bytes(seal_key.private)];
for (const { message } of opening) {
  try {
    const box = bytes(message.sealed_private_key.box);
    console.log(JSON.stringify(sodium.crypto_box_seal_open(box, publicKey, privateKey, "text")));
  } catch {
    console.log("null");
  }
}
for (const { private_key, partner_id: partnerId, company_identifier: companyIdentifier, public_key, site_url } of making) {
  try {
    const owner = { partnerId, companyIdentifier, publicKey: public_key, siteUrl: site_url };
    console.log(JSON.stringify(await seal(private_key, owner, seal_key.public)));
  } catch (error) {
    console.log(JSON.stringify({ error: error.message }));
  }
}
