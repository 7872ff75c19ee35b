package egress

import (
	"fmt"
	"net/http"

	"github.com/framelog/framelog/egress/answer"
	"github.com/framelog/framelog/egress/page"
	"github.com/framelog/framelog/egress/people"
)

// Waiting returns the handler for the time before there is a Server, while the
// brokers are away. It serves the page, and answers everything else with 503 and
// the reason, which the page shows. why returns "" if the brokers are there and
// the Server is being made.
func Waiting(g Guard, why func() string) (http.Handler, error) {
	p, err := page.New()
	if err != nil {
		return nil, fmt.Errorf("egress: new server: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", p)
	refuse := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "1")
		e := answer.Error{Error: "egress is being started", Remedy: "try again in a second"}
		if reason := why(); reason != "" {
			e = answer.Error{Error: reason, Remedy: "start them, or correct brokers and kafka in the configuration; it goes on by itself"}
		}
		refuse(w, http.StatusServiceUnavailable, e.Error, e.Remedy)
	}
	mux.HandleFunc("/v1/", refuse)
	mux.HandleFunc("/hls/", refuse)
	mux.HandleFunc("/snapshot/", refuse)
	mux.HandleFunc(people.LinkPath, refuse)
	return g.Wrap(mux), nil
}
