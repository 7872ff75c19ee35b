package acls

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Print writes a shell script that grants rights to a principal, as "User:ingest". form is
// the program that the script calls: "kafka" is kafka-acls.sh of Apache Kafka, "rpk" is that
// of Redpanda. Errors: those of w.
func Print(w io.Writer, form, principal string, rights []Right) error {
	command := "rpk security acl create --allow-principal " + quoted(principal)
	script := "set -eu\n"
	if form == "kafka" {
		script = "# BROKERS: host:port of a broker; ADMIN: file with the settings of a client that may change ACLs.\n" +
			"set -eu\n: \"${BROKERS:?}\" \"${ADMIN:?}\"\n"
		command = `"${KAFKA_ACLS:-kafka-acls.sh}" --bootstrap-server "$BROKERS" --command-config "$ADMIN" --add --allow-principal ` + quoted(principal)
	}
	if _, err := fmt.Fprintf(w, "#!/bin/sh\n# Rights of %s.\n%s", strings.ReplaceAll(principal, "\n", " "), script); err != nil {
		return err
	}
	for _, g := range grouped(rights) {
		if _, err := fmt.Fprintf(w, "%s%s%s%s\n", command, operations(form, g[0].Operations), resources(g), pattern(g[0])); err != nil {
			return err
		}
	}
	return nil
}

// grouped puts rights together that differ in the name alone: one command grants them.
func grouped(rights []Right) (groups [][]Right) {
	for _, r := range rights {
		i := slices.IndexFunc(groups, func(g []Right) bool {
			return g[0].Type == r.Type && g[0].Prefix == r.Prefix && slices.Equal(g[0].Operations, r.Operations)
		})
		if i < 0 {
			groups = append(groups, nil)
			i = len(groups) - 1
		}
		groups[i] = append(groups[i], r)
	}
	return groups
}

func operations(form string, all []kmsg.ACLOperation) string {
	var b strings.Builder
	for _, o := range all {
		name := strings.ToLower(o.String()) // describe_configs
		if form == "kafka" {                // DescribeConfigs: kafka-acls.sh takes no name with an underscore
			words := strings.Split(name, "_")
			for i, w := range words {
				words[i] = strings.ToUpper(w[:1]) + w[1:]
			}
			name = strings.Join(words, "")
		}
		b.WriteString(" --operation " + name)
	}
	return b.String()
}

// names lists operations as Kafka's own documents name them.
func names(all []kmsg.ACLOperation) string {
	var words []string
	for _, o := range all {
		words = append(words, o.String())
	}
	return strings.Join(words, " ")
}

func resources(g []Right) string {
	var b strings.Builder
	for _, r := range g {
		switch r.Type {
		case kmsg.ACLResourceTypeCluster:
			b.WriteString(" --cluster")
		case kmsg.ACLResourceTypeGroup:
			b.WriteString(" --group " + quoted(r.Name))
		default:
			b.WriteString(" --topic " + quoted(r.Name))
		}
	}
	return b.String()
}

func pattern(r Right) string {
	if r.Prefix {
		return " --resource-pattern-type prefixed"
	}
	return ""
}

// plainWord has the characters that a shell takes as they are.
const plainWord = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:"

// quoted returns s as one word of a shell.
func quoted(s string) string {
	if s != "" && strings.Trim(s, plainWord) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// Reference returns a table in Markdown of the rights of all roles, for a processor people
// with the output people.
func Reference() string {
	var b strings.Builder
	b.WriteString("| role | does | topics and groups | rights |\n|---|---|---|---|\n")
	for _, r := range Roles() {
		if r.Name == "up" {
			continue // the sum of the others
		}
		role, does := "`"+r.Name+"`", r.Does
		rights, _ := Rights(r.Name, Scope{Processors: []Processor{{Name: "people", Outputs: []string{"people"}, Events: true}}}) // there is this role
		for _, right := range rights {
			name := right.Name
			if right.Prefix {
				name += "*"
			}
			kind := map[kmsg.ACLResourceType]string{kmsg.ACLResourceTypeTopic: "topic", kmsg.ACLResourceTypeGroup: "group", kmsg.ACLResourceTypeCluster: "cluster"}[right.Type]
			fmt.Fprintf(&b, "| %s | %s | %s `%s` | %s |\n", role, does, kind, name, names(right.Operations))
			role, does = "", ""
		}
	}
	return b.String()
}
