package main

import (
	"context"
	"net/http"

	"github.com/framelog/framelog/internal/app/config"
)

// role is an entry of the table: everything that the command line, the
// configuration and `framelog up` need to know about a role.
type role struct {
	// name is the name of the subcommand and of the child process, and the label
	// role in logs and metrics.
	name string
	help string // one line; "" hides the subcommand from --help
	// command points to the struct of the subcommand's flags. Its method Run
	// runs the role until its context ends; it includes roleFlags.
	command interface{ supervised() bool }
	// section declares the role's own keys of the configuration, with their
	// defaults and checks. The zero value: it has none.
	section config.Section
	// env are prefixes of the FRAMELOG_* variables that the role reads by itself
	// (FRAMELOG_SECRET_ of ingest). Such a variable is no error in this role, but
	// an error in other roles, and up passes it to no other child.
	env []string

	// inUp reports whether up runs the role. nil: always.
	inUp func(u *up) bool
	// processes are the processes that up runs of the role. nil: one, with the role's
	// name.
	processes func(u *up) []child
	// prepare runs in up before any child starts. What it sets in the
	// configuration reaches the children. nil: nothing to do.
	prepare func(ctx context.Context, u *up) error
	// waitReady delays the start of later roles until this one is ready.
	waitReady bool
	// ready is called in up when the child is ready, at least once. nil:
	// nothing to do.
	ready func(u *up)
	// routes are the patterns (http.ServeMux) of up's port that go to the role.
	routes []string
	// sockets are the patterns of WebSockets: up gives their connections to the role (see
	// service.Passer). Over TLS it proxies them.
	sockets []string
	// operators: up passes on only requests of those who may operate the server, since the
	// role does not know who sends them.
	operators bool
	// answers: the role answers viewers, so up is ready only while this role is
	// ready.
	answers bool
}

// supervised reports whether this process was started by up to be this role.
func (r role) supervised() bool { return r.command.supervised() }

// mount gives the role its requests on up's port.
func (r role) mount(mux *http.ServeMux, requests, sockets http.Handler) {
	for _, route := range r.routes {
		mux.Handle(route, requests)
	}
	for _, route := range r.sockets {
		mux.Handle(route, sockets)
	}
}

// roles is the table of roles. up starts them in this order and stops them in
// the opposite order. Each call makes new structs of flags and configuration.
func roles() []role {
	return []role{
		brokerRole(),
		camsimRole(),
		egressRole(),
		monitorRole(),
		archiveRole(),
		processRole(),
		ingestRole(),
	}
}

// child is a process of a role that up runs.
type child struct {
	role
	name string   // of the process: the label role in its logs and metrics
	args []string // behind the name of the subcommand
	// secrets are the variables FRAMELOG_SECRET_* that only this process of the role gets.
	secrets []string
}

// roleEnv returns the field env of the role with this name.
func roleEnv(name string) []string {
	for _, r := range roles() {
		if r.name == name {
			return r.env
		}
	}
	return nil
}
