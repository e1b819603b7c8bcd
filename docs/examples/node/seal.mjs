import sodium from "libsodium-wrappers";

// sealKey is the public line of `phin-connectwise keys generate`, key_id:base64.
export async function seal(privateKey, { partnerId, companyIdentifier, publicKey, siteUrl }, sealKey) {
  await sodium.ready;
  const [keyId, key] = sealKey.split(":");
  const content = JSON.stringify({
    private_key: privateKey,
    public_key: publicKey,
    partner_id: partnerId,
    company_identifier: companyIdentifier,
    site_host: siteHost(siteUrl),
  });
  const box = sodium.crypto_box_seal(content, Buffer.from(key, "base64"));
  return { key_id: keyId, box: Buffer.from(box).toString("base64") };
}

// host[:port] of what was entered, a URL or a bare host: as it is written, in lower case.
function siteHost(siteUrl) {
  const text = siteUrl.replace(/^[\s\u200b\ufeff]+|[\s\u200b\ufeff]+$/g, "");
  const [host] = text.replace(/^[a-z][a-z0-9+.-]*:\/\//i, "").split(/[/?#]/);
  if (host.includes("@") || /[\s\\]/.test(text) || !URL.canParse(`https://${host}`)) {
    throw new Error("The ConnectWise URL is to be like https://na.myconnectwise.net, or na.myconnectwise.net");
  }
  return host.toLowerCase();
}
