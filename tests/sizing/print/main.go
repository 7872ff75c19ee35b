// Command print prints the tables of docs/sizing.md for the costs that were measured on this
// machine (make sizing).
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/framelog/framelog/tests/sizing"
)

func main() {
	costs := flag.String("costs", ".cache/sizing.json", "what make sizing has measured")
	cameras := flag.String("cameras", "100,1000,10000", "numbers of cameras, separated by commas")
	flag.Parse()
	if err := run(*costs, *cameras); err != nil {
		fmt.Fprintln(os.Stderr, "sizing:", err)
		os.Exit(1)
	}
}

func run(costs, cameras string) error {
	var counts []int
	for s := range strings.SplitSeq(cameras, ",") {
		n, err := strconv.Atoi(strings.TrimSpace(s))
		if err != nil || n < 1 {
			return fmt.Errorf("%q is no number of cameras", s)
		}
		counts = append(counts, n)
	}
	b, err := os.ReadFile(costs)
	if err != nil {
		return fmt.Errorf("%w; make sizing measures them", err)
	}
	var m sizing.Measured
	if err := json.Unmarshal(b, &m); err != nil {
		return fmt.Errorf("%s: %w", costs, err)
	}
	tables := sizing.Tables(&m, nil, counts)
	for _, name := range []string{"costs", "log", "roles", "brokers"} {
		fmt.Printf("\n%s", tables[name])
	}
	return nil
}
