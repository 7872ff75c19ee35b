// Package acls says which rights each role of Framelog needs in Kafka, and prints the
// commands that grant them.
package acls

import (
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/framelog/framelog/schemas"
)

// Right allows operations on a resource. In Kafka READ, WRITE, DELETE and ALTER allow
// DESCRIBE too, and ALTER_CONFIGS allows DESCRIBE_CONFIGS.
type Right struct {
	Type       kmsg.ACLResourceType
	Name       string // of the resource
	Prefix     bool   // Name is the beginning of the names of all resources that are meant
	Operations []kmsg.ACLOperation
}

// Scope is for what a role needs its rights.
type Scope struct {
	Names schemas.Names
	// Cameras limits the rights to the footage of these cameras. None: all cameras.
	Cameras []string
	// Processors are those that the user runs.
	Processors []Processor
}

// Processor is what the rights of a processor depend on.
type Processor struct {
	Name    string
	Input   string   // rendition; "": raw
	Outputs []string // renditions
	Events  bool     // it has events
}

// Role is a role with its rights.
type Role struct {
	Name string
	// Does is what a user with these rights can do, for people.
	Does   string
	rights func(s Scope) []Right
}

// Roles are all roles, in the order of the documentation.
func Roles() []Role {
	return []Role{
		{"ingest", "records cameras, reads what it replays, and deletes purged footage", ingest},
		{"process", "runs one processor", process},
		{"archive", "writes footage into files", archive},
		{"egress", "serves viewers, and signs them in; changes no camera", egress},
		{"editor", "adds, changes and removes cameras, on the page and by the API: the user of an egress that may do so needs the rights of egress and these", editor},
		{"monitor", "shows how far everything is behind", monitor},
		{"admin", "runs the commands cameras, clip, dlq, export, replay, users and verify", admin},
		{"up", "runs everything: framelog up with brokers", up},
	}
}

// Rights returns the rights of a role. Each resource is in it once. Errors: there is no
// such role.
func Rights(role string, s Scope) ([]Right, error) {
	for _, r := range Roles() {
		if r.Name == role {
			return merged(r.rights(s)), nil
		}
	}
	return nil, fmt.Errorf("acls: there is no role %q", role)
}

const (
	create       = kmsg.ACLOperationCreate
	read         = kmsg.ACLOperationRead
	write        = kmsg.ACLOperationWrite
	remove       = kmsg.ACLOperationDelete
	alter        = kmsg.ACLOperationAlter
	alterConfigs = kmsg.ACLOperationAlterConfigs
	describe     = kmsg.ACLOperationDescribe
)

// keep is what a process needs to create a topic and to keep its settings right.
var keep = []kmsg.ACLOperation{create, alterConfigs}

func ingest(s Scope) []Right {
	own := slices.Concat([]kmsg.ACLOperation{read, write, remove, alter}, keep)
	rights := []Right{
		group(s, "framelog-ingest", read),
		topic(s.Names.Cameras(), append(keep, read)...),
		topic(s.Names.Status(), append(keep, read, write)...),
	}
	if len(s.Cameras) == 0 {
		return append(rights, topics(s.Names.Prefix+"cam.", own...))
	}
	for _, c := range s.Cameras {
		rights = append(rights, footage(s, c, schemas.Raw, own...)...)
		rights = append(rights, footage(s, c, schemas.Sub, own...)...)
		rights = append(rights, topics(s.Names.Media(schemas.Topic{Camera: c})+".", read, remove)) // renditions: those that are replayed, and those of a purged camera
	}
	return rights
}

func process(s Scope) (rights []Right) {
	own := slices.Concat([]kmsg.ACLOperation{read, write, remove, alter}, keep)
	rights = append(rights, topic(s.Names.Cameras(), read))
	for _, p := range s.Processors {
		rights = append(rights, group(s, "framelog-process-"+p.Name, read))
		if p.Events {
			rights = append(rights, topic(s.Names.Events(), append(keep, write)...))
		}
		if len(s.Cameras) == 0 { // Kafka has no pattern for one rendition of all cameras
			rights = append(rights, topics(s.Names.Prefix+"cam.", own...))
		}
		for _, c := range s.Cameras {
			rights = append(rights, footage(s, c, p.Input, read)...)
			for _, rendition := range append([]string{schemas.DeadLetterPrefix + p.Name}, p.Outputs...) {
				rights = append(rights, footage(s, c, rendition, own...)...)
			}
		}
	}
	return rights
}

