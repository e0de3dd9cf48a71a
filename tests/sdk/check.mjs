// The gateway accepts requests that the Node.js SDKs sign, and they accept requests that it signs. One line a case: SDK, direction, case, verdict.
import { execFileSync } from "node:child_process";
import { createHash, randomUUID } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const [hookgate, gate, admin, directory] = process.argv.slice(2);
// The packages stand where they were installed, not beside this file.
const installed = createRequire(`${process.env.SDK_MODULES}/package.json`);
const { Webhooks } = await import(installed.resolve("@octokit/webhooks"));
const Stripe = installed("stripe");
const standard = installed("standardwebhooks");
const svix = installed("svix");

const stripe = new (Stripe.default ?? Stripe)("sk_test_unused");
// Older than any of the SDKs takes, in seconds.
const AGE = 900;
let wrong = 0;

function tell(sdk, direction, what, got, due) {
  wrong += got !== due;
  console.log(`  ${got === due ? "✓" : "✕"} ${sdk.padEnd(28)} ${direction.padEnd(13)} ${what.padEnd(10)} ${got}${got === due ? "" : `, not ${due}`}`);
}

const secretOf = (name) => readFileSync(`${directory}/secrets/${name}`, "utf8");
const bodyOf = () =>
  JSON.stringify({ id: `evt_${randomUUID()}`, object: "event", type: "ping", timestamp: new Date().toISOString(), data: { text: "grüße 💡" } });

async function post(name, headers, body) {
  const answer = await fetch(`${gate}/${name}`, {
    method: "POST", body, headers: { "Content-Type": "application/json", ...headers }, signal: AbortSignal.timeout(10_000),
  });
  return answer.status;
}

function signedByHookgate(name, body, secret = name, more = []) {
  const file = `${directory}/body.json`;
  writeFileSync(file, body);
  const made = execFileSync(hookgate, ["sign", "--provider", name, "--secret-file", `${directory}/secrets/${secret}`, "--body", file, "--url", `${gate}/${name}`, "--json", ...more], { timeout: 30_000 });
  return Object.fromEntries(JSON.parse(made).headers.map(([key, value]) => [key.toLowerCase(), value]));
}

// Headers and body as the app got them at the second try; as number 2 at the replay.
async function afterTheQueue(path, body, number = 1) {
  const file = `${directory}/late/${createHash("sha256").update(`/${path}\n${body}`).digest("hex")}.${number}.json`;
  const deadline = Date.now() + 20_000;
  while (!existsSync(file)) {
    if (Date.now() > deadline) throw new Error(`nothing came of ${path}`);
    await new Promise((later) => setTimeout(later, 20));
  }
  const kept = JSON.parse(readFileSync(file, "utf8"));
  return [kept.headers, Buffer.from(kept.body, "base64").toString()];
}

