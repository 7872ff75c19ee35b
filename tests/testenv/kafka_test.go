package testenv_test

import (
	"context"
	"testing"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/framelog/framelog/tests/testenv"
)

// What was acknowledged is there after a stop and after a kill.
func TestKafkaKeepsItsData(t *testing.T) {
	k := testenv.OwnKafka(t)
	cl, err := kgo.NewClient(kgo.SeedBrokers(k.Brokers...), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*testenv.Patience)
	defer cancel()
	if _, err := kadm.NewClient(cl).CreateTopic(ctx, 2, 1, nil, "kept"); err != nil {
		t.Fatal(err)
	}
	for i, end := range []func(testing.TB){k.Stop, k.Kill, func(testing.TB) {}} {
		if err := cl.ProduceSync(ctx, &kgo.Record{Topic: "kept", Partition: 1, Value: []byte{byte(i)}}).FirstErr(); err != nil {
			t.Fatal(err)
		}
		end(t)
		k.Start(t)
	}
	ends, err := kadm.NewClient(cl).ListEndOffsets(ctx, "kept")
	if err != nil {
		t.Fatal(err)
	}
	if o, _ := ends.Lookup("kept", 1); o.Offset != 3 {
		t.Errorf("end offset %d after three records", o.Offset)
	}
}

func TestSharedKafkaIsOne(t *testing.T) {
	if a, b := testenv.SharedKafka(t), testenv.SharedKafka(t); a.Brokers[0] != b.Brokers[0] {
		t.Errorf("two brokers, %v and %v", a.Brokers, b.Brokers)
	}
}
