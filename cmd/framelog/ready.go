package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/alecthomas/kong"

	"github.com/framelog/framelog/internal/app/service"
)

// readyTimeout is how long a role may take to answer.
const readyTimeout = 5 * time.Second

// readyCmd is the health check of a container: the images have no other HTTP client.
type readyCmd struct {
	Address string `arg:"" help:"Address of the role: its --http, or listen of egress." placeholder:"HOST:PORT"`
}

// Run asks a role for /readyz. Errors: that it is not ready, or does not answer.
func (c readyCmd) Run(ctx context.Context, k *kong.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	var d net.Dialer
	role := &http.Client{Transport: service.Transport(func(ctx context.Context) (net.Conn, error) {
		return d.DialContext(ctx, "tcp", c.Address)
	})}
	if err := service.AskReady(ctx, role); err != nil {
		return err
	}
	_, err := fmt.Fprintln(k.Stdout, "ready")
	return err
}
