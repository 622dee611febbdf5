// Every kind of call that Segment's SDK for Node has, then `count` events more; ends with status 1 where one was not delivered.
import { Analytics } from "@segment/analytics-node";

const [host, writeKey, count] = process.argv.slice(2);
const analytics = new Analytics({ writeKey, host, flushAt: 20, flushInterval: 200, maxRetries: 20 });
let failed = 0;
analytics.on("error", (error) => {
  failed += 1;
  console.error(JSON.stringify(error));
});

const timestamp = new Date("2026-03-01T09:30:00.250Z");
analytics.identify({ userId: "zoé", traits: { plan: "pro", email: "zoe@example.com" }, timestamp });
analytics.track({ userId: "zoé", event: "Order Completed", properties: { total: 19.99, currency: "EUR" }, timestamp });
analytics.page({ userId: "zoé", name: "Pricing", properties: { path: "/pricing" }, timestamp });
analytics.screen({ anonymousId: "phone-1", name: "Home", timestamp });
analytics.group({ userId: "zoé", groupId: "acme", traits: { seats: 5 }, timestamp });
analytics.alias({ userId: "zoé", previousId: "phone-1", timestamp });
for (let n = 0; n < Number(count); n += 1) {
  analytics.track({ userId: `node-${n % 7}`, event: "Moved", properties: { n } });
}
await analytics.closeAndFlush({ timeout: 60_000 });
process.exit(failed ? 1 : 0);
