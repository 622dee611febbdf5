// Publishes an order for each line `contact<TAB>order<TAB>total` of its input. Needs franz-go alone.
package main

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"log"
	"os"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

func main() {
	topic := cmp.Or(os.Getenv("TIDEGATE_PREFIX"), "tidegate.") + "events.billing"
	// The key is the contact. The client's own partitioner (murmur2) and acknowledgement (all) are the right ones.
	client, err := kgo.NewClient(kgo.SeedBrokers(cmp.Or(os.Getenv("TIDEGATE_BROKER"), "127.0.0.1:9092")))
	for lines := bufio.NewScanner(os.Stdin); err == nil && lines.Scan(); {
		order := strings.Split(lines.Text(), "\t")
		event := map[string]any{"type": "track", "event": "Order Completed", "userId": order[0], "messageId": order[1]}
		event["timestamp"] = time.Now().Format(time.RFC3339Nano)
		event["properties"] = map[string]any{"order_id": order[1], "total": json.Number(order[2])}
		value, _ := json.Marshal(event)
		record := &kgo.Record{Topic: topic, Key: []byte(order[0]), Value: value}
		err = client.ProduceSync(context.Background(), record).FirstErr()
	}
	if err != nil {
		log.Fatal(err)
	}
}
