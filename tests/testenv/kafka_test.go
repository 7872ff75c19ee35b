package testenv_test

import (
	"testing"

	"github.com/framelog/framelog/tests/testenv"
)

func TestSharedKafkaIsOne(t *testing.T) {
	if a, b := testenv.SharedKafka(t), testenv.SharedKafka(t); a.Brokers[0] != b.Brokers[0] {
		t.Errorf("two brokers, %v and %v", a.Brokers, b.Brokers)
	}
}
