// Seals a private key to each of the site URLs that it is given, and prints the box or the error of each.
import { seal } from "./seal.mjs";

const { SITE_URLS, SEAL_KEY, PRIVATE_KEY } = process.env;
for (const siteUrl of JSON.parse(SITE_URLS)) {
  const owner = { partnerId: "p1", companyIdentifier: "acme", publicKey: "public", siteUrl };
  try {
    console.log(JSON.stringify({ sealed: await seal(PRIVATE_KEY, owner, SEAL_KEY) }));
  } catch (error) {
    console.log(JSON.stringify({ error: error.message }));
  }
}
