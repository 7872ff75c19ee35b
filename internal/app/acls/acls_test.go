package acls

import (
	"strings"
	"testing"

	"github.com/framelog/framelog/schemas"
)

// TestPrint: what is printed for a processor of one camera.
func TestPrint(t *testing.T) {
	s := Scope{Names: schemas.Names{Prefix: "x."}, Cameras: []string{"yard"}, Processors: []Processor{{Name: "people", Outputs: []string{"boxes"}, Events: true}}}
	rights, err := Rights("process", s)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ form, principal, want string }{
		{"kafka", "User:CN=people,O=it's", `#!/bin/sh
# Rights of User:CN=people,O=it's.
# BROKERS: host:port of a broker; ADMIN: file with the settings of a client that may change ACLs.
set -eu
: "${BROKERS:?}" "${ADMIN:?}"
"${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "$BROKERS" --command-config "$ADMIN" --add --allow-principal 'User:CN=people,O=it'\''s' --operation Read --topic x.cameras --topic x.cam.yard --topic x.cam.yard.index
"${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "$BROKERS" --command-config "$ADMIN" --add --allow-principal 'User:CN=people,O=it'\''s' --operation Read --group x.framelog-process-people
"${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "$BROKERS" --command-config "$ADMIN" --add --allow-principal 'User:CN=people,O=it'\''s' --operation Write --operation Create --operation AlterConfigs --topic x.events
"${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "$BROKERS" --command-config "$ADMIN" --add --allow-principal 'User:CN=people,O=it'\''s' --operation Read --operation Write --operation Create --operation Delete --operation Alter --operation AlterConfigs --topic x.cam.yard.dlq-people --topic x.cam.yard.dlq-people.index --topic x.cam.yard.boxes --topic x.cam.yard.boxes.index
`},
		{"rpk", "User:people", `#!/bin/sh
# Rights of User:people.
set -eu
rpk security acl create --allow-principal User:people --operation read --topic x.cameras --topic x.cam.yard --topic x.cam.yard.index
rpk security acl create --allow-principal User:people --operation read --group x.framelog-process-people
rpk security acl create --allow-principal User:people --operation write --operation create --operation alter_configs --topic x.events
rpk security acl create --allow-principal User:people --operation read --operation write --operation create --operation delete --operation alter --operation alter_configs --topic x.cam.yard.dlq-people --topic x.cam.yard.dlq-people.index --topic x.cam.yard.boxes --topic x.cam.yard.boxes.index
`},
	} {
		var b strings.Builder
		if err := Print(&b, tt.form, tt.principal, rights); err != nil {
			t.Fatal(err)
		}
		if got := b.String(); got != tt.want {
			t.Errorf("%s:\n%s\nwant\n%s", tt.form, got, tt.want)
		}
	}
	if _, err := Rights("viewer", Scope{}); err == nil {
		t.Error("there is a role viewer")
	}
}
