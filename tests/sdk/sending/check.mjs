// Verifies by the Node.js SDKs what a gateway delivered. One line a case: SDK, endpoint, case, verdict. Usage: check.mjs DIRECTORY
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";

const [directory] = process.argv.slice(2);
// The packages stand where they were installed, not beside this file.
const installed = createRequire(`${process.env.SDK_MODULES}/package.json`);
const { Webhooks } = await import(installed.resolve("@octokit/webhooks"));
const Stripe = installed("stripe");
const standard = installed("standardwebhooks");
const svix = installed("svix");
const stripe = new (Stripe.default ?? Stripe)("sk_test_unused");
let wrong = 0;

function tell(sdk, request, what, got, due) {
  wrong += got !== due;
  const where = `${request.endpoint}, ${request.when}`;
  console.log(`  ${got === due ? "✓" : "✕"} ${sdk.padEnd(28)} ${where.padEnd(22)} ${what.padEnd(24)} ${got}${got === due ? "" : `, not ${due}`}`);
}

async function accepts(check) {
  try {
    return (await check()) === false ? "refused" : "accepted";
  } catch (error) {
    return /signature|verif|timestamp/i.test(`${error.name} ${error.type} ${error.message}`) ? "refused" : String(error);
  }
}

// A value with another digit or letter, in front of the padding of a signature.
function another(value) {
  const at = value.length - 6;
  return value.slice(0, at) + (value[at] === "1" ? "2" : "1") + value.slice(at + 1);
}

// The code of the page that customers get, as a function.
async function ofPage() {
  const section = readFileSync("docs/for-your-customers.md", "utf8").split("## Verify with a library")[1];
  const code = section.split("```js\n")[1].split("```")[0].replace("const event =", "export const verify = (secret, headers, body) =>");
  const file = `${process.env.SDK_MODULES}/page.mjs`;
  writeFileSync(file, code);
  return (await import(file)).verify;
}

const byStandard = {
  "standardwebhooks (Node.js)": (secret, headers, body) => new standard.Webhook(secret).verify(body, headers),
  "svix (Node.js)": (secret, headers, body) => new svix.Webhook(secret).verify(body, headers),
  "the page (Node.js)": await ofPage(),
};
// The SDKs of each signature, and the headers that it covers.
const sdks = {
  standard: [byStandard, ["webhook-id", "webhook-timestamp", "webhook-signature"]],
  svix: [{ "svix (Node.js)": byStandard["svix (Node.js)"] }, ["svix-id", "svix-timestamp", "svix-signature"]],
  stripe: [{ "stripe (Node.js)": (secret, headers, body) => stripe.webhooks.constructEvent(body, headers["stripe-signature"], secret) }, ["stripe-signature"]],
  github: [{ "@octokit/webhooks": (secret, headers, body) => new Webhooks({ secret }).verify(body.toString(), headers["x-hub-signature-256"]) }, ["x-hub-signature-256"]],
};
const now = Date.now;

for (const request of JSON.parse(readFileSync(`${directory}/sent.json`, "utf8"))) {
  const [checks, covered] = sdks[request.sign] ?? [{}, []];
  const { headers } = request;
  const body = Buffer.from(request.body, "base64");
  const edited = Buffer.from(body);
  edited[body.indexOf("paid")] += 1;
  for (const [sdk, verify] of Object.entries(checks)) {
    for (const [number, secret] of request.accepted.entries()) {
      const which = request.accepted.length > 1 ? `secret ${number + 1}` : "its secret";
      tell(sdk, request, which, await accepts(() => verify(secret, headers, body)), "accepted");
      tell(sdk, request, "a changed byte", await accepts(() => verify(secret, headers, edited)), "refused");
      tell(sdk, request, "a byte more", await accepts(() => verify(secret, headers, Buffer.concat([body, Buffer.from(" ")]))), "refused");
      for (const name of covered) {
        const changed = headers[name].split(" ").map(another).join(" ");
        tell(sdk, request, name, await accepts(() => verify(secret, { ...headers, [name]: changed }, body)), "refused");
      }
      // GitHub signs no time, and stripe does not refuse one that is in the future for it
      for (const minutes of { github: [], stripe: [10] }[request.sign] ?? [-10, 10]) {
        const OriginalDate = Date;
        globalThis.Date = class extends OriginalDate {
          constructor(...given) {
            super(...(given.length ? given : [now() + minutes * 60_000]));
          }
          static now() {
            return now() + minutes * 60_000;
          }
        };
        const got = await accepts(() => verify(secret, headers, body));
        globalThis.Date = OriginalDate;
        tell(sdk, request, `${minutes > 0 ? "+" : ""}${minutes} minutes`, got, "refused");
      }
    }
    for (const secret of request.refused) tell(sdk, request, "another secret", await accepts(() => verify(secret, headers, body)), "refused");
  }
}

process.exit(wrong ? 1 : 0);
