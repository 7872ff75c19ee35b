package program

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Widths of the help, in characters.
const (
	flagColumn = 26
	helpWidth  = 100
)

// printHelp prints the flags of a program.
func printHelp(out io.Writer, u Usage, groups []group) error {
	var b bytes.Buffer
	rest := ""
	if u.Rest != "" {
		rest = " -- " + u.Rest
	}
	fmt.Fprintf(&b, "Usage: %s [flags]%s\n", u.Name, rest)
	if u.About != "" {
		fmt.Fprintf(&b, "\n%s\n", u.About)
	}
	for _, g := range groups {
		if len(g.options) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", g.title)
		for _, o := range g.options {
			name := "  --" + o.name
			if o.value != "" {
				name += "=" + o.value
			}
			if len(name) >= flagColumn {
				fmt.Fprintln(&b, name)
				name = ""
			}
			for i, line := range wrap(strings.ReplaceAll(o.help, "`", ""), helpWidth-flagColumn) {
				if i > 0 {
					name = ""
				}
				fmt.Fprintf(&b, "%-*s%s\n", flagColumn, name, line)
			}
		}
	}
	b.WriteString("\nA variable sets what a flag does: FRAMELOG_BROKERS=k:9092 is --brokers k:9092, and\n" +
		"FRAMELOG_PROCESSOR_MAX_LAG=30s is --max-lag 30s. Flags override it, and it overrides the file.\n")
	_, err := out.Write(b.Bytes())
	return err
}

// wrap breaks a text into lines of at most width characters.
func wrap(s string, width int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(s) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
