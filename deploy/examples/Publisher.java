// Publishes an order for each line `contact<TAB>order<TAB>total` of its input. Needs kafka-clients and Jackson.
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Map;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.StringSerializer;

class Publisher {
    public static void main(String[] arguments) throws Exception {
        String broker = System.getenv().getOrDefault("TIDEGATE_BROKER", "127.0.0.1:9092");
        String topic = System.getenv().getOrDefault("TIDEGATE_PREFIX", "tidegate.") + "events.billing";
        Map<String, Object> settings = Map.of("bootstrap.servers", broker, "acks", "all", "enable.idempotence", true);
        var json = new ObjectMapper();
        var lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        // The key is the contact, and the client's own partitioner (murmur2) the right one: there is nothing to set.
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                String[] order = line.split("\t");
                var event = Map.of(
                        "type", "track", "event", "Order Completed", "userId", order[0], "messageId", order[1],
                        "timestamp", Instant.now().toString(),
                        "properties", Map.of("order_id", order[1], "total", new BigDecimal(order[2])));
                producer.send(new ProducerRecord<>(topic, order[0], json.writeValueAsString(event))).get();
            }
        }
    }
}