// The admin API sets a delivery going again that was handed on; it says no until the last try is settled.
async function replayed(id) {
  const deadline = Date.now() + 20_000;
  for (;;) {
    const answer = await fetch(`${admin}/-/deliveries/${encodeURIComponent(id)}/replay`, {
      method: "POST", body: JSON.stringify({ reason: "the SDK shall take it again", include_delivered: true }), signal: AbortSignal.timeout(10_000),
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${secretOf("admin")}` },
    });
    if (answer.status !== 409 || Date.now() > deadline) return answer.status;
    await new Promise((later) => setTimeout(later, 50));
  }
}

async function accepts(check) {
  try {
    return (await check()) === false ? "refused" : "accepted";
  } catch (error) {
    return /signature|verif/i.test(`${error.name} ${error.type} ${error.message}`) ? "refused" : String(error);
  }
}

function standardWebhooks(prefix, Webhook) {
  return {
    sign(secret, body, age = 0) {
      const [id, now] = [`msg_${randomUUID()}`, new Date(Date.now() - age * 1000)];
      return { [`${prefix}-Id`]: id, [`${prefix}-Timestamp`]: String(Math.floor(now / 1000)), [`${prefix}-Signature`]: new Webhook(secret).sign(id, now, body) };
    },
    verify: (secret, headers, body) => new Webhook(secret).verify(body, headers),
  };
}

const sdks = {
  "@octokit/webhooks": {
    name: "github",
    sign: async (secret, body) => ({ "X-GitHub-Delivery": randomUUID(), "X-Hub-Signature-256": await new Webhooks({ secret }).sign(body) }),
    verify: (secret, headers, body) => new Webhooks({ secret }).verify(body, headers["x-hub-signature-256"]),
  },
  stripe: {
    name: "stripe",
    sign: (secret, payload, age = 0) => {
      const timestamp = Math.floor(Date.now() / 1000) - age;
      return { "Stripe-Signature": stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp }) };
    },
    verify: (secret, headers, body) => stripe.webhooks.constructEvent(body, headers["stripe-signature"], secret),
  },
  standardwebhooks: { name: "standard-webhooks", ...standardWebhooks("Webhook", standard.Webhook) },
  svix: { name: "svix", ...standardWebhooks("Svix", svix.Webhook) },
};

for (const [key, { name, sign, verify }] of Object.entries(sdks)) {
  const [secret, sdk] = [secretOf(name), `${key} (Node.js)`];
  let body = bodyOf();
  let headers = await sign(secret, body);
  tell(sdk, "signs", "as it is", await post(name, headers, body), 200);
  tell(sdk, "signs", "tampered", await post(name, headers, body.replace("ping", "pong")), 401);
  body = bodyOf();
  headers = signedByHookgate(name, body);
  tell(sdk, "verifies ours", "as it is", await accepts(() => verify(secret, headers, body)), "accepted");
  tell(sdk, "verifies ours", "tampered", await accepts(() => verify(secret, headers, body.replace("ping", "pong"))), "refused");
  body = bodyOf();
  headers = await sign(secret, body, AGE);
  const lower = Object.fromEntries(Object.entries(headers).map(([key, value]) => [key.toLowerCase(), value]));
  // GitHub signs no time
  tell(sdk, "15 min later", "as it came", await accepts(() => verify(secret, lower, body)), name === "github" ? "accepted" : "refused");
  tell(sdk, "15 min later", "queued", await post(`late/${name}`, headers, body), 200);
  const [anew, handedOn] = await afterTheQueue(`late/${name}`, body);
  tell(sdk, "15 min later", "anew", await accepts(() => verify(secret, anew, handedOn)), "accepted");
  tell(sdk, "15 min later", "same body", handedOn === body, true);
  tell(sdk, "15 min later", "tampered", await accepts(() => verify(secret, anew, handedOn.replace("ping", "pong"))), "refused");
  tell(sdk, "a replay", "asked for", await replayed(anew["hookgate-delivery-id"]), 200);
  const [again, same] = await afterTheQueue(`late/${name}`, body, 2);
  tell(sdk, "a replay", "anew", await accepts(() => verify(secret, again, same)), "accepted");
}

const body = bodyOf();
tell("stripe (Node.js)", "to be signed", "queued", await post("late/own", sdks.stripe.sign(secretOf("stripe"), body, AGE), body), 200);
const [own, handedOn] = await afterTheQueue("late/own", body);
for (const key of ["standardwebhooks", "svix"]) {
  const check = (body) => accepts(() => sdks[key].verify(secretOf("own"), own, body));
  tell(`${key} (Node.js)`, "gate's own", "as it is", await check(handedOn), "accepted");
  tell(`${key} (Node.js)`, "gate's own", "tampered", await check(handedOn.replace("ping", "pong")), "refused");
}

// The headers of an event for the customers of a sender, with a signature by each of these secrets.
function sent(secrets, body, age = 0) {
  const more = ["--id", "msg_01936f0c4e7a7d1e9b1f6a2c8d4e0b57", "--now", String(Math.floor(Date.now() / 1000) - age)];
  const made = secrets.map((secret) => signedByHookgate("standard-webhooks", body, secret, more));
  return { ...made[0], "webhook-signature": made.map((headers) => headers["webhook-signature"]).join(" ") };
}

// The code of the page that these customers get, as a function.
async function codeOfThePage() {
  const section = readFileSync("docs/for-your-customers.md", "utf8").split("## Verify with a library")[1];
  const code = section.split("```js\n")[1].split("```")[0].replace("const event =", "export const verify = (secret, headers, body) =>");
  const file = `${process.env.SDK_MODULES}/page.mjs`;
  writeFileSync(file, code);
  return (await import(file)).verify;
}

for (const [sdk, verify] of [["standardwebhooks (Node.js)", sdks.standardwebhooks.verify], ["the page (Node.js)", await codeOfThePage()]]) {
  const body = JSON.stringify({ type: "invoice.paid", timestamp: new Date().toISOString(), data: { text: "grüße 💡" } });
  const [old, next] = [secretOf("own"), secretOf("next")];
  const check = (secret, headers, body) => accepts(() => verify(secret, headers, body));
  let headers = sent(["own"], body);
  tell(sdk, "an event", "as it is", await check(old, headers, body), "accepted");
  tell(sdk, "an event", "tampered", await check(old, headers, body.replace("paid", "void")), "refused");
  tell(sdk, "an event", "another ID", await check(old, { ...headers, "webhook-id": "msg_2" }, body), "refused");
  tell(sdk, "an event", "new secret", await check(next, headers, body), "refused");
  tell(sdk, "an event", "too old", await check(old, sent(["own"], body, AGE), body), "refused");
  headers = sent(["next", "own"], body);
  tell(sdk, "rotation", "old secret", await check(old, headers, body), "accepted");
  tell(sdk, "rotation", "new secret", await check(next, headers, body), "accepted");
  tell(sdk, "rotation", "tampered", await check(next, headers, body.replace("paid", "void")), "refused");
  tell(sdk, "rotation", "another", await check(secretOf("svix"), headers, body), "refused");
}

process.exit(wrong ? 1 : 0);