func archive(s Scope) []Right {
	return append([]Right{group(s, "framelog-archive", read), topic(s.Names.Cameras(), read)}, allFootage(s, read)...)
}

func egress(s Scope) []Right {
	return append([]Right{
		topic(s.Names.Cameras(), read), topic(s.Names.Status(), read), topic(s.Names.Events(), read), users(s),
	}, allFootage(s, read)...)
}

// users allows what signing in needs. No other role may read the key of all sessions.
func users(s Scope) Right { return topic(s.Names.Users(), append(keep, read, write)...) }

func editor(s Scope) []Right {
	return []Right{topic(s.Names.Cameras(), append(keep, read, write)...)}
}

func monitor(s Scope) []Right {
	return append([]Right{
		topic(s.Names.Cameras(), read), topic(s.Names.Status(), read), groups(s, describe),
		{Type: kmsg.ACLResourceTypeCluster, Name: "kafka-cluster", Operations: []kmsg.ACLOperation{describe}}, // sizes of topics
	}, allFootage(s, read)...)
}

func admin(s Scope) []Right {
	return append([]Right{
		topic(s.Names.Cameras(), append(keep, read, write)...), topic(s.Names.Status(), append(keep, read, write)...), users(s), groups(s, describe),
	}, allFootage(s, read, remove)...)
}

func up(s Scope) []Right {
	return slices.Concat(ingest(s), process(s), archive(s), egress(s), editor(s), monitor(s), admin(s))
}

// topic allows operations on one topic.
func topic(name string, operations ...kmsg.ACLOperation) Right {
	return Right{Type: kmsg.ACLResourceTypeTopic, Name: name, Operations: operations}
}

// topics allows operations on all topics whose names begin with prefix.
func topics(prefix string, operations ...kmsg.ACLOperation) Right {
	return Right{kmsg.ACLResourceTypeTopic, prefix, true, operations}
}

// footage allows operations on both topics of a rendition.
func footage(s Scope, camera, rendition string, operations ...kmsg.ACLOperation) []Right {
	t := schemas.Topic{Camera: camera, Rendition: rendition}
	return []Right{topic(s.Names.Media(t), operations...), topic(s.Names.Index(t), operations...)}
}

// allFootage allows operations on the footage of the cameras, with all renditions.
func allFootage(s Scope, operations ...kmsg.ACLOperation) (rights []Right) {
	if len(s.Cameras) == 0 {
		return []Right{topics(s.Names.Prefix+"cam.", operations...)}
	}
	for _, c := range s.Cameras {
		media := s.Names.Media(schemas.Topic{Camera: c})
		rights = append(rights, topic(media, operations...), topics(media+".", operations...))
	}
	return rights
}

// group allows operations on a consumer group of Framelog.
func group(s Scope, name string, operations ...kmsg.ACLOperation) Right {
	return Right{Type: kmsg.ACLResourceTypeGroup, Name: s.Names.Prefix + name, Operations: operations}
}

// groups allows operations on all consumer groups of Framelog.
func groups(s Scope, operations ...kmsg.ACLOperation) Right {
	return Right{kmsg.ACLResourceTypeGroup, s.Names.Prefix + "framelog-", true, operations}
}

// merged returns rights in which each resource stands once, with its operations in order.
func merged(all []Right) (out []Right) {
	for _, r := range all {
		i := slices.IndexFunc(out, func(o Right) bool { return o.Type == r.Type && o.Name == r.Name && o.Prefix == r.Prefix })
		if i < 0 {
			out = append(out, Right{r.Type, r.Name, r.Prefix, nil})
			i = len(out) - 1
		}
		out[i].Operations = append(out[i].Operations, r.Operations...)
		slices.Sort(out[i].Operations)
		out[i].Operations = slices.Compact(out[i].Operations)
	}
	return out
}
