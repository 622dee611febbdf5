// Publishes an order for each line `contact<TAB>order<TAB>total` of its input. Needs @platformatic/kafka alone.
import { createInterface } from "node:readline";
import { compatibilityPartitioner, ProduceAcks, Producer, stringSerializers } from "@platformatic/kafka";

const topic = (process.env.TIDEGATE_PREFIX ?? "tidegate.") + "events.billing";
const producer = new Producer({
  clientId: "publisher",
  bootstrapBrokers: [process.env.TIDEGATE_BROKER ?? "127.0.0.1:9092"],
  serializers: stringSerializers,
  // The key is the contact. This client's own partitioner puts half of them elsewhere than Kafka's murmur2 does.
  partitioner: compatibilityPartitioner,
  acks: ProduceAcks.ALL,
  idempotent: true,
});
for await (const line of createInterface({ input: process.stdin })) {
  const [contact, order, total] = line.split("\t");
  const event = { type: "track", event: "Order Completed", userId: contact, messageId: order };
  event.timestamp = new Date().toISOString();
  event.properties = { order_id: order, total: Number(total) };
  await producer.send({ messages: [{ topic, key: contact, value: JSON.stringify(event) }] });
}
await producer.close();
